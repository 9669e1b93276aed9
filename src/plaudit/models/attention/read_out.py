"""The last layer works for the tokens that are read, and for no others.

Of the last layer's outputs only those at the read-out positions matter; the other tokens take part through their keys
and values alone. So its queries, its attention, its output projection and its feed-forward run on the rows that are
read: for a model of n layers up to 10/12 of one n-th of all multiplications are left out, and nothing changes.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from plaudit.batching.batch import Forest
from plaudit.models.attention.cpu import ScoreRule, in_blocks

FOREST_ARGUMENT = "plaudit_forest"
"""Keyword by which a model's forward is handed the forest of its batch."""

_PER_TOKEN = ("mlp", "feed_forward", "self_attn.q_proj", "self_attn.o_proj", "attention.dense", "self_attn.dense")
"""Parts of a decoder layer that treat each token alone, where a layer has them."""

_MARK = "plaudit_restriction"


class _RestrictedLayer:
    """Hooks of one layer: its per-token parts see only the rows that the forest of its attention names.

    The forest is taken from the attention's call, which opens each run of the layer and is repeated when the backward
    pass recomputes it.
    """

    def __init__(self, layer: nn.Module, attention: nn.Module) -> None:
        self.rows: Tensor | None = None
        self.tokens = 0
        attention.register_forward_pre_hook(self._begin, with_kwargs=True)
        for name in _PER_TOKEN:
            part = _part(layer, name)
            if part is not None:
                part.register_forward_pre_hook(self._select)
                part.register_forward_hook(self._scatter)

    def _begin(self, _attention: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        forest: Forest | None = kwargs.get(FOREST_ARGUMENT)
        self.rows = None if forest is None else forest.read_rows
        self.tokens = 0 if forest is None else forest.subtree_end.shape[0]

    def _select(self, _part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self.rows is None:
            return None
        return (args[0][:, self.rows], *args[1:])

    def _scatter(self, _part: nn.Module, _args: Any, output: Any) -> Any:
        if self.rows is None:
            return None
        if isinstance(output, tuple):
            return (_spread(output[0], self.rows, self.tokens, dim=1), *output[1:])
        return _spread(output, self.rows, self.tokens, dim=1)


def _part(layer: nn.Module, name: str) -> nn.Module | None:
    try:
        return layer.get_submodule(name)
    except AttributeError:
        return None


def _spread(values: Tensor, rows: Tensor, tokens: int, *, dim: int) -> Tensor:
    """Return ``values`` at ``rows`` of a tensor of zeros that has ``tokens`` along ``dim``."""
    shape = list(values.shape)
    shape[dim] = tokens
    return values.new_zeros(shape).index_copy(dim, rows, values)


def restrict_last_layer(core: PreTrainedModel) -> None:
    """Make the last layer of a decoder work only for ``Forest.read_rows`` of the batches that name them."""
    backbone = getattr(core, core.base_model_prefix, None)
    layers = getattr(backbone, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not len(layers) or hasattr(layers[-1], _MARK):
        return
    attention = _part(layers[-1], "self_attn") or _part(layers[-1], "attention")
    if attention is not None:
        setattr(layers[-1], _MARK, _RestrictedLayer(layers[-1], attention))


def reads_only_some(module: nn.Module, forest: Forest) -> bool:
    """Return whether this attention belongs to the last layer, where only some rows of its output are read."""
    if forest.read_rows is None:
        return False
    config = getattr(module, "config", None)
    index = getattr(module, "layer_idx", None)
    layers = getattr(config, "num_hidden_layers", None)
    return isinstance(layers, int) and isinstance(index, int) and index == layers - 1


def read_attention(query: Tensor, key: Tensor, value: Tensor, forest: Forest, rule: ScoreRule) -> Tensor:
    """Return softmax attention ``[1, head, token, feature]``, zero but for the rows that are read.

    Tree by tree: a row r sees the key at t exactly when ``t <= r < subtree_end[t]``, within the window.
    """
    rows = forest.read_rows
    assert rows is not None
    roots = [start for (start, _, _), parent in zip(forest.segments, forest.parent, strict=True) if parent < 0]
    ends = [*roots[1:], query.shape[2]]
    sizes = [end - start for start, end in zip(roots, ends, strict=True)]
    bounds = torch.tensor(ends, device=rows.device)
    counts = torch.bincount(torch.bucketize(rows, bounds, right=True), minlength=len(roots)).tolist()
    pieces = []
    for start, end, r, q, k, v in zip(
        roots,
        ends,
        rows.split(counts),
        query[:, :, rows].split(counts, dim=2),
        key.split(sizes, dim=2),
        value.split(sizes, dim=2),
        strict=True,
    ):
        pieces.append(in_blocks(q, k, v, partial(_sees, forest, start, end, rule.window), r, rule))
    return _spread(torch.cat(pieces, dim=2), rows, query.shape[2], dim=2)


def _sees(forest: Forest, start: int, end: int, window: int | None, rows: Tensor) -> Tensor:
    """Return ``[row, key]``: whether each of ``rows`` sees the keys ``start`` to ``end`` of its tree."""
    at = torch.arange(start, end, device=rows.device)
    seen = (at <= rows[:, None]) & (rows[:, None] < forest.subtree_end[start:end])
    if window is not None:
        seen &= forest.position_ids[rows][:, None] - forest.position_ids[start:end] < window
    return seen
