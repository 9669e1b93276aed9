"""From the name of a model to something that scores."""

from __future__ import annotations

from pathlib import Path

from transformers.utils.logging import disable_progress_bar

from plaudit.errors import ModelError
from plaudit.models.checkpoint import load_reward_model
from plaudit.scoring.adapters import FunctionScorer, load_function
from plaudit.scoring.engine import DEFAULT_MAX_TOKENS, RewardScorer

RUN_MODEL = "model"


def load(
    model: str | Path,
    *,
    layout: str = "auto",
    dtype: str | None = None,
    device: str | None = None,
    max_tokens: int | None = None,
    strict: bool = True,
    trust_remote_code: bool = False,
) -> RewardScorer:
    """Return the reward model in a directory (a model, or a run that holds one) or of a hub id, ready to score.

    Raises:
        CheckpointError: when loading it would silently change its rewards.
        ModelError, LayoutError: when it cannot be loaded, or not in the layout that was asked for.
    """
    disable_progress_bar()
    source = str(model)
    if not source:
        raise ModelError("the name of the model is empty; give a directory or a hub id")
    directory = Path(source)
    if (directory / RUN_MODEL / "config.json").exists() and not (directory / "config.json").exists():
        source = str(directory / RUN_MODEL)
    loaded, proof = load_reward_model(
        source, layout=layout, dtype=dtype, device=device, strict=strict, trust_remote_code=trust_remote_code
    )
    return RewardScorer(loaded, max_tokens=DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens, proof=proof)


def load_scorer(model: str, *, max_tokens: int | None = None) -> RewardScorer | FunctionScorer:
    """Return the scorer that a command line names: a directory, a hub id, or ``module:function``."""
    if model.startswith(("http://", "https://")):
        raise ModelError(f"{model}: remote scorers are not part of this version; give a directory or a hub id")
    if ":" in model and not Path(model).exists():
        return load_function(model)
    return load(model, max_tokens=max_tokens)
