"""A set of groups as arrays, read in one pass, and the patterns of style and format that a response shows."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, assert_never, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from plaudit.data.audit.duplicates import numbered
from plaudit.data.audit.findings import NUM_EXAMPLES, Example, Finding, fault
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
from plaudit.data.schema.turns import CONTROL_TOKEN
from plaudit.records import Interval
from plaudit.statistics.intervals import proportion_interval, wilson_interval

_PATTERNS = tomllib.loads(Path(__file__).with_name("patterns.toml").read_text(encoding="utf-8"))

STYLE: Mapping[str, str] = _PATTERNS["style"]
"""Patterns of style: an annotator may like them or not, though they say nothing of the content."""

CONTROL = "special token"

FORMAT: Mapping[str, str] = {**_PATTERNS["format"], CONTROL: CONTROL_TOKEN.pattern}
"""Patterns left by the way the two sides were written down: between fair sides there is no difference."""

NO_CONTENT = r"\A[^\pL\pN]*\z"
"""A response without a letter or digit."""


def flags(texts: pa.Array, patterns: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Return [text, pattern] whether each pattern is found in each text."""
    found = np.empty((len(texts), len(patterns)), bool)
    for position, pattern in enumerate(patterns.values()):
        matches = compute.match_substring_regex(texts, pattern)
        found[:, position] = matches.to_numpy(zero_copy_only=False)
    return found


_ROWS = 2000
"""Groups read at once: fewer than elsewhere, as the responses of a group can be many and long."""
MAX_SOURCES = 30
"""Sources whose rates are given apart; the smaller ones are in the whole only."""


@final
@dataclass(frozen=True, slots=True)
class Responses:
    """Hashes, lengths and patterns of each response, one group after the other."""

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
class DecidedPairs:
    """Every preference with a winner: the response that the label says is better, and the other."""

    group: Int64Array
    """[pair] position of its group."""
    chosen: Int64Array
    """[pair] position in ``Responses``."""
    rejected: Int64Array
    """[pair] position in ``Responses``."""

    def __len__(self) -> int:
        return len(self.group)


Items = Literal["pairs", "groups", "responses", "copies"]
"""Items that a rate is over; copies are groups, some of which repeat others."""


@final
@dataclass(frozen=True)
class AuditTable:
    """A set of groups as arrays."""

    groups: GroupSet
    responses: Responses
    pairs: DecidedPairs
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
        names: dict[str, int] = {}
        read: list[dict[str, npt.NDArray[Any]]] = []
        num_responses = 0
        columns = ["source", "prompt", "responses", "preferences"]
        empty = GroupSet.from_groups([]).dataset.with_format("arrow")[:]
        for start, table in batches(groups, columns, rows=_ROWS) if len(groups) else [(0, empty)]:
            read.append(_arrays(start, num_responses, table, names))
            num_responses += len(read[-1]["text"])
        arrays = {name: np.concatenate([each[name] for each in read]) for name in read[0]}
        return cls(
            groups=groups,
            responses=Responses(**{each.name: arrays[each.name] for each in fields(Responses)}),
            pairs=DecidedPairs(arrays["pair"], arrays["chosen"], arrays["rejected"]),
            ties=int(arrays["ties"].sum()),
            prompt_characters=arrays["prompt"],
            source=arrays["source"],
            sources=tuple(names),
        )

    @cached_property
    def prompts(self) -> Int64Array:
        """Return [group] the number of its prompt, the cluster of the intervals."""
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

    def groups_of(self, items: Items) -> Int64Array:
        """Return [item] the position of the group that each pair, group or response is of."""
        match items:
            case "pairs":
                return self.pairs.group
            case "responses":
                return self.responses.group
            case "groups" | "copies":
                return np.arange(len(self.groups))
            case _:
                assert_never(items)

    def rate(self, items: Items, values: npt.NDArray[Any]) -> tuple[Interval, dict[str, Interval]]:
        """Return the mean of [item] values with its interval over prompts, and the same by source.

        ``copies`` are groups whose value a prompt has only where it comes more than once: prompts are no sample of
        those, and the interval is Wilson's over groups.
        """
        groups, values = self.groups_of(items), np.asarray(values, np.float64)
        prompts, source = self.prompts[groups], self.source[groups]

        def interval(kept: npt.NDArray[np.bool_]) -> Interval | None:
            if items == "copies":
                return wilson_interval(int(values[kept].sum()), int(kept.sum()))
            return proportion_interval(values[kept], prompts[kept])

        by_source = {name: interval(source == number) for name, number in self.shown_sources.items()}
        whole = interval(np.ones(len(values), bool)) or nothing_seen()
        return whole, {name: found for name, found in by_source.items() if found is not None}

    def fault(self, check: str, name: str, items: Items, found: npt.NDArray[np.bool_], **words: Any) -> Finding:
        """Return the finding of the items that show something that should not be there at all; see ``fault``."""
        rate, by_source = self.rate(items, found)
        rows = self.groups_of(items)[found]
        shown = {"examples": self.examples(rows if items == "pairs" else np.unique(rows))} | words
        return fault(check, name, count=int(found.sum()), rate=rate, by_source=by_source, **shown)

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


def nothing_seen() -> Interval:
    """Return the interval of a share of no items: anything."""
    return Interval(value=0.0, low=0.0, high=1.0, method="none: there are no items", n=0)


def _arrays(start: int, num_responses: int, table: pa.Table, sources: dict[str, int]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of one batch, whose first group is number ``start``, after so many responses of others.

    Names of sources that were not met before get the next numbers in ``sources``.
    """
    lists = column(table, "responses")
    offsets = offsets_of(lists.value_lengths())
    names = column(table, "source").dictionary_encode()
    codes = np.array([sources.setdefault(name, len(sources)) for name in names.dictionary.to_pylist()], np.int64)
    return {
        "group": np.repeat(np.arange(start, start + len(lists)), np.diff(offsets)),
        "prompt": _lengths(prompt_texts(column(table, "prompt"))),
        "source": codes[names.indices.to_numpy(zero_copy_only=False)],
        **_response_arrays(lists.flatten()),
        **_pair_arrays(column(table, "preferences"), start, offsets[:-1] + num_responses),
    }


def _pair_arrays(preferences: pa.Array, start: int, first: Int64Array) -> dict[str, npt.NDArray[Any]]:
    """Return the decided pairs of a batch; ``first[group]`` is the number of the group's first response."""
    entries = preferences.flatten()
    group = np.repeat(np.arange(len(preferences)), np.diff(offsets_of(preferences.value_lengths())))
    sides = [entries.field(name).to_numpy(zero_copy_only=False).astype(np.int64) for name in ("chosen", "rejected")]
    probability = compute.fill_null(entries.field("probability"), 1.0).to_numpy(zero_copy_only=False)
    chosen, rejected = (first[group] + side for side in sides)
    is_swapped, has_winner = probability < 0.5, probability != 0.5
    return {
        "pair": group[has_winner] + start,
        "chosen": np.where(is_swapped, rejected, chosen)[has_winner],
        "rejected": np.where(is_swapped, chosen, rejected)[has_winner],
        "ties": ~has_winner,
    }


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
        "first_word": np.where(
            words.counts > 0, np.append(words.hashes, np.uint64(0))[words.offsets[:-1]], np.uint64(0)
        ),
        "last_character": text_hashes(last.dictionary)[last.indices.to_numpy(zero_copy_only=False)],
        "is_empty": flags(texts, {"": NO_CONTENT})[:, 0],
    }


def _lengths(texts: pa.Array) -> Int64Array:
    return compute.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
