"""Checkpoints without a scoring recipe: sequence classifiers of other tools, and ArmoRM's layout without its code."""

from __future__ import annotations

import json
import logging
import re
import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from plaudit.batching.rendering import with_fixed_date
from plaudit.data.reading.sources.attributes import ARMORM as PUBLISHED_ATTRIBUTES
from plaudit.errors import CheckpointError, ConfigError, ModelError
from plaudit.models.backbone import checkpoint_file, output_names, read_out_of, recipe_of, tensors_outside
from plaudit.models.checkpoint.recipe import (
    NAMED_TEMPLATES,
    RECIPE_FILE,
    GateRule,
    ScoringRecipe,
    ends_in,
    own_template,
)
from plaudit.models.heads.gate import Gate, attach_gate, turn_opening
from plaudit.models.heads.head import HeadSpec
from plaudit.models.heads.token import TokenHead
from plaudit.models.positions import longest_conversation

DEFAULT_LENGTH = 4096
"""Longest conversation in tokens, where neither the config nor the tokenizer tells."""

_UNNAMED = "LABEL_"

_log = logging.getLogger(__name__)

PUBLISHED_CLASS = "LlamaForRewardModelWithGating"
"""The class that ``RLHFlow/ArmoRM-Llama3-8B-v0.1`` was saved as; its code is never run here."""

PUBLISHED_OPENING = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
"""Text between a prompt and a response there; the gate reads the first of its tokens."""

PUBLISHED_TEMPERATURE = 10.0
"""That class's default divisor of the logits of the gate."""

_REGRESSION, _MATRIX, _SCALE = "regression_layer.weight", "reward_transform_matrix", "gating.logit_scale"
_LAYER = re.compile(r"gating\.(layers\.\d+\.(?:weight|bias))")


@dataclass(frozen=True, slots=True)
class SeparatedSteps:
    """Facts that no file of another trainer's token classifier states: values of its classes, separator of steps.

    The classes ascend, in the order of the outputs. Each step is judged at the last token of the separator behind it,
    behind a BOS (if the tokenizer has one) and the texts of the prompt as they are: the text of TRL's ``PRMTrainer``.

    Raises:
        ConfigError: for fewer than two classes, classes that do not ascend, or an empty separator.
    """

    classes: tuple[float, ...]
    separator: str

    def __post_init__(self) -> None:
        """Check the fields."""
        if len(self.classes) < 2 or any(low >= high for low, high in pairwise(self.classes)):
            raise ConfigError(
                f"step_classes is {list(self.classes)}; it must be the values of the model's outputs in order, two or "
                "more, from low to high, like 0, 1"
            )
        if not self.separator:
            raise ConfigError("step_separator is empty; it must be the text behind which a step is judged")


@dataclass(frozen=True, slots=True)
class PublishedGate:
    """The heads of a checkpoint in the published layout.

    ``regression`` is ``[attribute, feature]``, in at least float32.
    """

    attributes: tuple[str, ...]
    regression: Tensor
    gate: Gate


def inferred_spec(source: str, config: PreTrainedConfig, published: PublishedGate | None) -> HeadSpec:
    """Return the outputs of a sequence classifier that brings no recipe: one reward, or attributes with names.

    Several outputs are attributes only where the config says that they are numbers (``problem_type: regression``) and
    names them: the logits of classes are no ratings.

    Raises:
        CheckpointError: when the meaning of its outputs cannot be known.
    """
    if published is not None:
        return HeadSpec("sequence", len(published.attributes), published.attributes)
    names = output_names(config)
    count = len(names)
    if count == 1:
        return HeadSpec()
    opening = f"{source} has {count} outputs; a scalar reward model has one"
    if config.to_dict().get("auto_map"):
        raise CheckpointError(
            f"{opening}, and how its own code (auto_map in config.json) makes one of these is not known here: that "
            "code is never asked"
        )
    if config.problem_type != "regression":
        raise CheckpointError(
            f"{opening}, and these may be classes ({', '.join(names[:5])}): its config does not say that they are "
            "ratings; if they are, set problem_type to regression and name them in id2label"
        )
    if len(set(names)) < count or any(name.startswith(_UNNAMED) for name in names):
        raise CheckpointError(
            f"{opening}, and one for attributes names each in id2label of its config; these are {', '.join(names[:5])}"
        )
    return HeadSpec("sequence", count, names)


