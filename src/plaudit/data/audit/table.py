"""One pass over the groups: what the checks need, as arrays, with no group as a Python object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from plaudit.data.audit.duplicates import numbered
from plaudit.data.audit.features import FORMAT, NO_CONTENT, STYLE, flags
from plaudit.data.audit.findings import NUM_EXAMPLES, Example
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.normalised import (
    Int64Array,
    UInt64Array,
    batches,
    column,
    compute,
    normalised,
    offsets_of,
    prompt_texts,
    text_hashes,
    words_of,
)
from plaudit.records import Interval
from plaudit.statistics.clustered import share_interval
from plaudit.statistics.intervals import wilson_interval

_ROWS = 2000
"""Groups read at once: fewer than elsewhere, as the responses of a group can be many and long."""
MAX_SOURCES = 30
"""Sources whose rates are given apart; the smaller ones are in the whole only."""


@final
@dataclass(frozen=True, slots=True)
class Responses:
    """What is known of each response, one group after the other."""

    group: Int64Array
    """[response] position of its group."""
    text: UInt64Array
    """[response] hash of its text."""
    normal: UInt64Array
    """[response] hash of its normalised text."""
    characters: Int64Array
    """[response] length."""
    style: npt.NDArray[np.bool_]
    """[response, mark] marks of ``STYLE``."""
    format: npt.NDArray[np.bool_]
    """[response, mark] marks of ``FORMAT``."""
    first_word: UInt64Array
    """[response] hash of its first normalised word."""
    last_character: UInt64Array
    """[response] hash of its last character."""
    is_empty: npt.NDArray[np.bool_]
    """[response] whether it has no letter and no digit."""


@final
@dataclass(frozen=True, slots=True)
class Pairs:
    """Every preference with a winner: the response that the label says is better, and the other."""

    group: Int64Array
    """[pair] position of its group."""
    chosen: Int64Array
    """[pair] position in ``Responses``."""
    rejected: Int64Array
    """[pair] position in ``Responses``."""

    def __len__(self) -> int:
        return len(self.group)


@final
@dataclass(frozen=True)
class AuditTable:
    """A set of groups as arrays."""

    groups: GroupSet
    responses: Responses
    pairs: Pairs
    ties: int
    """Preferences of probability ½."""
    prompt_characters: Int64Array
    """[group] length of the prompt's turns."""
    source: Int64Array
    """[group] number of its source."""
    sources: tuple[str, ...]
    """Names of the sources, by number."""

    @classmethod
    def of(cls, groups: GroupSet) -> AuditTable:
        """Return the table of ``groups``, read a batch at a time."""
        reader = _Reader()
        for start, table in batches(groups, ["source", "prompt", "responses", "preferences"], rows=_ROWS):
            reader.add(start, table)
        return reader.table(groups)

    @cached_property
    def prompts(self) -> Int64Array:
        """Return [group] the number of its prompt: what the intervals take for a cluster."""
        return numbered(self.groups.prompt_hashes())

    @cached_property
    def clusters(self) -> Int64Array:
        """Return [pair] the number of its prompt."""
        return self.prompts[self.pairs.group]

    @cached_property
    def shown_sources(self) -> dict[str, int]:
        """Return the numbers of the largest sources by name; none where there is only one."""
        if len(self.sources) < 2:
            return {}
        sizes = np.bincount(self.source, minlength=len(self.sources))
        order = np.argsort(-sizes, kind="stable")[:MAX_SOURCES]
        return {self.sources[number]: number for number in order.tolist()}

    def pair_rate(self, values: npt.NDArray[np.float64]) -> tuple[Interval, dict[str, Interval]]:
        """Return the mean of [pair] values with its interval over prompts, and the same by source."""
        return self._rate(values, self.pairs.group)

    def group_rate(self, values: npt.NDArray[Any]) -> tuple[Interval, dict[str, Interval]]:
        """Return the mean of [group] values with its interval over prompts, and the same by source."""
        return self._rate(np.asarray(values, np.float64), np.arange(len(self.groups)))

    def counted_rate(self, values: npt.NDArray[np.bool_]) -> tuple[Interval, dict[str, Interval]]:
        """Return the share of [group] values with Wilson's interval over groups, and the same by source.

        For what a prompt has only where it comes more than once, as copies of a group: prompts are no sample of it.
        """
        by_source = {}
        for name, number in self.shown_sources.items():
            of_source = values[self.source == number]
            found = wilson_interval(int(of_source.sum()), len(of_source))
            if found is not None:
                by_source[name] = found
        return wilson_interval(int(values.sum()), len(values)) or nothing_seen(), by_source

    def response_rate(self, values: npt.NDArray[Any]) -> tuple[Interval, dict[str, Interval]]:
        """Return the mean of [response] values with its interval over prompts, and the same by source."""
        return self._rate(np.asarray(values, np.float64), self.responses.group)

    def examples(self, rows: npt.NDArray[Any], *, note: str = "", others: npt.NDArray[Any] | None = None) -> Any:
        """Return the first groups of ``rows`` as examples; ``others`` are groups that each belongs with."""
        kept = np.asarray(rows, np.int64)[:NUM_EXAMPLES]
        names = self.ids(kept)
        places = [""] * len(kept) if others is None else self.ids(np.asarray(others, np.int64)[:NUM_EXAMPLES])
        return tuple(
            Example(row=row, id=name, place=place, note=note)
            for row, name, place in zip(kept.tolist(), names, places, strict=True)
        )

    def ids(self, rows: Int64Array) -> list[str]:
        """Return the ids of the groups at ``rows``."""
        if not len(rows):
            return []
        _, table = next(batches(self.groups.select(rows), ["id"]))
        return column(table, "id").to_pylist()

    def _rate(self, values: npt.NDArray[np.float64], group: Int64Array) -> tuple[Interval, dict[str, Interval]]:
        prompts = self.prompts[group]
        by_source = {}
        source = self.source[group]
        for name, number in self.shown_sources.items():
            is_of = source == number
            found = share_interval(values[is_of], prompts[is_of])
            if found is not None:
                by_source[name] = found
        return share_interval(values, prompts) or nothing_seen(), by_source


