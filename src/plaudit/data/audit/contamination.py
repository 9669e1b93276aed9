"""Prompts of benchmarks inside training data: whole prompts that are equal, and word n-grams that are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from plaudit.data.reading.files import read_rows
from plaudit.data.reading.sources.fields import messages
from plaudit.data.schema.group import Message
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.normalised import (
    Int64Array,
    UInt64Array,
    Words,
    batches,
    column,
    last_turns,
    ngrams,
    normalised,
    prompt_texts,
    text_hashes,
    words_of,
)
from plaudit.errors import ConfigError, DataError

NGRAM_WORDS = 13
SHORTEST_CONTAINED = 5
"""A benchmark prompt of fewer words is looked for as a whole prompt or last turn only: ``who are you`` is anywhere."""


COMMON = 3
"""Different prompts from which a run of words that all of them hold says nothing of any: a fixed instruction."""

PROMPT_FIELDS = ("prompt", "question", "instruction", "problem", "input", "query", "conversation_input")
"""Fields of a benchmark's file that hold its prompt, the first that a row has."""


@final
@dataclass(frozen=True, slots=True)
class BenchmarkPrompt:
    """A prompt that must not be trained on."""

    benchmark: str
    """Name of the benchmark."""
    place: str
    """Place of the prompt in it: an id, or ``file:line``."""
    text: str
    """The prompt; turns are joined by a line break."""


def read_benchmark_prompts(path: Path) -> list[BenchmarkPrompt]:
    """Return the prompts of a benchmark's file: the first field of ``PROMPT_FIELDS`` that each row has.

    The file is JSON Lines, JSON, CSV or Parquet (see ``read_rows``). A field holds text, or a list of messages, of
    which those of the assistant are left out. The benchmark has the name of the file.

    Raises:
        DataError: naming the file and line, where a row has none of the fields or an empty one.
    """
    prompts = []
    for number, row in read_rows(path):
        place = f"{path}:{number}"
        name = next((field for field in PROMPT_FIELDS if row.get(field) is not None), None)
        if name is None:
            fields = ", ".join(map(str, row)) or "no fields"
            raise DataError(f"{place}: there is no prompt; the row has: {fields}; allowed: {', '.join(PROMPT_FIELDS)}")
        value = row[name]
        try:
            text = value if isinstance(value, str) else _spoken(messages(value, name))
        except DataError as error:
            raise DataError(f"{place}: {error}") from None
        if not text.strip():
            raise DataError(f"{place}: {name} is empty")
        prompts.append(BenchmarkPrompt(path.name.split(".")[0], place, text))
    return prompts


def _spoken(turns: Sequence[Message]) -> str:
    return "\n".join(turn.content for turn in turns if turn.role != "assistant")


@final
@dataclass(frozen=True, slots=True)
class Match:
    """A group whose prompt holds a benchmark's prompt, with both places."""

    row: int
    """Position of the group in the set."""
    id: str
    """Id of the group."""
    source: str
    """Source of the group."""
    benchmark: str
    """Name of the benchmark."""
    place: str
    """Place of the prompt in it."""
    kind: Literal["equal", "contained"]
    """``equal``: the whole prompt or its last turn, after normalisation. ``contained``: its n-grams."""
    share: float
    """Share of the n-grams of the benchmark's prompt that the group's prompt holds; 1 for an equal one."""


@final
@dataclass(frozen=True, slots=True)
class Contamination:
    """Result of a search: every match at or above the share, and the number below it."""

    matches: tuple[Match, ...]
    """In the order of the groups."""
    groups: int
    """Groups that were searched."""
    prompts: int
    """Prompts that were looked for."""
    words: int
    """Words of an n-gram; a shorter prompt is one n-gram."""
    min_share: float
    """Smallest share of a prompt's n-grams that counts as a match."""
    below: int
    """Groups without a match that share an n-gram with a prompt."""

    @property
    def rows(self) -> Int64Array:
        """Return the positions of the groups with a match, ascending, each once."""
        return np.unique(np.array([match.row for match in self.matches], dtype=np.int64))


