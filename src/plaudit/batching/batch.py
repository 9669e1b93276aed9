"""Batches of token groups as tensors: three layouts behind one type that never shows padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from typing_extensions import override

from plaudit.batching.prefix_tree import PrefixTree, build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.objectives.objective import BatchLabels, OnDevice, PairLabels

Layout = Literal["shared_prefix", "packed", "padded"]
LAYOUTS: tuple[Layout, ...] = ("shared_prefix", "packed", "padded")


@dataclass(frozen=True, slots=True)
class Forest(OnDevice):
    """The prefix trees of a batch, side by side in one row of tokens.

    Segment s covers ``[start, stop)`` and its descendants ``[stop, subtree_end)`` for ``(start, stop, subtree_end)``
    of ``segments[s]``; its first token stands at position ``first_position[s]``. ``subtree_end[t]`` of a token is that
    of its segment: token q sees token t exactly when ``t <= q < subtree_end[t]``. ``block_masks`` keeps the masks that
    a CUDA kernel made for this batch, so that its layers share them; ``callers`` the attention modules, by ``id``, that
    were called with this forest, each with its sliding window. Where ``read_rows`` is given, ascending, only these rows
    of the last hidden states are read, and the last layer may leave out the others.
    """

    segments: tuple[tuple[int, int, int], ...]
    first_position: tuple[int, ...]
    parent: tuple[int, ...]
    subtree_end: Int[Tensor, " token"]
    position_ids: Int[Tensor, " token"]
    block_masks: dict[tuple[int | None, int], Any] = field(default_factory=dict, repr=False, compare=False)
    callers: dict[int, int | None] = field(default_factory=dict, repr=False, compare=False)
    read_rows: Int[Tensor, " row"] | None = field(default=None, repr=False, compare=False)

    def reading(self, rows: Int[Tensor, " row"]) -> Forest:
        """Return the same forest, of which only the last hidden states at ``rows`` are read."""
        return replace(self, read_rows=torch.unique(rows))

    @override
    def to(self, device: torch.device) -> Forest:
        """Return the forest with its tensors on ``device``, without the masks cached for the old one."""
        return OnDevice.to(replace(self, block_masks={}, callers={}), device)


@dataclass(frozen=True, slots=True)
class TokenBatch(OnDevice):
    """Groups as tensors, in any layout.

    ``input_ids`` and ``position_ids`` are ``[1, token]`` for the layouts without padding and ``[row, position]`` for
    the padded one. ``response_end[response]`` is the position of each response's last token in the *flattened* rows,
    whatever the layout. Responses stand in the order of the groups, and in a group in the order of the data; so do
    ``labels``. ``step_end[step]`` is the last position of a reasoning step. In a batch built for tokens
    ``token_at[token]`` is the position of each token of the responses, and ``token_before[token]`` that of the token
    from which it is predicted; a token that responses share stands there once for each. ``num_tokens`` is the number of
    positions that are computed, padding included.
    """

    layout: Layout
    input_ids: Int[Tensor, "row position"]
    position_ids: Int[Tensor, "row position"]
    attention_mask: Int[Tensor, "row position"] | None
    forest: Forest | None
    response_end: Int[Tensor, " response"]
    step_end: Int[Tensor, " step"]
    token_at: Int[Tensor, " token"]
    token_before: Int[Tensor, " token"]
    labels: BatchLabels
    group_index: tuple[int, ...]

    @property
    def pairs(self) -> PairLabels:
        """Return the preferences of the batch."""
        return self.labels.pairs

    @property
    def num_tokens(self) -> int:
        """Return the number of positions that are computed, padding included."""
        return self.input_ids.numel()

    @property
    def num_responses(self) -> int:
        """Return the number of responses."""
        return self.response_end.shape[0]


def build_batch(
    groups: Sequence[TokenGroup],
    *,
    layout: Layout,
    pad_id: int,
    padding_side: Literal["left", "right"] = "right",
    attributes: Sequence[str] = (),
    tokens: bool = False,
) -> TokenBatch:
    """Return ``groups`` as one batch in ``layout``, on the CPU.

    ``attributes`` names the columns of the ratings; ``tokens`` also lists the tokens of every response, for objectives
    that look at each of them.

    Raises:
        ValueError: when there is no group.
    """
    if not groups:
        raise ValueError("a batch needs at least one group")
    labels = batch_labels(groups, attributes=attributes, tokens=tokens)
    match layout:
        case "shared_prefix":
            return _tree_batch(groups, [group.tree for group in groups], layout, labels, tokens=tokens)
        case "packed":
            return _tree_batch(groups, [_separate(group.tree) for group in groups], layout, labels, tokens=tokens)
        case "padded":
            return _padded_batch(groups, labels, pad_id=pad_id, padding_side=padding_side, tokens=tokens)
        case _:
            assert_never(layout)


def _separate(tree: PrefixTree) -> PrefixTree:
    """Return the same sequences without sharing."""
    return build_prefix_tree([tree.sequence(k) for k in range(tree.num_sequences)], max_depth=1)


def _tree_batch(
    groups: Sequence[TokenGroup], trees: Sequence[PrefixTree], layout: Layout, labels: BatchLabels, *, tokens: bool
) -> TokenBatch:
    segments: list[tuple[int, int, int]] = []
    parents: list[int] = []
    firsts: list[int] = []
    positions: list[np.ndarray] = []
    subtree_ends: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    step_ends: list[int] = []
    token_at: list[np.ndarray] = []
    token_before: list[np.ndarray] = []
    offset = 0
    for group, tree in zip(groups, trees, strict=True):
        lengths = np.diff(tree.start)
        first, last = tree.position_starts(), tree.subtree_ends()
        positions.append(np.arange(tree.num_tokens) + np.repeat(first - tree.start[:-1], lengths))
        subtree_ends.append(np.repeat(last, lengths) + offset)
        ends.append(tree.end + offset)
        step_ends.extend(
            int(tree.path(response)[position]) + offset
            for response, position in zip(group.step_response.tolist(), group.step_position.tolist(), strict=True)
        )
        if tokens:
            for response, (start, stop) in enumerate(zip(*response_span(group), strict=True)):
                path = tree.path(response) + offset
                token_at.append(path[start:stop])
                token_before.append(path[np.maximum(np.arange(start, stop) - 1, 0)])
        base = len(parents)
        parents.extend(parent + base if parent >= 0 else -1 for parent in tree.parent.tolist())
        firsts.extend(first.tolist())
        begin = (tree.start + offset).tolist()
        segments.extend(zip(begin[:-1], begin[1:], (last + offset).tolist(), strict=True))
        offset += tree.num_tokens
    position_ids = torch.from_numpy(np.concatenate(positions).astype(np.int64))
    ids = np.concatenate([tree.ids for tree in trees]).astype(np.int64)
    forest = Forest(
        segments=tuple(segments),
        first_position=tuple(firsts),
        parent=tuple(parents),
        subtree_end=torch.from_numpy(np.concatenate(subtree_ends).astype(np.int32)),
        position_ids=position_ids,
    )
    return TokenBatch(
        layout=layout,
        input_ids=torch.from_numpy(ids)[None],
        position_ids=position_ids[None],
        attention_mask=None,
        forest=forest,
        response_end=torch.from_numpy(np.concatenate(ends).astype(np.int64)),
        step_end=torch.tensor(step_ends, dtype=torch.int64),
        token_at=_positions(token_at),
        token_before=_positions(token_before),
        labels=labels,
        group_index=tuple(group.index for group in groups),
    )


def _positions(pieces: Sequence[np.ndarray]) -> Int[Tensor, " token"]:
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=np.int64), *pieces]).astype(np.int64))


def _padded_batch(
    groups: Sequence[TokenGroup],
    labels: BatchLabels,
    *,
    pad_id: int,
    padding_side: Literal["left", "right"],
    tokens: bool,
) -> TokenBatch:
    sequences = [group.tree.sequence(k) for group in groups for k in range(group.num_responses)]
    width = max(len(sequence) for sequence in sequences)
    ids = np.full((len(sequences), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(sequences), width), dtype=np.int64)
    positions = np.zeros((len(sequences), width), dtype=np.int64)
    first = np.zeros(len(sequences), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        begin = 0 if padding_side == "right" else width - len(sequence)
        stop = begin + len(sequence)
        ids[row, begin:stop] = sequence
        mask[row, begin:stop] = 1
        positions[row, begin:stop] = np.arange(len(sequence))
        first[row] = row * width + begin
    lengths = np.asarray([len(sequence) for sequence in sequences], dtype=np.int64)
    spans = [span for group in groups for span in zip(*response_span(group), strict=True)] if tokens else []
    at = [np.arange(*span) for span in spans]
    step_positions = np.concatenate([group.step_position for group in groups]).astype(np.int64)
    return TokenBatch(
        layout="padded",
        input_ids=torch.from_numpy(ids),
        position_ids=torch.from_numpy(positions),
        attention_mask=torch.from_numpy(mask),
        forest=None,
        response_end=torch.from_numpy(first + lengths - 1),
        step_end=torch.from_numpy(first)[labels.step_response] + torch.from_numpy(step_positions),
        token_at=_positions([begin + each for begin, each in zip(first, at, strict=False)]),
        token_before=_positions([begin + np.maximum(each - 1, 0) for begin, each in zip(first, at, strict=False)]),
        labels=labels,
        group_index=tuple(group.index for group in groups),
    )


def batch_labels(groups: Sequence[TokenGroup], *, attributes: Sequence[str], tokens: bool) -> BatchLabels:
    """Return the labels of the responses of ``groups``, in their order.

    ``attributes`` names the columns of the ratings; ``tokens`` says whether the response tokens are listed.
    """
    counts = np.asarray([group.num_responses for group in groups])
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    num_steps = np.asarray([len(group.step_label) for group in groups])
    spans = [response_span(group) for group in groups]
    lengths = np.concatenate([stop - start for start, stop in spans]).astype(np.int64)
    return BatchLabels(
        pairs=_pair_labels(groups, first),
        group=torch.from_numpy(np.repeat(np.arange(len(groups)), counts)),
        rank=_per_item([group.ranks.astype(np.int64) for group in groups], counts, absent=0.0),
        outcome=_per_item([group.outcomes.astype(np.float32) for group in groups], counts, absent=np.nan),
        ratings=_ratings(groups, attributes),
        length=torch.from_numpy(
            np.concatenate([group.lengths() - group.response_start for group in groups]).astype(np.int64)
        ),
        step_response=_shifted([group.step_response for group in groups], first),
        step_label=torch.from_numpy(np.concatenate([group.step_label for group in groups]).astype(np.float32)),
        step_repeats=_per_item([group.step_repeats for group in groups], num_steps, absent=0.0).bool(),
        token_response=torch.from_numpy(np.repeat(np.arange(counts.sum()), lengths if tokens else 0)),
    )


def response_span(group: TokenGroup) -> tuple[np.ndarray, np.ndarray]:
    """Return, per response, the positions of its first token and just past its last one.

    A token needs one before it to be predicted from, so a response that opens the text begins at its second token.
    """
    stop = group.lengths()
    return np.minimum(np.maximum(group.response_start, 1), stop - 1), stop


def _per_item(values: Sequence[np.ndarray], counts: np.ndarray, *, absent: float) -> Tensor:
    """Return the values of all groups side by side, ``counts`` of each; one without any is filled with ``absent``."""
    dtype = values[0].dtype
    filled = [
        value if len(value) else np.full(count, absent, dtype=dtype)
        for value, count in zip(values, counts.tolist(), strict=True)
    ]
    return torch.from_numpy(np.concatenate(filled))


def _ratings(groups: Sequence[TokenGroup], attributes: Sequence[str]) -> Tensor:
    """Return ``[response, attribute]``, NaN where a rating is missing."""
    tables = []
    for group in groups:
        table = np.full((group.num_responses, len(attributes)), np.nan, dtype=np.float32)
        for column, name in enumerate(attributes):
            if name in group.ratings:
                table[:, column] = group.ratings[name]
        tables.append(table)
    return torch.from_numpy(np.concatenate(tables))


def _pair_labels(groups: Sequence[TokenGroup], first: np.ndarray) -> PairLabels:
    num_pairs = np.asarray([len(group.pair_chosen) for group in groups])
    margin = np.concatenate([group.pair_margin for group in groups])
    probability = np.concatenate([group.pair_probability for group in groups])
    return PairLabels(
        chosen=_shifted([group.pair_chosen for group in groups], first),
        rejected=_shifted([group.pair_rejected for group in groups], first),
        margin=torch.from_numpy(np.nan_to_num(margin, nan=0.0).astype(np.float32)),
        probability=torch.from_numpy(np.nan_to_num(probability, nan=1.0).astype(np.float32)),
        weight=torch.from_numpy((1.0 / np.repeat(np.maximum(num_pairs, 1), num_pairs)).astype(np.float32)),
    )


def _shifted(indices: Sequence[np.ndarray], first: np.ndarray) -> Int[Tensor, " item"]:
    """Return response indices within groups as response indices within the batch."""
    shifted = [index + offset for index, offset in zip(indices, first, strict=True)]
    return torch.from_numpy(np.concatenate(shifted).astype(np.int64))
