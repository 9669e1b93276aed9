"""The config of semi-supervised training, read by ``plaudit ssrm``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plaudit.config import Config
from plaudit.data.reading.options import DataFile
from plaudit.training.config import TrainConfig


class SemiSupervisedConfig(Config):
    """Semi-supervised training (He et al., 2024): train, label unlabelled data, keep the sure ones, train again."""

    train: TrainConfig
    """Every round's training; its ``data`` are the labelled groups and the held-out ones."""
    unlabelled: Annotated[tuple[DataFile, ...], Field(min_length=1)]
    """Files of groups to label; preferences in them are never trained on, and only measure the pseudo-labels."""
    rounds: Annotated[int, Field(gt=0, le=100)] = 3
    """Rounds of labelling and training after round 0, which trains on the labelled groups alone."""
    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.8
    """Least confidence max(p, 1 − p) at which a pseudo-label is kept."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Divides reward differences before they become probabilities, above 1 for a model that is too sure; null is 1, and
    for rewards that are log-odds only."""
    pairs: Literal["all", "best_vs_worst"] = "all"
    """Pairs of a group that are labelled: every one, or its best against its worst response."""
    soft: bool = False
    """Train on the probability of a pseudo-label in place of a hard label."""
    start: Literal["initial", "previous"] = "initial"
    """Weights a round starts from: those that round 0 started from, or those of the round before."""

    @model_validator(mode="after")
    def _a_round_leaves_a_model_to_start_from(self) -> Self:
        lora = self.train.model.lora
        if self.start == "previous" and lora is not None and not lora.merge:
            raise ValueError(
                "start is previous, but train.model.lora.merge is false: adapters alone are nothing to start from; "
                "set train.model.lora.merge to true"
            )
        return self