def find_contamination(
    groups: GroupSet, prompts: Sequence[BenchmarkPrompt], *, words: int = NGRAM_WORDS, min_share: float = 0.5
) -> Contamination:
    """Return every group whose prompt equals a benchmark's prompt, or holds enough of its word n-grams.

    Texts are compared after normalisation (see ``normalised``). The share of a match is |n-grams of the benchmark's
    prompt that the group's prompt holds| ÷ |n-grams of the benchmark's prompt|, over different n-grams, without those
    that ``COMMON`` different prompts share. A prompt of
    fewer words than an n-gram is one n-gram of all its words; of fewer than ``SHORTEST_CONTAINED`` it must be the
    whole prompt, or the whole last turn. The groups are read a batch at a time.

    Raises:
        DataError: where there is no prompt, or one is empty.
        ConfigError: for n-grams of fewer than ``SHORTEST_CONTAINED`` words, or a share outside (0, 1].
    """
    if words < SHORTEST_CONTAINED:
        raise ConfigError(f"words is {words}; it must be at least {SHORTEST_CONTAINED}")
    if not 0.0 < min_share <= 1.0:
        raise ConfigError(f"min_share is {min_share}; it must lie above 0 and at most at 1")
    wanted = _Wanted.of(prompts, words)
    matches: list[Match] = []
    shared: set[int] = set()
    for start, table in batches(groups, ["id", "source", "prompt"]):
        found = wanted.in_batch(column(table, "prompt"))
        is_match = found.share >= min_share
        shared.update((start + found.rows).tolist())
        kept = np.flatnonzero(is_match)
        ids, sources = (column(table, name).take(pa.array(found.rows[kept])).to_pylist() for name in ("id", "source"))
        for position, identifier, source in zip(kept.tolist(), ids, sources, strict=True):
            prompt = prompts[int(found.prompts[position])]
            matches.append(
                Match(
                    row=start + int(found.rows[position]),
                    id=identifier,
                    source=source,
                    benchmark=prompt.benchmark,
                    place=prompt.place,
                    kind="equal" if found.equal[position] else "contained",
                    share=float(found.share[position]),
                )
            )
    below = len(shared - {match.row for match in matches})
    return Contamination(tuple(matches), len(groups), len(prompts), words, min_share, below)


@dataclass(frozen=True, slots=True)
class _Found:
    """(row of the batch, prompt) pairs that share something, in the order of the rows."""

    rows: Int64Array
    prompts: Int64Array
    share: np.ndarray
    equal: np.ndarray


