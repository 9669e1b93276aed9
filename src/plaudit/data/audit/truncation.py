"""Pairs whose two sides become one when they are cut at a length, and the lengths in tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import pyarrow as pa

from plaudit.data.audit.findings import Finding, by_share, share_rule
from plaudit.data.audit.length import length_histogram
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.normalised import Int64Array, batches, column, offsets_of, prompt_texts
from plaudit.errors import ConfigError, DataError

Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Turns texts into token ids, without special tokens."""

MANY = 0.01
"""Share of pairs that are one after cutting from which it is an alarm."""
_ROWS = 1000


@final
@dataclass(frozen=True, slots=True)
class Cut:
    """What is cut, and where."""

    max_length: int | None
    """Tokens (characters without a tokenizer) of prompt and response together that are kept, from the start."""
    tokenize: Tokenize | None = None
    """The tokenizer; None counts characters."""
    tokenizer: str = ""
    """Its name, for the report."""

    def __post_init__(self) -> None:
        """Check the length."""
        if self.max_length is not None and self.max_length < 1:
            raise ConfigError(f"max_length is {self.max_length}; it must be at least 1")

    @property
    def unit(self) -> str:
        """Return what lengths are counted in."""
        return "characters" if self.tokenize is None else f"tokens of {self.tokenizer or 'the tokenizer'}"


@final
@dataclass(frozen=True, slots=True)
class CutLengths:
    """Lengths in the unit of a cut, and where the responses of a pair first differ."""

    prompt: Int64Array
    """[group]."""
    response: Int64Array
    """[response]."""
    differ: Int64Array
    """[pair] units that the two sides have in common from the start of the response; the whole of a side that the
    other one goes on from."""


def cut_lengths(table: AuditTable, cut: Cut) -> CutLengths:
    """Return the lengths of all prompts and responses in the unit of ``cut``, and the common starts of all pairs.

    Prompt and response are tokenised apart: a token that would span their border counts as two.

    Raises:
        DataError: when the tokenizer gives another number of texts than it was given.
    """
    prompts, responses, shared = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    order = np.argsort(table.pairs.group, kind="stable")
    done = first_response = 0
    sorted_groups = table.pairs.group[order]
    for start, batch in batches(table.groups, ["prompt", "responses"], rows=_ROWS):
        lists = column(batch, "responses")
        texts = _units(lists.flatten(), cut)
        prompts.append(np.array([len(units) for units in _units(prompt_texts(column(batch, "prompt")), cut)], np.int64))
        responses.append(np.array([len(units) for units in texts], np.int64))
        stop = int(np.searchsorted(sorted_groups, start + len(lists)))
        for pair in order[done:stop].tolist():
            sides = [texts[int(each[pair]) - first_response] for each in (table.pairs.chosen, table.pairs.rejected)]
            shared.append(np.array([common_start(*sides)], np.int64))
        done, first_response = stop, first_response + int(offsets_of(lists.value_lengths())[-1])
    differ = np.zeros(len(order), np.int64)
    differ[order] = np.concatenate(shared)
    return CutLengths(np.concatenate(prompts), np.concatenate(responses), differ)


def common_start(first: Sequence[int] | str, second: Sequence[int] | str) -> int:
    """Return how many units two sequences have in common from their start, by halving the first of them."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def identical_after_cut(table: AuditTable, lengths: CutLengths, cut: Cut) -> Finding | None:
    """Return the finding of pairs whose sides are one once prompt and response are cut; None where there is no limit.

    What is kept is the start of the conversation, ``max_length`` units of it: the way of trainers that cut from the
    right. Sides that were equal before count, too.
    """
    if cut.max_length is None or not len(table.pairs):
        return None
    room = cut.max_length - lengths.prompt[table.pairs.group]
    sides = (lengths.response[table.pairs.chosen], lengths.response[table.pairs.rejected])
    is_whole = (lengths.differ == sides[0]) & (lengths.differ == sides[1])
    is_one = is_whole | (lengths.differ >= room)
    rate, by_source = table.pair_rate(is_one.astype(np.float64))
    over, _ = table.pair_rate((np.maximum(*sides) > room).astype(np.float64))
    count = int(is_one.sum())
    return Finding(
        check="truncation",
        name="identical after truncation",
        severity=by_share(count, rate, alarm=MANY),
        summary=(
            f"{count:,} of {rate.n:,} pairs have two equal sides within the first {cut.max_length:,} {cut.unit} of "
            f"prompt and response; {over.value:.1%} are longer than that"
        ),
        rule=share_rule("pairs equal after prompt and response are cut from the right", MANY),
        count=count,
        rate=rate,
        figures={"longer than the limit": over},
        by_source=by_source,
        examples=table.examples(table.pairs.group[is_one]),
    )


def cut_histogram(table: AuditTable, lengths: CutLengths) -> list[dict[str, float]]:
    """Return the histogram of the lengths in the unit of a cut."""
    chosen, rejected = (lengths.response[side] for side in (table.pairs.chosen, table.pairs.rejected))
    return length_histogram(lengths.prompt, chosen, rejected)


def _units(texts: pa.Array, cut: Cut) -> Sequence[Sequence[int] | str]:
    values = texts.to_pylist()
    if cut.tokenize is None:
        return values
    tokens = cut.tokenize(values) if values else []
    if len(tokens) != len(values):
        raise DataError(f"the tokenizer gave {len(tokens)} lists of tokens for {len(values)} texts")
    return tokens
