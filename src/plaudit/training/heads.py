"""Which head an objective trains, and which labels it needs."""

from __future__ import annotations

import dataclasses
import math
from typing import assert_never

import numpy as np

from plaudit.batching.token_set import LabelKind, TokenSet
from plaudit.errors import ConfigError, DataError
from plaudit.models.checkpoint.recipe import Form, HeadKind
from plaudit.models.heads.kinds import COMPARISON, HeadChoice
from plaudit.objectives.config import ObjectiveConfig, Process, TokenOutcome
from plaudit.objectives.preference_objectives import check_strength
from plaudit.objectives.token import check_step_labels
from plaudit.training.config import ComparisonHead, LanguageModelHead, TokenHead, TrainConfig

Head = TokenHead | LanguageModelHead | ComparisonHead

_WORDS: dict[LabelKind, str] = {
    "preferences": "a preference",
    "strengths": "a preference with a margin other than 0",
    "ranks": "a ranking that orders something",
    "outcomes": "an outcome",
    "steps": "a labelled step",
    "ratings": "a rating of the attributes",
}


def label_kind(config: ObjectiveConfig, form: Form = "conversation") -> LabelKind:
    """Return the kind of label that an objective learns from, with a model of that form."""
    if form == "comparison":
        return "preferences"
    if form == "one_turn":
        return "outcomes"
    match config.type:
        case "bradley_terry":
            return "preferences" if config.strength == "none" else "strengths"
        case "odin":
            return "preferences"
        case "plackett_luce" | "top_one":
            return "ranks"
        case "regression":
            return "ratings"
        case "outcome" | "token_outcome":
            return "outcomes"
        case "process":
            return "steps"
        case _:
            assert_never(config.type)


def what_is_missing(kind: LabelKind) -> str:
    """Return in words what a group without labels of that kind lacks."""
    return _WORDS[kind]


def carries_labels(tokens: TokenSet, config: ObjectiveConfig, form: Form = "conversation") -> np.ndarray:
    """Return for each group whether it carries what the objective learns from.

    A preference stands in the tokens of a comparison as its one labelled step.

    Raises:
        DataError: when the objective cannot learn from a label that is there; training would meet it in some step.
    """
    _check_labels(tokens, config)
    attributes = config.attributes if config.type == "regression" else ()
    partial = config.partial if config.type in ("plackett_luce", "top_one") else "ranked_only"
    kind = "steps" if form == "comparison" else label_kind(config, form)
    return tokens.count_labels(kind, attributes=attributes, partial=partial) > 0


def check_margins(tokens: TokenSet, config: ObjectiveConfig) -> None:
    """Raise DataError where the objective asks for the margins of data that have none at all."""
    if config.type == "bradley_terry" and config.use_margin and math.isnan(tokens.span_of("pair_margin")[0]):
        raise DataError(
            "objective.use_margin is true, but no preference of the training data has a margin; leave it out, or give "
            "margins"
        )


def _check_labels(tokens: TokenSet, config: ObjectiveConfig) -> None:
    if config.type == "process":
        check_step_labels(*tokens.span_of("step_label"), config.classes)
    elif config.type == "bradley_terry" and config.strength == "scale":
        check_strength(tokens.span_of("pair_margin")[0])


def head_of(config: TrainConfig) -> HeadChoice:
    """Return the head that the objective trains, in the form that ``model.head`` asks for.

    Raises:
        ConfigError: where the objective cannot train that head.
    """
    objective, chosen = config.objective, config.model.head
    match objective.type:
        case "bradley_terry" | "plackett_luce" | "top_one" | "outcome":
            _refuse_head(config, "scalar")
            return HeadChoice()
        case "regression":
            _refuse_head(config, "attributes")
            return HeadChoice("attributes", attributes=objective.attributes)
        case "odin":
            _refuse_head(config, "odin")
            return HeadChoice("odin")
        case "token_outcome" | "process":
            classes = objective.classes if objective.type == "process" else ()
            _check_reading(objective, chosen)
            return _token_head(chosen or TokenHead(), classes)
        case _:
            assert_never(objective.type)


def _token_head(chosen: Head, classes: tuple[float, ...]) -> HeadChoice:
    if isinstance(chosen, ComparisonHead):
        return _comparison_head(chosen, classes)
    common = {"step_separator": chosen.step_separator, "aggregation": chosen.aggregation}
    match chosen:
        case TokenHead():
            return HeadChoice("token", classes=classes, **common)
        case LanguageModelHead(words=words):
            wanted = len(classes) or (2 if len(words) == 2 else 1)
            if len(words) != wanted:
                raise ConfigError(
                    f"model.head.words names {len(words)} classes ({', '.join(map(repr, words))}); the objective has "
                    f"{wanted}, from the worst to the best"
                )
            _check_form(chosen, classes)
            return HeadChoice(
                "language_model",
                classes=classes,
                words=words,
                form=chosen.form,
                shown_words=chosen.shown_words,
                **common,
            )
        case _:
            assert_never(chosen)


def _check_reading(objective: Process | TokenOutcome, chosen: Head | None) -> None:
    """Refuse a head that cannot be read as the objective reads it, and settings of steps where none are read."""
    if objective.type == "process" and objective.over == "vocabulary" and (chosen is None or chosen.type == "token"):
        raise ConfigError(
            "objective.over is vocabulary, which asks for the probability of class words among all tokens, but "
            "model.head is a classifier of tokens; set model.head to {type: language_model}, or over to classes"
        )
    steps = {"step_separator", "aggregation"} & (set() if chosen is None else chosen.model_fields_set)
    if objective.type == "token_outcome" and steps:
        raise ConfigError(
            f"model.head sets {' and '.join(sorted(steps))}, but a model of the objective token_outcome is read at the "
            "end of a response and has no steps; leave it out"
        )


def _comparison_head(chosen: ComparisonHead, classes: tuple[float, ...]) -> HeadChoice:
    if classes != COMPARISON.classes:
        found = f"the classes {', '.join(f'{value:g}' for value in classes)}" if classes else "no classes of steps"
        raise ConfigError(
            f"model.head is comparison, which answers with the classes 0 (second better) and 1 (first better), but the "
            f"objective has {found}; set objective to {{type: process}}"
        )
    return dataclasses.replace(COMPARISON, words=chosen.words[::-1], comparison_mode=chosen.mode)


def _check_form(chosen: LanguageModelHead, classes: tuple[float, ...]) -> None:
    if chosen.form != "conversation" and not classes:
        raise ConfigError(
            f"model.head.form is {chosen.form}, in which words judge whole turns, but the objective token_outcome "
            "reads every token; use the objective process, or form conversation"
        )
    if chosen.form != "turns" and chosen.shown_words == "labels":
        raise ConfigError(
            f"model.head.shown_words is labels, but form {chosen.form} has no earlier turns; use form turns"
        )


def _refuse_head(config: TrainConfig, kind: HeadKind) -> None:
    if config.model.head is not None:
        instead = " or set objective to {type: process}" if config.model.head.type == "comparison" else ""
        raise ConfigError(
            f"model.head is {config.model.head.type}, but the objective {config.objective.type} trains a head of kind "
            f"{kind}; leave model.head out{instead}"
        )
