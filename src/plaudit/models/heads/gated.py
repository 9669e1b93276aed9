"""Gated models: a gate put on a model of attributes, and the published layout of ArmoRM, read without its code."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from plaudit.batching.encode import EncodingReport, LeftOut
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import CheckpointError, ModelError
from plaudit.models.backbone import output_names
from plaudit.models.checkpoint.head_weights import checkpoint_file, tensors_outside
from plaudit.models.checkpoint.recipe import GateRule, ScoringRecipe
from plaudit.models.heads.gate import GATE, Gate
from plaudit.models.reward_model import RewardModel

PUBLISHED_CLASS = "LlamaForRewardModelWithGating"
"""The class that ``RLHFlow/ArmoRM-Llama3-8B-v0.1`` was saved as; its code is never run here."""

PUBLISHED_OPENING = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
"""What stands between a prompt and a response there; the gate reads the first of its tokens."""

PUBLISHED_TEMPERATURE = 10.0
"""By what that class divides the logits of the gate where its config says nothing."""

# fmt: off
PUBLISHED_ATTRIBUTES = (
    "helpsteer-helpfulness", "helpsteer-correctness", "helpsteer-coherence", "helpsteer-complexity",
    "helpsteer-verbosity", "ultrafeedback-overall_score", "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness", "ultrafeedback-honesty", "ultrafeedback-helpfulness", "beavertails-is_safe",
    "prometheus-score", "argilla-overall_quality", "argilla-judge_lm", "code-complexity", "code-style",
    "code-explanation", "code-instruction-following", "code-readability",
)
# fmt: on
"""The attributes of the published model, in the order of its outputs: its config does not name them."""

_REGRESSION, _MATRIX, _SCALE = "regression_layer.weight", "reward_transform_matrix", "gating.logit_scale"
_LAYER = re.compile(r"gating\.(layers\.\d+\.(?:weight|bias))")
_PROMPTS = ("Why?", "Name a colour", "Count to 1", "Stop!", "Say 'yes'", "a")


@dataclass(frozen=True, slots=True)
class PublishedGate:
    """What lies on the backbone of a checkpoint in the published layout.

    ``regression`` is ``[attribute, feature]``, in at least float32.
    """

    attributes: tuple[str, ...]
    regression: Tensor
    gate: Gate


def with_gate(model: RewardModel, gate: Gate) -> RewardModel:
    """Return a model of attributes with a gate on it, whose reward is ``gate.reward`` of its attributes.

    The gate reads the hidden state at the end of the prompt: of the tokens that the chat template writes right before
    every response, the first. ``attribute_weights`` of the recipe are no longer used, and are left out. The network is
    changed in place.

    Raises:
        ModelError: when the model has no head of its own for attributes, has adapters, or its template writes nothing
            before a response; when the gate is for other attributes or hidden states.
    """
    recipe, core = model.recipe, model.core
    if recipe.head != "attributes" or recipe.read_out != "last_token" or isinstance(model.network, PeftModel):
        raise ModelError(
            f"a gate needs a decoder with a head for attributes and no adapters, not {recipe.architecture} with a head "
            f"of kind {recipe.head}"
        )
    if gate.num_attributes != len(recipe.attributes):
        raise ModelError(f"the gate weighs {gate.num_attributes} attributes; the model has {len(recipe.attributes)}")
    attach_gate(core, gate)
    rule = GateRule(opening=turn_opening(recipe, model.tokenizer), temperature=gate.temperature)
    changes = {"head": "gated", "gate": rule, "attribute_weights": ()}
    return RewardModel(model.network, model.tokenizer, recipe.model_copy(update=changes), layout=model.layout)


def attach_gate(core: PreTrainedModel, gate: Gate) -> None:
    """Put the gate on the network, on the device of its head and in its precision, in at least float32.

    Raises:
        ModelError: when it reads hidden states of another width.
    """
    head = next(core.get_submodule("score").parameters())
    if gate.sizes[0] != head.shape[1]:
        raise ModelError(f"the gate reads {gate.sizes[0]} features; the hidden states have {head.shape[1]}")
    core.add_module(GATE, gate.to(head.device, torch.promote_types(head.dtype, torch.float32)))


def restore_gate(core: PreTrainedModel, source: str, rule: GateRule) -> None:
    """Put the gate that plaudit saved in ``source`` on the network.

    Raises:
        CheckpointError: when it is not there whole.
    """
    prefix = f"{GATE}."
    saved = tensors_outside(source, f"{core.base_model_prefix}.")
    own = {name.removeprefix(prefix): tensor for name, tensor in saved.items() if name.startswith(prefix)}
    try:
        attach_gate(core, Gate.from_tensors(own, temperature=rule.temperature))
    except ModelError as error:
        raise CheckpointError(f"{source}: {error}; its recipe says that it has a gate") from None


def turn_opening(recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that stand right before a response, whatever the prompt.

    Raises:
        ModelError: when the template writes none there.
    """
    encoder = recipe.conversation_encoder(tokenizer)
    groups = [Group(conversation(text), ("Response",), id=text) for text in _PROMPTS]
    found = list(encoder.encode(list(enumerate(groups)), EncodingReport()))
    if any(isinstance(each, LeftOut) for each in found):
        raise ModelError("short conversations cannot be encoded; raise max_length")
    prompts = [
        each.tree.sequence(0)[: each.response_start[0]].tolist() for each in found if not isinstance(each, LeftOut)
    ]
    shared: list[int] = []
    for tokens in zip(*(reversed(prompt) for prompt in prompts), strict=False):
        if len(set(tokens)) > 1:
            break
        shared.append(tokens[0])
    if not shared:
        raise ModelError("the chat template writes nothing between prompt and response by which a gate could find it")
    return tuple(reversed(shared))


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
