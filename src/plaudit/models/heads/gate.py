"""The gate of a multi-objective model: what a prompt weighs each attribute by, and where in the prompt it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from typing_extensions import override

from plaudit.batching.batch import TokenBatch
from plaudit.errors import ModelError

GATE = "reward_gate"
"""Name of the gate in a network and in its files."""

_LAYER = re.compile(r"layers\.(\d+)\.(weight|bias)")


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
        """Return what each prompt weighs the attributes by: from 0, and 1 in sum."""
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

    A conversation that ends at e holds the token at t exactly when t ≤ e < the second figure at t.
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