def inferred_recipe(
    source: str,
    network: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dtype: str,
    *,
    spec: HeadSpec,
    read: PublishedGate | SeparatedSteps | None,
    strict: bool,
) -> ScoringRecipe:
    """Return the recipe that a checkpoint without one is read by; ``assumed`` puts its assumptions in words.

    ``read`` holds the heads in the published layout, or describes a process model.

    Raises:
        CheckpointError: without one chat template, or where the pad token is the end token (``strict``).
        ModelError: when a published gate does not find the end of the prompt in the template.
    """
    if isinstance(read, SeparatedSteps):
        return _process_recipe(source, network, tokenizer, dtype, read)
    template = own_template(tokenizer, source)
    if template is None:
        raise CheckpointError(
            f"{source} has neither {RECIPE_FILE!r} nor one chat template, so how its rewards were meant to be read is "
            "unknown; add the chat template it was trained with to its tokenizer"
        )
    _check_padding(source, template, tokenizer, strict)
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id
    limit = longest_conversation(network, tokenizer)
    recipe = recipe_of(
        network,
        tokenizer,
        chat_template=with_fixed_date(template),
        special_tokens=False,
        max_length=limit or DEFAULT_LENGTH,
        dtype=dtype,
        head="attributes" if spec.names else "scalar",
        attributes=spec.names,
    )
    if read is not None:
        opening = published_opening(source, recipe, tokenizer)
        rule = GateRule(opening=opening, temperature=read.gate.temperature)
        return recipe.model_copy(update={"head": "gated", "gate": rule})
    if spec.names:
        _log.warning("%s has no %s: its reward is taken to be %s", source, RECIPE_FILE, _mean(recipe))
    return recipe


def process_spec(source: str, config: PreTrainedConfig | None, steps: SeparatedSteps) -> HeadSpec:
    """Return the outputs of a classifier of tokens without a recipe: one for each class of a step.

    Raises:
        CheckpointError: when it has another number of outputs.
    """
    count = len(steps.classes)
    if config is not None and config.num_labels != count:
        raise CheckpointError(f"{source} has {config.num_labels} outputs; step_classes names {count}")
    return TokenHead(classes=steps.classes).spec()


def _process_recipe(
    source: str, network: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dtype: str, steps: SeparatedSteps
) -> ScoringRecipe:
    """Return the recipe that a classifier of tokens without one is read by.

    Raises:
        CheckpointError: when its tokenizer has neither a pad nor an end token.
        ModelError: when its head is more than a linear layer on the last hidden state.
    """
    if read_out_of(network) != "last_token":
        raise ModelError(f"{source}: {type(network).__name__} is no decoder with a linear head, so no process model")
    _ensure_pad(source, tokenizer)
    bos = tokenizer.bos_token
    opening = f"{{{{ {bos!r} }}}}" if bos else ""
    _log.warning(
        "%s has no %s: each step is taken to be judged at the last token of %r behind it, after %sthe prompt as it is, "
        "without a chat template",
        source,
        RECIPE_FILE,
        steps.separator,
        f"{bos} and " if bos else "",
    )
    return recipe_of(
        network,
        tokenizer,
        chat_template=opening + NAMED_TEMPLATES["concatenate"],
        special_tokens=False,
        max_length=longest_conversation(network, tokenizer) or DEFAULT_LENGTH,
        dtype=dtype,
        head="token",
        classes=steps.classes,
        step_separator=steps.separator,
        step_token="separator",
    )


