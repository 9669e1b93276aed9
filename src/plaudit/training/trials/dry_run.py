"""A dry run: first rows, tokenizer and template of a config are read, and steps, tokens and memory told; no weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import torch
from torch import nn

from plaudit.batching.encode import EncodingReport
from plaudit.batching.planner import num_steps
from plaudit.batching.tokens import TokenGroup
from plaudit.data.mixing.splits import split_by_prompt
from plaudit.data.reading.options import DataFile, expand
from plaudit.data.reading.places import places_of
from plaudit.data.reading.read import load_files
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError, ModelError
from plaudit.models import backbone
from plaudit.models.checkpoint.recipe import ScoringRecipe, check_special_tokens
from plaudit.models.classes import network_class
from plaudit.models.create import template_for
from plaudit.models.heads.head import Head
from plaudit.models.positions import longest_conversation, too_long
from plaudit.training.config import PretrainedInit, ScratchInit, TrainConfig
from plaudit.training.prepare import prepare_groups, prepare_model, trained_head

MAX_ROWS = 1000
"""Groups of each file that are read; the size of longer files is told from their number of rows."""
_ENCODED = 200
_NF4_BYTES = 4.127 / 8
_ACTIVATION_BYTES = 34
"""Bytes of activations per token, layer and unit of width, in 16 bits (Korthikanti et al., 2022, arXiv 2205.05198,
section 4.1, without the scores of attention, which are not kept)."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """Data, tokens, steps and memory of a run that is not begun."""

    groups: int
    held_out: int
    is_exact: bool
    """False where the number of groups is an estimate from the first ones of long files."""
    dropped: dict[str, int]
    """Groups among those looked at that would be left out, by reason."""
    steps: int
    tokens_per_group: float
    example: str
    """The first conversation as the model sees it."""
    max_length: int
    parameters: int
    trainable: int
    gigabytes: float
    """Estimate of the memory of one device: weights, gradients, moments and activations of ``step.max_tokens``."""

    def lines(self) -> list[str]:
        """Return the facts as lines of text."""
        about = "" if self.is_exact else "about "
        left_out = "".join(f"; {count} {reason}" for reason, count in self.dropped.items())
        tokens = self.tokens_per_group * self.groups
        return [
            f"data: {about}{self.groups:,} groups to train on, {about}{self.held_out:,} held out{left_out}",
            f"steps: {about}{self.steps:,} in all",
            f"tokens: about {self.tokens_per_group:,.0f} a group, {tokens:,.0f} a pass; longest {self.max_length:,}",
            f"model: {self.parameters:,} weights, {self.trainable:,} of them trained",
            f"memory: about {self.gigabytes:,.1f} GB on one device",
            "the first conversation, as the model reads it:",
            *(f"  {line}" for line in self.example.splitlines()),
        ]


def dry_run(config: TrainConfig) -> DryRun:
    """Return what training by ``config`` would read and cost; its weights are neither read nor made.

    Raises:
        ConfigError, DataError, ModelError: for a file, model, tokenizer or template that is not there or does not fit,
            and for data of which nothing could be trained on.
    """
    head = trained_head(config)
    with TemporaryDirectory(prefix="plaudit-") as folder:
        train, held_out, total, is_exact = _first_groups(config, Path(folder))
        groups = train.take(range(min(len(train), _ENCODED)))
        network, tokenizer, recipe = _described(config, head, train, Path(folder))
    report = EncodingReport()
    encoder = recipe.encoder(tokenizer, for_training=True)
    encoded = [each for each in encoder.encode(list(enumerate(groups)), report) if isinstance(each, TokenGroup)]
    if not encoded:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.dropped.items())
        raise DataError(f"none of the first {len(groups)} groups can be trained on: {reasons}")
    steps = config.step.max_steps or math.ceil(config.step.epochs * num_steps(total, config.step.groups_per_step))
    trainable = _trainable(network, config)
    return DryRun(
        groups=total,
        held_out=held_out,
        is_exact=is_exact,
        dropped=dict(report.dropped),
        steps=steps,
        tokens_per_group=sum(each.tree.num_tokens for each in encoded) / len(encoded),
        example=encoder.texts(groups[0])[0],
        max_length=recipe.max_length,
        parameters=sum(weight.numel() for weight in network.parameters()),
        trainable=trainable,
        gigabytes=_gigabytes(network, config, trainable),
    )


# ----------------------------------------------------------------------------------------------------------- data


def _first_groups(config: TrainConfig, cache: Path) -> tuple[GroupSet, int, int, bool]:
    """Return first training groups, the numbers of held-out and of training groups, and whether these are exact."""
    data = config.data
    if data.mixture is not None:
        train, held_out = prepare_groups(data, cache)
        return train, len(held_out), len(train), True
    train, count, is_exact = _first_of(data.train, cache)
    held_out, apart, too = _first_of(data.held_out, cache) if data.held_out else (None, 0, True)
    if held_out is not None or data.held_out_share == 0:
        return train, apart, count, is_exact and too
    if is_exact:
        train, split = split_by_prompt(train, held_out=data.held_out_share, seed=data.split_seed)
        return train, len(split), len(train), True
    apart = round(count * data.held_out_share)
    return train, apart, count - apart, False


def _first_of(files: Sequence[DataFile], cache: Path) -> tuple[GroupSet, int, bool]:
    """Return the first groups of files, the number of groups in all, and whether it is exact."""
    count, is_exact = 0, True
    limited = [each.model_copy(update={"limit": min(each.limit or MAX_ROWS, MAX_ROWS)}) for each in files]
    for file, first in zip(files, limited, strict=True):
        found = load_files([first], cache_dir=cache)
        if len(found) < MAX_ROWS or file.limit == len(found):
            count += len(found)
            continue
        rows = _rows_in(expand(file.path), file.split, cache) or found.report.published_rows or found.report.rows
        groups = round(rows * found.report.groups / max(found.report.rows, 1))
        count += min(groups, file.limit or groups)
        is_exact = False
    return load_files(limited, cache_dir=cache), count, is_exact


def _rows_in(path: str, split: str, cache: Path) -> int | None:
    """Return the number of rows of a file, or of those of a folder or pattern; None where their form does not tell."""
    files = [Path(place.path) for place in places_of(path, split, cache)] or [Path(path)]
    counts = [_rows_of(file) for file in files]
    return None if None in counts else sum(count or 0 for count in counts)


def _rows_of(path: Path) -> int | None:
    """Return the number of rows of a file whose form tells it without parsing, else None."""
    if not path.is_file():
        return None
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    if path.suffix in (".jsonl", ".csv", ".tsv"):
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return None


# ---------------------------------------------------------------------------------------------------------- model


def _described(config: TrainConfig, head: Head, train: GroupSet, folder: Path) -> tuple[Any, Any, ScoringRecipe]:
    """Return the network on the meta device, the tokenizer and the scoring recipe that training would begin with."""
    section = config.model
    match section.init:
        case ScratchInit():
            plain = config.model_copy(update={"model": section.model_copy(update={"lora": None})})
            model, _ = prepare_model(plain, train)
            return model.core, model.tokenizer, model.recipe
        case PretrainedInit() as init:
            pass
    source = backbone.resolve_source(init.path)
    settings = backbone.load_config_of(source, trust_remote_code=init.trust_remote_code)
    tokenizer = backbone.load_tokenizer(source, trust_remote_code=init.trust_remote_code)
    _check_weights(source)
    kind = network_class(settings, head.spec(), trust_remote_code=init.trust_remote_code)
    backbone.prepare_config(kind.config, head.spec())
    with torch.device("meta"):
        network: Any = kind.empty(kind.config, trust_remote_code=init.trust_remote_code)
        network.to(backbone.DTYPES[init.dtype])
    template, special_tokens = template_for(init.chat_template, tokenizer, source, network)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.add_special_tokens({"pad_token": backbone.PAD_TOKEN})
    problem = too_long(network, tokenizer, section.max_length, source)
    if problem:
        raise ModelError(problem)
    recipe = backbone.recipe_of(
        network,
        tokenizer,
        chat_template=template,
        special_tokens=special_tokens,
        max_length=section.max_length or min(longest_conversation(network, tokenizer) or 4096, 4096),
        dtype=init.dtype,
        truncation=section.truncation,
    )
    recipe = head.described_in(recipe, tokenizer)
    problem = check_special_tokens(recipe, tokenizer)
    if problem:
        raise ModelError(f"{source}: {problem}; choose another model.init.chat_template")
    return network, tokenizer, recipe


def _check_weights(source: str) -> None:
    names = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
    if not any(backbone.checkpoint_file(source, name) for name in names):
        raise ModelError(f"{source} holds no weights as safetensors ({' or '.join(names[:2])})")


def _trainable(network: nn.Module, config: TrainConfig) -> int:
    """Return the number of weights that are trained; of adapters rank · (inputs + outputs) for each linear layer."""
    lora = config.model.lora
    if lora is None:
        return sum(weight.numel() for weight in network.parameters())
    names = None if isinstance(lora.targets, str) else lora.targets
    linear = [
        each
        for name, each in network.named_modules()
        if isinstance(each, nn.Linear) and (names is None or name.rsplit(".", 1)[-1] in names)
    ]
    return sum(lora.rank * (each.in_features + each.out_features) for each in linear)


def _gigabytes(network: Any, config: TrainConfig, trainable: int) -> float:
    """Return the estimate of memory: see ``DryRun.gigabytes``.

    Weights in their own precision, one gradient and two moments for each trained weight in that of the weights
    (adapters: float32), and for each of ``step.max_tokens`` tokens 34 · layers · width bytes of activations in 16 bits,
    68 in float32; with gradient checkpointing 2 or 4 for each layer, and one layer whole.
    """
    init, settings = config.model.init, network.config.get_text_config()
    four_bit = isinstance(init, PretrainedInit) and init.quantization is not None
    size = next(network.parameters()).element_size()
    linear = sum(each.weight.numel() for each in network.modules() if isinstance(each, nn.Linear)) if four_bit else 0
    others = sum(weight.numel() for weight in network.parameters()) - linear
    weights = linear * _NF4_BYTES + others * size
    trained = trainable * 3 * (4 if config.model.lora is not None else size)
    sixteen = size == 2 or config.step.precision == "bfloat16"
    layers, width = getattr(settings, "num_hidden_layers", 1), getattr(settings, "hidden_size", 1)
    per_layer = _ACTIVATION_BYTES * (1 if sixteen else 2)
    kept = layers * (2 if sixteen else 4) + per_layer if config.step.gradient_checkpointing else layers * per_layer
    return (weights + trained + config.step.max_tokens * width * kept) / 1e9
