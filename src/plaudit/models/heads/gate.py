"""The gated head of a multi-objective model: a gate reads the prompt and weighs the attributes of the response."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.batch import TokenBatch
from plaudit.batching.encode import EncodingReport, NotEncoded
from plaudit.batching.prefix_tree import Int32Array, shared_length
from plaudit.data.schema.group import Group, conversation
from plaudit.errors import CheckpointError, ModelError
from plaudit.models.backbone import tensors_outside
from plaudit.models.checkpoint.recipe import GateRule, ScoringRecipe
from plaudit.models.heads.head import AttributesHead, DecodedRewards, as_float64, linear_head
from plaudit.objectives.objective import BatchLabels, Rewards

if TYPE_CHECKING:
    from plaudit.models.reward_model import RewardModel

GATE = "reward_gate"
"""Name of the gate in a network and in its files."""

_LAYER = re.compile(r"layers\.(\d+)\.(weight|bias)")
_PROMPTS = ("Why?", "Name a colour", "Count to 1", "Stop!", "Say 'yes'", "a")


class Gate(nn.Module):
    r"""Weighs attributes by the prompt: :math:`g = \mathrm{softmax}(\mathrm{MLP}(h) / \tau)`, over the attributes.

    h is the hidden state at the end of the prompt; the layers of the MLP have ReLU between them. With the rewards r of
    the attributes, the matrix T that takes a bias (of verbosity, say) out of them, and the scale c, the reward of a
    response is :math:`c \sum_a g_a (r T)_a`.

    Source: Wang et al. (2024), ArmoRM, arXiv 2406.12845, section 3.2.
    """

    def __init__(
        self,
        layers: Sequence[tuple[Tensor, Tensor | None]],
        *,
        temperature: float,
        transform: Tensor | None = None,
        scale: float = 1.0,
    ) -> None:
        """Make a gate of A attributes from its tensors, which are copied in at least float32.

        ``layers`` are weights ``[output, input]`` and biases ``[output]``, the last with A outputs; ``transform`` is T,
        ``[A, A]``, by default the identity; ``temperature`` is τ and ``scale`` c.

        Raises:
            ModelError: when the shapes do not fit together, or the temperature is not above 0.
        """
        super().__init__()
        if not layers:
            raise ModelError("a gate needs at least one layer")
        if not temperature > 0:
            raise ModelError(f"the temperature of the gate is {temperature}; it must be above 0")
        self.layers = nn.ModuleList(_linear(place, *each) for place, each in enumerate(layers))
        sizes = [tuple(weight.shape) for weight, _ in layers]
        for place, ((outputs, _), (_, inputs)) in enumerate(pairwise(sizes)):
            if outputs != inputs:
                raise ModelError(f"layer {place} of the gate has {outputs} outputs, layer {place + 1} {inputs} inputs")
        count = sizes[-1][0]
        matrix = torch.eye(count) if transform is None else transform
        if matrix.shape != (count, count):
            raise ModelError(
                f"the gate weighs {count} attributes; its matrix has shape {list(matrix.shape)}, not {[count, count]}"
            )
        self.transform = nn.Parameter(_wide(matrix), requires_grad=False)
        self.scale = nn.Parameter(torch.tensor([scale], dtype=self.transform.dtype))
        self.temperature = temperature

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], *, temperature: float) -> Gate:
        """Return the gate of ``layers.N.weight``, ``layers.N.bias``, ``transform`` and ``scale``, as it is saved.

        Raises:
            ModelError: when one is missing, unknown, or of a shape that does not fit.
        """
        found = {name: _LAYER.fullmatch(name) for name in tensors}
        numbers = sorted({int(match[1]) for match in found.values() if match})
        wanted = [f"layers.{number}.weight" for number in range(len(numbers) or 1)] + ["transform", "scale"]
        missing = [name for name in wanted if name not in tensors]
        unknown = [name for name, match in found.items() if match is None and name not in wanted]
        if missing or unknown:
            raise ModelError(
                f"the gate lacks {', '.join(missing) or 'nothing'}"
                + (f", and {', '.join(unknown)} is no part of it" if unknown else "")
            )
        if tensors["scale"].numel() != 1:
            raise ModelError(f"the scale of the gate has {tensors['scale'].numel()} numbers; it is one")
        layers = [(tensors[f"layers.{n}.weight"], tensors.get(f"layers.{n}.bias")) for n in numbers]
        return cls(layers, temperature=temperature, transform=tensors["transform"], scale=tensors["scale"].item())

    @property
    def num_attributes(self) -> int:
        """Return the number of attributes A."""
        return self.transform.shape[0]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the width of the hidden state that is read, and the number of outputs of each layer."""
        weights = [each for name, each in self.layers.named_parameters() if name.endswith("weight")]
        return (weights[0].shape[1], *(weight.shape[0] for weight in weights))

    @override
    def forward(self, hidden: Float[Tensor, "prompt feature"]) -> Float[Tensor, "prompt attribute"]:
        """Return the weight of each attribute for each prompt: from 0, and 1 in sum."""
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
        return torch.softmax(self.layers[-1](hidden) / self.temperature, dim=-1)

    def reward(
        self, attributes: Float[Tensor, "response attribute"], weights: Float[Tensor, "response attribute"]
    ) -> Float[Tensor, " response"]:
        """Return the reward of each response, outside autocast: its attributes without the bias, weighed and scaled."""
        with torch.autocast(attributes.device.type, enabled=False):
            return self.scale * (weights * (attributes @ self.transform)).sum(dim=-1)


