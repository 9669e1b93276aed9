"""Preparation of training: groups, a model and the head that the objective trains, the groups as token sets."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never, get_args

import numpy as np

from plaudit.batching.comparison import ComparisonEncoder, comparison_text
from plaudit.batching.encode import GroupEncoder
from plaudit.batching.token_set import TokenSet, encode_to_file
from plaudit.data.mixing.config import ByTemperature, ByWeight
from plaudit.data.mixing.draw import HELD_OUT, TRAIN
from plaudit.data.mixing.mixture import build_mixture, mixture_config
from plaudit.data.mixing.splits import split_by_prompt
from plaudit.data.reading.read import load_files
from plaudit.data.schema.group_set import GroupSet, repeated_id
from plaudit.errors import ConfigError, DataError, closest_or_all
from plaudit.models.backbone import checkpoint_file, load_config_of, resolve_source
from plaudit.models.checkpoint.recipe import RECIPE_FILE, Form, HeadKind, read_recipe
from plaudit.models.create import add_lora, build_decoder, build_tokenizer, new_reward_model
from plaudit.models.heads.head import AttributesHead, Head
from plaudit.models.heads.kinds import custom_head, head_class
from plaudit.models.heads.language_model import keep_language_model
from plaudit.models.parity import LayoutProof, check_causal, choose_layout
from plaudit.models.reward_model import RewardModel
from plaudit.objectives.config import ObjectiveConfig
from plaudit.objectives.objective import LabelKind
from plaudit.objectives.pointwise import Regression
from plaudit.objectives.token import Process, TokenOutcome
from plaudit.training.config import (
    ComparisonHeadSection,
    CustomHeadSection,
    DataSection,
    HeadSection,
    PretrainedInit,
    ScratchInit,
    TokenHeadSection,
    TrainConfig,
)
from plaudit.training.standardise import AttributeUnits, equal_weights, measured_units

_log = logging.getLogger(__name__)

Progress = Callable[[int], None]

_RAW = AttributeUnits()
"""Those of the ratings themselves."""


@dataclass(frozen=True, slots=True)
class PreparedTokens:
    """A token set, its rows with the labels that the objective needs, and the counts for the run record."""

    tokens: TokenSet
    rows: np.ndarray
    counts: dict[str, Any]


def prepare_groups(config: DataSection, cache_dir: Path) -> tuple[GroupSet, GroupSet]:
    """Return the training and the held-out groups; where neither files nor a mixture hold any out, split by prompt.

    Raises:
        DataError: when nothing is left to train on.
    """
    train, apart = _training_groups(config, cache_dir)
    if config.held_out:
        held_out = load_files(config.held_out, cache_dir=cache_dir)
    elif apart is not None:
        held_out = apart
    elif config.held_out_share == 0:
        held_out = train.select([])
    else:
        train, held_out = split_by_prompt(train, held_out=config.held_out_share, seed=config.split_seed)
    twice = repeated_id([held_out])
    if twice is not None:
        raise DataError(
            f"two held-out groups have the id {twice!r}; they must be told apart: give data files of one name "
            "a source each"
        )
    if len(train) == 0:
        raise DataError("no group is left to train on; `plaudit data show` tells what was dropped and why")
    return train, held_out


def _training_groups(config: DataSection, cache_dir: Path) -> tuple[GroupSet, GroupSet | None]:
    """Return the groups to train on, and those that their mixture sets apart."""
    if config.mixture is None:
        return load_files(config.train, cache_dir=cache_dir), None
    said = mixture_config(config.mixture)
    repeats = isinstance(said.draw, ByWeight | ByTemperature) and said.draw.repeat
    if said.split is None and (said.augment or repeats) and config.held_out_share and not config.held_out:
        raise ConfigError(
            f"mixture {said.name} repeats or augments its groups and sets none apart, so data.held_out_share would "
            "measure on copies of what is trained on; give the mixture a split, or set data.held_out_share=0"
        )
    mixture = build_mixture(said, cache_dir=cache_dir)
    return mixture.sets[TRAIN], mixture.sets.get(HELD_OUT)


def prepare_model(config: TrainConfig, train: GroupSet) -> tuple[RewardModel, LayoutProof]:
    """Return the model to train in its layout, and the proof of that layout."""
    section, head = config.model, trained_head(config)
    match section.init:
        case PretrainedInit(path=path) as init:
            model = new_reward_model(
                path,
                seed=config.step.seed,
                head=head,
                dtype=init.dtype,
                chat_template=init.chat_template,
                max_length=section.max_length,
                truncation=section.truncation,
                trust_remote_code=init.trust_remote_code,
                quantization=init.quantization,
            )
        case ScratchInit() as init:
            model = build_decoder(
                build_tokenizer(_texts(train, init.tokenizer_groups, head.form), vocabulary=init.vocabulary),
                hidden_size=init.hidden_size,
                num_layers=init.num_layers,
                num_heads=init.num_heads,
                max_length=section.max_length or 1024,
                seed=config.step.seed,
                init_std=init.init_std,
                head=head,
            )
            model.recipe = model.recipe.model_copy(update={"truncation": section.truncation})
        case _:
            assert_never(section.init)
    if isinstance(config.objective, Regression) and isinstance(model.head, AttributesHead):
        model.recipe = model.recipe.model_copy(update=_described_attributes(config.objective, section.init, train))
    model.recipe = model.recipe.model_copy(update={"reward_scale": config.objective.reward_scale})
    if section.lora is not None:
        lora = section.lora
        model = add_lora(
            model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.targets, seed=config.step.seed
        )
    if config.objective.needs.log_likelihood:
        init = section.init
        if isinstance(init, PretrainedInit):
            keep_language_model(model, init.path, trust_remote_code=init.trust_remote_code)
        else:
            keep_language_model(model, None)
        check_causal(model)
    proof = choose_layout(model, section.layout)
    if config.step.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, proof


def _described_attributes(
    objective: Regression, init: PretrainedInit | ScratchInit, train: GroupSet
) -> dict[str, tuple[float, ...]]:
    """Return the units of the rated attributes and their weights in the reward, as fields of the recipe.

    They are those of a head that is kept, or else those of the training groups.
    """
    kept = _kept_attributes(init, objective.attributes) if isinstance(init, PretrainedInit) else None
    units, weights = _RAW, ()
    if kept is not None:
        units, weights = kept
        if units == _RAW and objective.standardise:
            _log.warning("the model rates these attributes already, in units that are kept: nothing is standardised")
    elif objective.standardise:
        units = measured_units(train, objective.attributes, scale=objective.scale)
    weights = weights if objective.reward_weights is None else objective.reward_weights
    if not weights and len(objective.attributes) > 1:
        weights = equal_weights(units.scales or measured_units(train, objective.attributes).scales)
    return {
        "attribute_scales": units.scales,
        "attribute_locations": units.locations,
        "attribute_weights": weights,
    }


def _kept_attributes(
    init: PretrainedInit, attributes: tuple[str, ...]
) -> tuple[AttributeUnits, tuple[float, ...]] | None:
    """Return the units and weights of the head that a model brings for these very attributes, or None without one."""
    source = resolve_source(init.path)
    names: dict[int, str] = (
        load_config_of(source, trust_remote_code=init.trust_remote_code).to_dict().get("id2label", {})
    )
    if tuple(name for _, name in sorted(names.items())) != attributes:
        return None
    file = checkpoint_file(source, RECIPE_FILE)
    recipe = None if file is None else read_recipe(file.parent)
    if recipe is None:
        return _RAW, ()
    return AttributeUnits(recipe.attribute_locations, recipe.attribute_scales), recipe.attribute_weights


def prepare_tokens(
    groups: GroupSet,
    model: RewardModel,
    directory: Path,
    config: TrainConfig,
    *,
    progress: Progress | None = None,
) -> PreparedTokens:
    """Return ``groups`` as tokens for ``model`` in a file of ``directory``; made once, then read."""
    objective, form = config.objective, model.recipe.form
    encoder = _training_encoder(config, model)
    tokens = encode_to_file(groups, encoder, directory / _token_file_name(groups, model, encoder), progress=progress)
    rows = np.flatnonzero(carries_labels(tokens, objective, form))
    reads_margins = objective.needs.margins or objective.needs.labels == "strengths"
    counts = {
        "fingerprint": groups.fingerprint,
        "read": groups.report.model_dump(mode="json"),
        "encoded": tokens.report.as_dict(),
        "groups": len(tokens),
        "labels": label_kind(objective, form),
        "without_labels": len(tokens) - len(rows),
        "preferences": _num_preferences(tokens, encoder),
        "preferences_without_margin": int(tokens.num_pairs.sum()) - tokens.num_margins() if reads_margins else 0,
        "tokens_separate": int(tokens.sizes.flat_tokens.sum()),
        "tokens_shared": int(tokens.sizes.tree_tokens.sum()),
    }
    return PreparedTokens(tokens, rows, counts)


def _training_encoder(config: TrainConfig, model: RewardModel) -> GroupEncoder:
    """Return the encoder of the model; one of comparisons draws their orders as the config says."""
    encoder, head = model.recipe.encoder(model.tokenizer, for_training=True), config.model.head
    if isinstance(encoder, ComparisonEncoder) and isinstance(head, ComparisonHeadSection):
        return dataclasses.replace(encoder, orders=head.orders, seed=config.step.seed)
    return encoder


def _num_preferences(tokens: TokenSet, encoder: GroupEncoder) -> int:
    """Return the number of preferences in ``tokens``; those of comparisons stand there once per order."""
    if not isinstance(encoder, ComparisonEncoder):
        return int(tokens.num_pairs.sum())
    comparisons = int(tokens.count_labels("steps").sum())
    return comparisons // 2 if encoder.orders == "both" else comparisons


def _token_file_name(groups: GroupSet, model: RewardModel, encoder: GroupEncoder) -> str:
    digest = hashlib.blake2b(digest_size=12)
    if isinstance(encoder, ComparisonEncoder):
        digest.update(f"{encoder.orders} {encoder.seed} ".encode())
    digest.update(groups.fingerprint.encode())
    digest.update(model.recipe.hash.encode())
    backend = model.tokenizer.backend_tokenizer
    digest.update(backend.to_str().encode())
    return f"tokens-{digest.hexdigest()}.arrow"


def _texts(groups: GroupSet, limit: int, form: Form) -> Iterator[str]:
    """Yield the texts of the first ``limit`` groups."""
    for group in itertools.islice(groups, limit):
        if form == "comparison":
            for preference in group.preferences:
                chosen, rejected = group.responses[preference.chosen], group.responses[preference.rejected]
                yield comparison_text(group.prompt, chosen, rejected)
        else:
            yield from (message.content for message in group.prompt)
            yield from group.responses


_WORDS: dict[LabelKind, str] = {
    "preferences": "a preference",
    "strengths": "a preference with a margin other than 0",
    "ranks": "a ranking that orders something",
    "outcomes": "an outcome",
    "steps": "a labelled step",
    "ratings": "a rating of the attributes",
}


def label_kind(objective: ObjectiveConfig, form: Form = "conversation") -> LabelKind:
    """Return the kind of label that an objective learns from, with a model of that form."""
    match form:
        case "comparison":
            return "preferences"
        case "one_turn":
            return "outcomes"
        case "conversation" | "turns":
            return objective.needs.labels
        case _:
            assert_never(form)


def missing_label_in_words(kind: LabelKind) -> str:
    """Return in words the label that a group without this kind lacks."""
    return _WORDS[kind]


def carries_labels(tokens: TokenSet, objective: ObjectiveConfig, form: Form = "conversation") -> np.ndarray:
    """Return a mask [group]: True where it carries the labels that the objective needs.

    A preference stands in the tokens of a comparison as its one labelled step.

    Raises:
        DataError: when the objective cannot learn from a label that is there; training would meet it in some step.
    """
    objective.check_labels(tokens.span_of)
    needs = objective.needs
    kind = "steps" if form == "comparison" else label_kind(objective, form)
    return tokens.count_labels(kind, attributes=needs.attributes, partial=needs.partial) > 0


def check_margins(tokens: TokenSet, objective: ObjectiveConfig) -> None:
    """Raise DataError where the objective asks for the margins of data that have none at all."""
    if objective.needs.margins and math.isnan(tokens.span_of("pair_margin")[0]):
        raise DataError(
            "objective.use_margin is true, but no preference of the training data has a margin; leave it out, or give "
            "margins"
        )


def trained_head(config: TrainConfig) -> Head:
    """Return the head that the objective trains, as ``model.head`` asks for it.

    Raises:
        ConfigError: where the objective cannot train that head.
    """
    objective, chosen = config.objective, config.model.head
    needs = objective.needs
    if isinstance(chosen, CustomHeadSection):
        return custom_head(chosen.path, chosen.__pydantic_extra__ or {}, key="model.head.path")
    _check_reading(objective, chosen)
    if chosen is None:
        return head_class(_kind(needs.heads[0], objective.type)).for_objective(needs)
    if "token" not in needs.heads:
        instead = " or set objective to {type: process}" if chosen.type == "comparison" else ""
        raise ConfigError(
            f"model.head is {chosen.type}, but the objective {objective.type} trains a head of kind "
            f"{' or '.join(needs.heads)}; leave model.head out{instead}"
        )
    kind = "language_model" if isinstance(chosen, ComparisonHeadSection) else chosen.type
    return head_class(kind).for_objective(needs, **chosen.fields_of_head())


def _kind(name: str, objective: str) -> HeadKind:
    """Return the kind of head of that name, which a custom objective may spell as it likes."""
    kinds: tuple[HeadKind, ...] = get_args(HeadKind)
    for kind in kinds:
        if kind == name and kind != "custom":
            return kind
    raise ConfigError(f"objective {objective} trains heads of kind {name!r}; {closest_or_all(name, kinds)}")


def _check_reading(objective: ObjectiveConfig, chosen: HeadSection | None) -> None:
    """Refuse a head that cannot be read as the objective reads it, and settings of steps where none are read."""
    is_token = chosen is None or isinstance(chosen, TokenHeadSection)
    if isinstance(objective, Process) and objective.over == "vocabulary" and is_token:
        raise ConfigError(
            "objective.over is vocabulary, which asks for the probability of class words among all tokens, but "
            "model.head is a classifier of tokens; set model.head to {type: language_model}, or over to classes"
        )
    steps = {"step_separator", "aggregation"} & (set() if chosen is None else chosen.model_fields_set)
    if isinstance(objective, TokenOutcome) and steps:
        raise ConfigError(
            f"model.head sets {' and '.join(sorted(steps))}, but a model of the objective token_outcome is read at the "
            "end of a response and has no steps; leave it out"
        )
