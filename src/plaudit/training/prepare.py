"""What training needs before its first step: groups, a model, and both as token sets."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from plaudit.batching.comparison import ComparisonEncoder, comparison_text
from plaudit.batching.encode import GroupEncoder
from plaudit.batching.token_set import TokenSet, encode_to_file
from plaudit.data.mixing.config import ByTemperature, ByWeight
from plaudit.data.mixing.draw import HELD_OUT, TRAIN
from plaudit.data.mixing.mixture import build_mixture, mixture_config
from plaudit.data.mixing.splits import split_by_prompt
from plaudit.data.reading.read import load_files
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet, repeated_id
from plaudit.errors import ConfigError, DataError
from plaudit.models.backbone import load_config_of, resolve_source
from plaudit.models.checkpoint.head_weights import checkpoint_file
from plaudit.models.checkpoint.recipe import RECIPE_FILE, Form, read_recipe
from plaudit.models.create import add_lora, new_reward_model
from plaudit.models.heads.language import keep_language_model
from plaudit.models.parity import LayoutProof, choose_layout
from plaudit.models.reward_model import RewardModel
from plaudit.models.scratch import build_decoder, build_tokenizer
from plaudit.objectives.build import build_objective
from plaudit.objectives.config import Regression, log_odds_of
from plaudit.training.config import ComparisonHead, DataSection, PretrainedInit, ScratchInit, TrainConfig
from plaudit.training.heads import carries_labels, head_of, label_kind
from plaudit.training.standardise import AttributeUnits, measured_units

_log = logging.getLogger(__name__)

Progress = Callable[[int], None]

_RAW = AttributeUnits()
"""Those of the ratings themselves."""


@dataclass(frozen=True, slots=True)
class PreparedTokens:
    """A token set, the rows of it that carry what the objective learns from, and the counts for the run record."""

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
    section, head = config.model, head_of(config)
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
    if config.objective.type == "regression":
        units = _units_of(config.objective, section.init, train)
        described = {"attribute_scales": units.scales, "attribute_locations": units.locations}
        model.recipe = model.recipe.model_copy(update=described)
    model.recipe = model.recipe.model_copy(update={"trained_as_log_odds": log_odds_of(config.objective)})
    if section.lora is not None:
        lora = section.lora
        model = add_lora(
            model, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=lora.targets, seed=config.step.seed
        )
    if build_objective(config.objective).needs.log_likelihood:
        init = section.init
        if isinstance(init, PretrainedInit):
            keep_language_model(model, init.path, trust_remote_code=init.trust_remote_code)
        else:
            keep_language_model(model, None)
    proof = choose_layout(model, section.layout)
    if config.step.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    return model, proof


def _units_of(objective: Regression, init: PretrainedInit | ScratchInit, train: GroupSet) -> AttributeUnits:
    """Return the units of the rated attributes: those of a head that is kept, or else those of the training groups."""
    if isinstance(init, PretrainedInit):
        kept = _units_of_kept_head(init, objective.attributes)
        if kept == _RAW and objective.standardise:
            _log.warning(
                "%s rates these attributes already, in units that are kept: nothing is standardised", init.path
            )
        if kept is not None:
            return kept
    return measured_units(train, objective.attributes, scale=objective.scale) if objective.standardise else _RAW


def _units_of_kept_head(init: PretrainedInit, attributes: tuple[str, ...]) -> AttributeUnits | None:
    """Return the units of the head that a model brings for these very attributes, or None where it brings none."""
    source = resolve_source(init.path)
    names: dict[int, str] = (
        load_config_of(source, trust_remote_code=init.trust_remote_code).to_dict().get("id2label", {})
    )
    if tuple(name for _, name in sorted(names.items())) != attributes:
        return None
    file = checkpoint_file(source, RECIPE_FILE)
    recipe = None if file is None else read_recipe(file.parent)
    return _RAW if recipe is None else AttributeUnits(recipe.attribute_locations, recipe.attribute_scales)


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
    counts = {
        "fingerprint": groups.fingerprint,
        "read": groups.report.model_dump(mode="json"),
        "encoded": tokens.report.as_dict(),
        "groups": len(tokens),
        "labels": label_kind(objective, form),
        "without_labels": len(tokens) - len(rows),
        "preferences": _num_preferences(tokens, encoder),
        "tokens_separate": int(tokens.sizes.flat_tokens.sum()),
        "tokens_shared": int(tokens.sizes.tree_tokens.sum()),
    }
    return PreparedTokens(tokens, rows, counts)


def _training_encoder(config: TrainConfig, model: RewardModel) -> GroupEncoder:
    """Return the encoder of the model; one of comparisons draws their orders as the config says."""
    encoder, head = model.recipe.encoder(model.tokenizer, for_training=True), config.model.head
    if isinstance(encoder, ComparisonEncoder) and isinstance(head, ComparisonHead):
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
        yield from _texts_of(group, form)


def _texts_of(group: Group, form: Form) -> Iterator[str]:
    if form == "comparison":
        for preference in group.preferences:
            chosen, rejected = group.responses[preference.chosen], group.responses[preference.rejected]
            yield comparison_text(group.prompt, chosen, rejected)
        return
    for message in group.prompt:
        yield message.content
    yield from group.responses