def _linear(place: int, weight: Tensor, bias: Tensor | None) -> nn.Linear:
    if weight.ndim != 2 or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = [list(each.shape) for each in (weight, bias) if each is not None]
        raise ModelError(f"layer {place} of the gate has the shapes {shapes}; it needs [output, input] and [output]")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.weight = nn.Parameter(_wide(weight))
    if bias is not None:
        layer.bias = nn.Parameter(_wide(bias))
    return layer


def _wide(values: Tensor) -> Tensor:
    """Return a copy in float64 where the values are, and else in float32."""
    return values.detach().to(torch.float64 if values.dtype == torch.float64 else torch.float32, copy=True)


def gate_rows(batch: TokenBatch, opening: Sequence[int]) -> tuple[Int[Tensor, " response"], Bool[Tensor, " response"]]:
    """Return, per response, the flattened position of the first token of the opening right before it, and if it is.

    The opening must stand directly before the response: one of an earlier turn, or one that a response writes out, is
    never taken for it. Where it does not stand there (it was cut away with the prompt), the position is that of the
    response's end, which means nothing. Responses that share their prompt in the batch share the position.
    """
    ids, positions = batch.input_ids.flatten(), batch.position_ids.flatten()
    before, last = _path(batch)
    here = torch.arange(ids.shape[0], device=ids.device)
    matches, place = torch.ones_like(here, dtype=torch.bool), here
    for step, token in enumerate(reversed(opening)):
        place = place if step == 0 else torch.where(place >= 0, before[place], place)
        matches &= (place >= 0) & (ids[place] == token)
    closes = here[matches]
    ends = batch.response_end
    if not len(closes):
        return ends, torch.zeros_like(ends, dtype=torch.bool)
    on_path = (closes <= ends[:, None]) & (ends[:, None] < last[closes])
    right_before = on_path & (positions[closes] == (positions[ends] - batch.labels.length)[:, None])
    found = right_before.any(dim=1)
    return torch.where(found, place[closes][right_before.int().argmax(dim=1)], ends), found


