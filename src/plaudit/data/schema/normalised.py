"""Texts made comparable, and hashes of their words and word n-grams, a whole Arrow array at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group_set import GroupSet

UInt64Array = npt.NDArray[np.uint64]
Int64Array = npt.NDArray[np.int64]

compute: Any = pyarrow.compute
"""Arrow's functions, which are made at import, so that no type checker knows them."""

BATCH_ROWS = 10_000

_PUNCTUATION = r"[\s.,;:!?\"'`´‘’“”„«»…()\[\]{}¿¡。，、！？；：（）「」]+"
_UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
_BASE = np.uint64(0x9E3779B97F4A7C15)


def batches(groups: GroupSet, columns: Sequence[str], *, rows: int = BATCH_ROWS) -> Iterator[tuple[int, pa.Table]]:
    """Yield ``(position of the first group, table)`` of consecutive groups, with only the asked columns in memory."""
    dataset = groups.dataset.select_columns(list(columns)).with_format("arrow")
    for start in range(0, len(groups), rows):
        stop = min(start + rows, len(groups))
        yield start, dataset[start:stop] if groups.rows is None else dataset[groups.rows[start:stop]]


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column of ``table`` as one array."""
    chunks = table.column(name).combine_chunks()
    return chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks


def prompt_texts(prompts: pa.Array) -> pa.Array:
    """Return the contents of the turns of each prompt, joined by a line break; the roles are left out."""
    contents = prompts.flatten().field("content")
    offsets = offsets_of(prompts.value_lengths())
    return compute.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), contents), "\n")


def last_turns(prompts: pa.Array) -> pa.Array:
    """Return the content of the last turn of each prompt."""
    return prompts.flatten().field("content").take(pa.array(offsets_of(prompts.value_lengths())[1:] - 1))


def offsets_of(lengths: pa.Array) -> Int64Array:
    """Return [text + 1] where each entry of that many items begins, and where the last one ends."""
    counts = np.asarray(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


def normalised(texts: pa.Array) -> pa.Array:
    """Return each text in NFKC and lower case, its words apart by one space, without sentence punctuation.

    Quotes, brackets, stops and marks go; signs that carry meaning (``+ - * / = < > % $``) stay, so that ``2 + 2`` and
    ``2 - 2`` differ. Characters of scripts written without spaces are words of their own. A text of punctuation alone
    keeps it.
    """
    folded = compute.utf8_lower(compute.utf8_normalize(texts, "NFKC"))
    if not compute.all(compute.string_is_ascii(folded)).as_py():
        folded = compute.replace_substring_regex(folded, _UNSPACED, r" \1 ")
    cleaned = compute.utf8_trim_whitespace(compute.replace_substring_regex(folded, _PUNCTUATION, " "))
    return compute.if_else(
        compute.equal(compute.binary_length(cleaned), 0), compute.utf8_trim_whitespace(folded), cleaned
    )


def text_hashes(texts: pa.Array) -> UInt64Array:
    """Return [text] the 64-bit hash of each text."""
    return np.fromiter((hash64(text.encode()) for text in texts.to_pylist()), np.uint64, len(texts))


@final
@dataclass(frozen=True, slots=True)
class Words:
    """The words of several texts as hashes, one text after the other."""

    hashes: UInt64Array
    """[word]."""
    offsets: Int64Array
    """[text + 1] where the words of each text begin."""

    @property
    def counts(self) -> Int64Array:
        """Return [text] the number of words."""
        return np.diff(self.offsets)


def words_of(texts: pa.Array) -> Words:
    """Return the words of normalised texts, split at spaces. Each distinct word is hashed once."""
    lists = compute.utf8_split_whitespace(texts)
    encoded = lists.flatten().dictionary_encode()
    known = text_hashes(encoded.dictionary)
    hashes = known[encoded.indices.to_numpy(zero_copy_only=False)] if len(known) else np.zeros(0, np.uint64)
    return Words(hashes, offsets_of(lists.value_lengths()))


def ngrams(words: Words, size: int, *, whole: bool) -> Words:
    """Return the n-grams of ``size`` words of each text as hashes, in order; repeated ones stay.

    A text of fewer words has one n-gram of all its words where ``whole``, else none.
    """
    counts = words.counts
    rolled = _rolled(words.hashes, size)
    num = np.maximum(counts - size + 1, 0)
    position = np.arange(len(words.hashes))
    is_start = position < np.repeat(words.offsets[1:] - size + 1, counts)
    hashes = rolled[is_start[: len(rolled)].nonzero()[0]]
    if not whole or not (num == 0).any():
        return Words(hashes, np.concatenate([np.zeros(1, np.int64), np.cumsum(num)]))
    short = np.flatnonzero(num == 0)
    num[short] = 1
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(num)])
    filled = np.empty(offsets[-1], np.uint64)
    is_whole = np.zeros(len(filled), bool)
    is_whole[offsets[short]] = True
    filled[~is_whole] = hashes
    filled[is_whole] = _whole(words, short, size)
    return Words(filled, offsets)


def _rolled(hashes: UInt64Array, size: int) -> UInt64Array:
    """Return the polynomial hash of every run of ``size`` words, across the borders of texts."""
    count = max(len(hashes) - size + 1, 0)
    rolled = np.zeros(count, np.uint64)
    for shift in range(size):
        rolled = rolled * _BASE + hashes[shift : shift + count]
    return rolled


def _whole(words: Words, texts: Int64Array, size: int) -> UInt64Array:
    """Return the hash of all words of each text in ``texts``, none of which has ``size`` words."""
    starts, counts = words.offsets[texts], words.counts[texts]
    found = np.zeros(len(texts), np.uint64)
    for shift in range(size - 1):
        has_word = counts > shift
        found[has_word] = found[has_word] * _BASE + words.hashes[starts[has_word] + shift]
    return found