def _ensure_pad(source: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the end token the pad token where there is none, as TRL does.

    Raises:
        CheckpointError: when there is neither.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token_id = tokenizer.eos_token_id
    if tokenizer.pad_token_id is None:
        raise CheckpointError(f"{source} has neither a pad nor an end token, so no batch of it can be padded; set one")


def _check_padding(source: str, template: str, tokenizer: PreTrainedTokenizerBase, strict: bool) -> None:
    """Refuse a pad token in which conversations end.

    Raises:
        CheckpointError: when the reward would be read elsewhere by other tools (``strict``; else a warning).
    """
    _ensure_pad(source, tokenizer)
    if not ends_in(tokenizer.pad_token_id, template, tokenizer):
        return
    words = (
        f"{source}: conversations end in the pad token {tokenizer.pad_token!r}, so transformers and TRL read the "
        "reward before the last end token while plaudit reads it at the last token; set a pad token of its own, or "
        "load with strict=False to read at the last token"
    )
    if strict:
        raise CheckpointError(words)
    warnings.warn(words, stacklevel=4)


def _mean(recipe: ScoringRecipe) -> str:
    return f"the mean of {', '.join(recipe.attributes)}, each counted alike and as better the higher it is"


def assumed(recipe: ScoringRecipe) -> str:
    """Return in words the assumptions about a checkpoint without a recipe."""
    if recipe.step_token == "separator":
        return (
            f"each step judged at the last token of {recipe.step_separator!r} behind it, without a chat template; "
            f"at most {recipe.max_length} tokens; weights in {recipe.dtype}"
        )
    parts = [
        "conversations by the tokenizer's own chat template, which writes the special tokens itself and is the whole "
        "text",
        f"read at {'the last token' if recipe.read_out == 'last_token' else 'wherever its own classifier reads'}",
        f"at most {recipe.max_length} tokens, as the model's positions and its tokenizer allow "
        f"({DEFAULT_LENGTH} where neither tells)",
        "longer prompts cut from the left",
        f"weights in {recipe.dtype}",
    ]
    if recipe.head == "attributes":
        parts.append(f"the reward is {_mean(recipe)}")
    if recipe.gate is not None:
        known = recipe.attributes == PUBLISHED_ATTRIBUTES
        named = "are those of the published ArmoRM, in its order"
        parts.append(f"the attributes {named if known else 'have the names in its config, or numbers without any'}")
        parts.append(f"the temperature of the gate is that of its config, or {PUBLISHED_TEMPERATURE:g} without one")
    return "; ".join(parts)


def is_published_gate(source: str) -> bool:
    """Return whether a checkpoint was saved as the published class; looked up without running any code of it."""
    try:
        path = checkpoint_file(source, "config.json")
        record: Any = None if path is None else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    found = record.get("architectures") if isinstance(record, dict) else None
    return isinstance(found, list) and PUBLISHED_CLASS in found


def published_gate(source: str, config: PreTrainedConfig) -> PublishedGate:
    """Return the heads of a checkpoint in the published layout.

    Raises:
        ModelError: when weights are missing or of no use here, their shapes do not fit together, or the config
            contradicts them.
    """
    fields = config.to_dict()
    if fields.get("num_quantiles") is not None:
        raise ModelError(
            f"{source} predicts {fields['num_quantiles']} quantiles of each attribute (QRM); gated models here predict "
            "one number of each"
        )
    tensors = tensors_outside(source, "model.")
    missing = [name for name in (_REGRESSION, _MATRIX, _SCALE, "gating.layers.0.weight") if name not in tensors]
    if missing:
        raise ModelError(f"{source} lacks {', '.join(missing)}, without which a gated model has no rewards")
    layers = {name: match[1] for name in tensors if (match := _LAYER.fullmatch(name))}
    unknown = sorted(tensors.keys() - layers.keys() - {_REGRESSION, _MATRIX, _SCALE})
    if unknown:
        raise ModelError(f"{source} holds weights that {PUBLISHED_CLASS} has no place for: {', '.join(unknown[:5])}")
    whole = sorted(name for name, tensor in tensors.items() if not tensor.is_floating_point())
    if whole:
        raise ModelError(f"{source}: {', '.join(whole)} holds whole numbers; weights are floating point")
    regression = tensors[_REGRESSION]
    if regression.ndim != 2 or regression.shape[1] != config.get_text_config().hidden_size:
        raise ModelError(
            f"{source}: {_REGRESSION} has shape {list(regression.shape)}; the hidden states have "
            f"{config.get_text_config().hidden_size} features"
        )
    renamed = {own: tensors[name] for name, own in layers.items()}
    renamed |= {"transform": tensors[_MATRIX], "scale": tensors[_SCALE]}
    temperature = fields.get("gating_temperature", PUBLISHED_TEMPERATURE)
    if not isinstance(temperature, (int, float)):
        raise ModelError(f"{source}: gating_temperature is {temperature!r}; it must be a number above 0")
    try:
        gate = Gate.from_tensors(renamed, temperature=float(temperature))
    except ModelError as error:
        raise ModelError(f"{source}: {error}") from None
    _check_sizes(source, fields, regression, gate)
    return PublishedGate(_attributes(config, len(regression)), regression.float(), gate)


def _check_sizes(source: str, fields: dict[str, object], regression: Tensor, gate: Gate) -> None:
    """Refuse a gate for other attributes than there are, and sizes other than the config says."""
    count = len(regression)
    if gate.num_attributes != count:
        raise ModelError(f"{source}: {_REGRESSION} gives {count} attributes, the gate weighs {gate.num_attributes}")
    if gate.sizes[0] != regression.shape[1]:
        raise ModelError(
            f"{source}: the gate reads {gate.sizes[0]} features; the hidden states have {regression.shape[1]}"
        )
    hidden = gate.sizes[1:-1]
    claims = {"num_objectives": {count}, "gating_n_hidden": {len(hidden)}, "gating_hidden_dim": set(hidden)}
    for name, found in claims.items():
        if fields.get(name) is not None and found and found != {fields[name]}:
            listed = ", ".join(map(str, sorted(found)))
            raise ModelError(f"{source}: {name} is {fields[name]} in config.json; the weights say {listed}")


def _attributes(config: PreTrainedConfig, count: int) -> tuple[str, ...]:
    """Return the names in the config, or else those of the published model, or else numbers."""
    named = output_names(config)
    if len(named) == count and not any(name.startswith("LABEL_") for name in named):
        return named
    if count == len(PUBLISHED_ATTRIBUTES):
        return PUBLISHED_ATTRIBUTES
    return tuple(f"attribute_{place}" for place in range(count))


def published_opening(source: str, recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens of ``PUBLISHED_OPENING``, checked to stand right before every response.

    Raises:
        ModelError: when the chat template writes something else there.
    """
    opening = tuple(tokenizer.encode(PUBLISHED_OPENING, add_special_tokens=False))
    found = turn_opening(recipe, tokenizer)
    if found[-len(opening) :] != opening:
        raise ModelError(
            f"{source}: the gate reads where {PUBLISHED_OPENING!r} stands right before a response, but the chat "
            f"template writes {tokenizer.decode(list(found))!r} there; restore the template of the published model"
        )
    return opening


def fill_published(core: PreTrainedModel, published: PublishedGate) -> None:
    """Put the published heads on the network, in at least float32, and leave the name of their code out of it."""
    core.config.__dict__.pop("auto_map", None)
    with torch.no_grad():
        next(core.get_submodule("score").parameters()).copy_(published.regression)
    attach_gate(core, published.gate)