def _path(batch: TokenBatch) -> tuple[Int[Tensor, " token"], Int[Tensor, " token"]]:
    """Return, per flattened position, that of the token before it in its conversation (or −1), and its last reader + 1.

    A conversation that ends at e holds the token at t exactly when t ≤ e < the second number at t.
    """
    count, device = batch.num_tokens, batch.input_ids.device
    here = torch.arange(count, device=device)
    before = here - 1
    if batch.forest is not None:
        segments, parents = batch.forest.segments, batch.forest.parent
        starts = torch.tensor([start for start, _, _ in segments], device=device)
        links = [segments[parent][1] - 1 if parent >= 0 else -1 for parent in parents]
        before[starts] = torch.tensor(links, device=device)
        return before, batch.forest.subtree_end.long()
    assert batch.attention_mask is not None
    width = batch.input_ids.shape[1]
    held = batch.attention_mask.flatten().bool()
    first = batch.position_ids.flatten() == 0
    before = torch.where(first & held, -1, before)
    return before, torch.where(held, (here // width + 1) * width, -1)


@dataclass(frozen=True, kw_only=True)
class GatedHead(AttributesHead):
    """A head for attributes whose weights the prompt decides, by a gate that reads its end."""

    kind = "gated"
    gate: GateRule

    @override
    def rewards(self, model: RewardModel, batch: TokenBatch) -> Rewards:
        """Return the attributes at the ends of the responses, their gate weights, and the rewards made of both.

        The end of a prompt is worked out once for all responses that share it in the batch. Where the opening of the
        rule does not stand right before a response, its reward is not a number.
        """
        rows, found = gate_rows(batch, self.gate.opening)
        prompts, prompt_of = torch.unique(rows, return_inverse=True)
        hidden = model.features_at(batch, torch.cat([batch.response_end, prompts]))
        ends, at_prompts = hidden.split([batch.num_responses, len(prompts)])
        told = self.read(self.outputs(model, ends), batch, model)
        assert told.attributes is not None
        weights = linear_head(model.gate, at_prompts)[prompt_of].masked_fill(~found[:, None], torch.nan)
        return told._replace(response=model.gate.reward(told.attributes, weights), gate=weights)

    @override
    def decode(self, rewards: Rewards, labels: BatchLabels) -> DecodedRewards:
        """Return the rewards, the attributes, and the weights of the gate."""
        assert rewards.response is not None
        assert rewards.attributes is not None
        assert rewards.gate is not None
        return DecodedRewards(
            as_float64(rewards.response), as_float64(torch.cat([rewards.attributes, rewards.gate], dim=1))
        )

    @override
    def restore(self, core: PreTrainedModel, source: str) -> None:
        """Put the gate that plaudit saved in ``source`` on the network.

        Raises:
            CheckpointError: when it is not there whole.
        """
        prefix = f"{GATE}."
        saved = tensors_outside(source, f"{core.base_model_prefix}.")
        own = {name.removeprefix(prefix): tensor for name, tensor in saved.items() if name.startswith(prefix)}
        try:
            attach_gate(core, Gate.from_tensors(own, temperature=self.gate.temperature))
        except ModelError as error:
            raise CheckpointError(f"{source}: {error}; its recipe says that it has a gate") from None


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
    return type(model)(model.network, model.tokenizer, recipe.model_copy(update=changes), layout=model.layout)


def attach_gate(core: PreTrainedModel, gate: Gate) -> None:
    """Put the gate on the network, on the device of its head and in its precision, in at least float32.

    Raises:
        ModelError: when it reads hidden states of another width.
    """
    head = next(core.get_submodule("score").parameters())
    if gate.sizes[0] != head.shape[1]:
        raise ModelError(f"the gate reads {gate.sizes[0]} features; the hidden states have {head.shape[1]}")
    core.add_module(GATE, gate.to(head.device, torch.promote_types(head.dtype, torch.float32)))


def turn_opening(recipe: ScoringRecipe, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the tokens that stand right before a response, whatever the prompt.

    Raises:
        ModelError: when the template writes none there.
    """
    encoder = recipe.conversation_encoder(tokenizer)
    groups = [Group(conversation(text), ("Response",), id=text) for text in _PROMPTS]
    found = encoder.encode(list(enumerate(groups)), EncodingReport())
    tails: list[Int32Array] = []
    for each in found:
        if isinstance(each, NotEncoded):
            raise ModelError("short conversations cannot be encoded; raise max_length")
        tails.append(each.tree.sequence(0)[: each.response_start[0]][::-1])
    shared = shared_length(tails)
    if not shared:
        raise ModelError("the chat template writes nothing between prompt and response by which a gate could find it")
    return tuple(tails[0][:shared][::-1].tolist())