def nothing_seen() -> Interval:
    """Return the interval of a share of no items: anything."""
    return Interval(value=0.0, low=0.0, high=1.0, method="none: there are no items", n=0)


class _Reader:
    """Collects the arrays of the batches."""

    def __init__(self) -> None:
        self.responses: dict[str, list[npt.NDArray[Any]]] = {}
        self.pairs: list[tuple[Int64Array, Int64Array, Int64Array]] = []
        self.prompts: list[Int64Array] = []
        self.source: list[Int64Array] = []
        self.sources: dict[str, int] = {}
        self.ties = 0
        self.num_responses = 0

    def add(self, start: int, table: pa.Table) -> None:
        """Add one batch whose first group is number ``start``."""
        lists = column(table, "responses")
        offsets = offsets_of(lists.value_lengths())
        self._add_pairs(column(table, "preferences"), start, offsets[:-1] + self.num_responses)
        self.num_responses += int(offsets[-1])
        groups = np.repeat(np.arange(start, start + len(lists)), np.diff(offsets))
        for name, values in _response_arrays(lists.flatten()).items():
            self.responses.setdefault(name, []).append(values)
        self.responses.setdefault("group", []).append(groups)
        self.prompts.append(_lengths(prompt_texts(column(table, "prompt"))))
        names = column(table, "source").dictionary_encode()
        codes = np.array(
            [self.sources.setdefault(name, len(self.sources)) for name in names.dictionary.to_pylist()], np.int64
        )
        self.source.append(codes[names.indices.to_numpy(zero_copy_only=False)])

    def _add_pairs(self, preferences: pa.Array, start: int, first: Int64Array) -> None:
        entries = preferences.flatten()
        group = np.repeat(np.arange(len(preferences)), np.diff(offsets_of(preferences.value_lengths())))
        sides = [entries.field(name).to_numpy(zero_copy_only=False).astype(np.int64) for name in ("chosen", "rejected")]
        probability = compute.fill_null(entries.field("probability"), 1.0).to_numpy(zero_copy_only=False)
        chosen, rejected = (first[group] + side for side in sides)
        is_swapped, has_winner = probability < 0.5, probability != 0.5
        chosen, rejected = np.where(is_swapped, rejected, chosen), np.where(is_swapped, chosen, rejected)
        self.ties += int((~has_winner).sum())
        self.pairs.append((group[has_winner] + start, chosen[has_winner], rejected[has_winner]))

    def table(self, groups: GroupSet) -> AuditTable:
        """Return everything that was added."""
        if not self.prompts:
            self.add(0, GroupSet.from_groups([]).dataset.with_format("arrow")[:])
        arrays = {name: np.concatenate(parts) for name, parts in self.responses.items()}
        columns = [np.concatenate(parts) for parts in zip(*self.pairs, strict=True)]
        return AuditTable(
            groups=groups,
            responses=Responses(**arrays),
            pairs=Pairs(*columns),
            ties=self.ties,
            prompt_characters=np.concatenate(self.prompts),
            source=np.concatenate(self.source),
            sources=tuple(self.sources),
        )


def _response_arrays(texts: pa.Array) -> dict[str, npt.NDArray[Any]]:
    plain = normalised(texts)
    words = words_of(plain)
    last = compute.utf8_slice_codeunits(texts, -1).dictionary_encode()
    return {
        "text": text_hashes(texts),
        "normal": text_hashes(plain),
        "characters": _lengths(texts),
        "style": flags(texts, STYLE),
        "format": flags(texts, FORMAT),
        "first_word": words.hashes[words.offsets[:-1]],
        "last_character": text_hashes(last.dictionary)[last.indices.to_numpy(zero_copy_only=False)],
        "is_empty": flags(texts, {"": NO_CONTENT})[:, 0],
    }


def _lengths(texts: pa.Array) -> Int64Array:
    return compute.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