@final
@dataclass(frozen=True, slots=True)
class _Index:
    """Hashes, sorted, and the prompt that each belongs to; a hash that several prompts have comes several times."""

    hashes: UInt64Array
    prompts: Int64Array

    @classmethod
    def of(cls, hashes: UInt64Array, prompts: Int64Array) -> _Index:
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], prompts[order])

    def hits(self, hashes: UInt64Array, rows: Int64Array) -> tuple[Int64Array, Int64Array, UInt64Array]:
        """Return (row, prompt, hash) of every entry of ``hashes`` that a prompt has."""
        first = np.searchsorted(self.hashes, hashes)
        near = np.minimum(first, len(self.hashes) - 1)
        hit = np.flatnonzero(self.hashes[near] == hashes) if len(self.hashes) else np.zeros(0, np.int64)
        counts = np.searchsorted(self.hashes, hashes[hit], side="right") - first[hit]
        entry = np.repeat(first[hit] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        return np.repeat(rows[hit], counts), self.prompts[entry], np.repeat(hashes[hit], counts)


@final
@dataclass(frozen=True, slots=True)
class _Wanted:
    """The prompts that are looked for: as wholes, and as n-grams by their number of words."""

    whole: _Index
    grams: dict[int, _Index]
    num_grams: Int64Array

    @classmethod
    def of(cls, prompts: Sequence[BenchmarkPrompt], words: int) -> _Wanted:
        if not prompts:
            raise DataError("there is nothing to look for: the list of benchmark prompts is empty")
        for prompt in prompts:
            if not prompt.text.strip():
                raise DataError(f"{prompt.benchmark}, {prompt.place}: the prompt is empty")
        texts = normalised(pa.array([prompt.text for prompt in prompts], pa.string()))
        split = words_of(texts)
        text = text_hashes(texts)
        everyone = np.arange(len(prompts))
        grams: dict[int, _Index] = {}
        num_grams = np.zeros(len(prompts), np.int64)
        for size in sorted(set(np.minimum(split.counts, words).tolist()) - set(range(SHORTEST_CONTAINED))):
            of_size = np.flatnonzero(np.minimum(split.counts, words) == size)
            made = ngrams(split, size, whole=False)
            owner = np.repeat(everyone, made.counts)
            is_own = np.isin(owner, of_size)
            hashes, owners = _distinct(made.hashes[is_own], owner[is_own])
            is_specific = ~_is_common(hashes, text[owners])
            hashes, owners = hashes[is_specific], owners[is_specific]
            grams[size] = _Index.of(hashes, owners)
            num_grams += np.bincount(owners, minlength=len(prompts))
        return cls(_Index.of(text, everyone), grams, num_grams)

    def in_batch(self, prompts: pa.Array) -> _Found:
        texts = normalised(prompt_texts(prompts))
        rows = np.arange(len(texts))
        pieces = [self.whole.hits(text_hashes(each), rows)[:2] for each in (texts, normalised(last_turns(prompts)))]
        equal = np.unique(np.concatenate([np.stack(piece, axis=1) for piece in pieces]), axis=0)
        split = words_of(texts)
        shared = [self._shared(split, size, index, rows) for size, index in self.grams.items()]
        return self._joined(equal, np.concatenate([np.zeros((0, 2), np.int64), *shared]))

    def _shared(self, split: Words, size: int, index: _Index, rows: Int64Array) -> Int64Array:
        """Return (row, prompt) once for every different n-gram that both hold."""
        made = ngrams(split, size, whole=False)
        row, prompt, hashes = index.hits(made.hashes, np.repeat(rows, made.counts))
        triples = np.stack([row.astype(np.uint64), prompt.astype(np.uint64), hashes], axis=1)
        return np.unique(triples, axis=0)[:, :2].astype(np.int64)

    def _joined(self, equal: Int64Array, shared: Int64Array) -> _Found:
        pairs, inverse = np.unique(np.concatenate([equal, shared]), axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        is_equal = np.bincount(inverse[: len(equal)], minlength=len(pairs)) > 0
        held = np.bincount(inverse[len(equal) :], minlength=len(pairs))
        share = np.where(is_equal, 1.0, held / np.maximum(self.num_grams[pairs[:, 1]], 1))
        return _Found(pairs[:, 0], pairs[:, 1], share, is_equal)


def _is_common(hashes: UInt64Array, texts: UInt64Array) -> npt.NDArray[np.bool_]:
    """Return [entry] whether ``COMMON`` different texts or more hold its n-gram: it is a fixed instruction."""
    pairs = np.unique(np.stack([hashes, texts], axis=1), axis=0)
    grams, counts = np.unique(pairs[:, 0], return_counts=True)
    return np.isin(hashes, grams[counts >= COMMON])


def _distinct(hashes: UInt64Array, owners: Int64Array) -> tuple[UInt64Array, Int64Array]:
    pairs = np.unique(np.stack([owners.astype(np.uint64), hashes], axis=1), axis=0)
    return pairs[:, 1], pairs[:, 0].astype(np.int64)
