"""What training needs before its first step: groups, a model, and both as token sets."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from plaudit.batching.comparison import ComparisonEncoder, comparison_text
from plaudit.batching.encode import GroupEncoder
from plaudit.batching.token_set import TokenSet, encode_to_file
from plaudit.data.group import Group
from plaudit.data.group_set import GroupSet
from plaudit.data.read import load_files
from plaudit.data.splits import split_by_prompt
from plaudit.data.steps import label_steps_once
from plaudit.errors import DataError
from plaudit.models.create import add_lora, new_reward_model
from plaudit.models.language_head import keep_language_model
from plaudit.models.parity import LayoutProof, choose_layout
from plaudit.models.recipe import Form
from plaudit.models.reward_model import RewardModel
from plaudit.models.scratch import build_decoder, build_tokenizer
from plaudit.objectives.build import build_objective
from plaudit.training.config import ComparisonHead, DataSection, PretrainedInit, ScratchInit, TrainConfig
from plaudit.training.heads import carries_labels, head_of, label_kind

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class PreparedTokens:
    """A token set, the rows of it that carry what the objective learns from, and the counts for the run record."""

    tokens: TokenSet
    rows: np.ndarray
    counts: dict[str, Any]


def prepare_groups(config: DataSection, cache_dir: Path) -> tuple[GroupSet, GroupSet]:
    """Return the training and the held-out groups; without held-out files, split by prompt.

    Raises:
        DataError: when nothing is left to train on.
    """
    train = load_files(config.train, cache_dir=cache_dir)
    if config.held_out:
        held_out = load_files(config.held_out, cache_dir=cache_dir)
    elif config.held_out_share == 0:
        held_out = train.select([])
    else:
        train, held_out = split_by_prompt(train, held_out=config.held_out_share, seed=config.split_seed)
    if len(train) == 0:
        raise DataError("no group is left to train on; `plaudit data show` tells what was dropped and why")
    return train, held_out


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
    # A step that responses share is judged once: it must not weigh as often as there are responses below it.
    once = label_kind(objective, form) == "steps"
    name = _token_file_name(groups, model, encoder, once=once)
    labelled = map(label_steps_once, groups) if once else groups
    tokens = encode_to_file(labelled, encoder, directory / name, progress=progress)
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


def _token_file_name(groups: GroupSet, model: RewardModel, encoder: GroupEncoder, *, once: bool) -> str:
    digest = hashlib.blake2b(digest_size=12)
    if once:
        digest.update(b"steps labelled once ")
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
