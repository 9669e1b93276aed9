"""The browser of all items of an evaluation: what its script reads, bounded in size."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from plaudit.data.schema.group import Group
from plaudit.evaluation.compare.correctness import kinds_of, pair_margins
from plaudit.evaluation.metrics.preference import judged_pairs
from plaudit.evaluation.store.confident_errors import cut_end, cut_middle, prompt_text
from plaudit.evaluation.store.items import prompt_hash
from plaudit.records import ItemScore

MAX_BYTES = 3_000_000
"""Most bytes of items in one page, shared by its evaluations alike."""
MAX_CHARACTERS = 1_000
"""Each text is cut to this many characters."""
_SHORTEST_ROW = 60
"""Bytes that any row takes."""
_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&"}

Row = tuple[str, str, str, float | None, str | None, str | None, list[tuple[float | None, str, int | None, str | None]]]
"""Id, source, status, deciding margin, reason of a missing reward, prompt, and of each response its reward, label,
length and text."""


DataFile = tuple[Path, str]
"""A file of groups and its format, which may be ``auto``."""
Texts = Mapping[tuple[str, str], Group]
"""Groups by id and hash of the prompt."""


@dataclass(frozen=True, slots=True)
class ItemBrowser:
    """Items of one evaluation as JSON for the script of the page."""

    data: Markup
    """A list of ``Row``, with every character that means something to HTML written as an escape."""
    count: int
    """Items in ``data``: fewer than ``of`` where all would be too large, evenly over the data."""
    of: int
    """Items of the evaluation."""
    texts: int
    """Items in ``data`` whose texts are known."""


def item_browser(items: Sequence[ItemScore], texts: Texts, *, max_bytes: int) -> ItemBrowser | None:
    """Return ``items`` for the browser, those that ``max_bytes`` have room for; None of no items.

    ``texts`` are those of ``texts_of``; a group whose responses have other lengths than the item says is not shown.
    """
    if not items:
        return None
    kinds = kinds_of(items)
    kept = _evenly(len(items), max_bytes // _SHORTEST_ROW)
    rows = [_row(items[place], kinds, _group_of(items[place], texts)) for place in kept]
    encoded = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES) for row in rows]
    sizes = np.array([len(each.encode()) + 1 for each in encoded])
    count = len(rows)
    kept = np.arange(count)
    while sizes[kept].sum() > max_bytes and count > 1:
        count = min(count - 1, int(count * max_bytes / sizes[kept].sum()))
        kept = _evenly(len(rows), count)
    with_texts = sum(rows[place][5] is not None for place in kept)
    data = f"[{','.join(encoded[place] for place in kept)}]"
    return ItemBrowser(data=Markup(data), count=len(kept), of=len(items), texts=with_texts)


def _evenly(count: int, most: int) -> np.ndarray:
    """Return ``most`` of ``count`` places, evenly from the first to the last; at least one."""
    return np.unique(np.linspace(0, count - 1, max(1, min(count, most))).round().astype(int))


def texts_of(items: Iterable[ItemScore], files: Iterable[DataFile]) -> dict[tuple[str, str], Group]:
    """Return those groups of ``files`` that are of ``items``, by id and hash of the prompt.

    Raises:
        DataError: when a file cannot be read.
    """
    from plaudit.data.reading.read import read_groups

    wanted = {item.id for item in items}
    found = (group for path, layout in files for group in read_groups(path, format=layout) if group.id in wanted)
    return {(group.id, prompt_hash(group)): group for group in found}


def _group_of(item: ItemScore, texts: Texts) -> Group | None:
    group = texts.get((item.id, item.prompt_key))
    if group is None or len(group.responses) != len(item.rewards):
        return None
    return group if item.lengths in ((), tuple(map(len, group.responses))) else None


def _row(item: ItemScore, kinds: Iterable[str], group: Group | None) -> Row:
    status, margin = standing(item, kinds)
    prompt = None if group is None else cut_middle(prompt_text(group), MAX_CHARACTERS)
    texts = [None] * len(item.rewards) if group is None else [cut_end(each, MAX_CHARACTERS) for each in group.responses]
    lengths = item.lengths or (None,) * len(item.rewards)
    responses = [
        (_short(reward), label, length, text)
        for reward, label, length, text in zip(item.rewards, _labels(item), lengths, texts, strict=True)
    ]
    return item.id, item.source, status, _short(margin), item.reason, prompt, responses


def standing(item: ItemScore, kinds: Iterable[str]) -> tuple[str, float | None]:
    """Return how ``item`` stands by the first of ``kinds`` of label that it carries, and the margin that decides it.

    ``right``: every pair of its responses is in the order of the label, and of outcomes the highest reward is that of a
    correct response. The margin is that of the pair that is ordered worst, of outcomes the highest reward of a correct
    response less that of a wrong one.
    """
    for kind in kinds:
        margins = _outcome_margins(item) if kind == "outcome" else pair_margins(item, kind).tolist()
        if margins:
            worst = min(margins)
            if np.isnan(worst):
                return "no reward", None
            return "right" if worst > 0 else "wrong" if worst < 0 else "tie", worst
    return ("no reward" if None in item.rewards else "not judged"), None


def _outcome_margins(item: ItemScore) -> list[float]:
    """Return the highest reward of a correct response less that of a wrong one, as a list of one; none without both."""
    sides: dict[bool, list[float]] = {True: [], False: []}
    for reward, outcome in zip(item.rewards, item.outcomes or (None,) * len(item.rewards), strict=True):
        if outcome is not None:
            sides[outcome].append(math.nan if reward is None else reward)
    if not sides[True] or not sides[False]:
        return []
    return [float(np.max(sides[True]) - np.max(sides[False]))]


def _labels(item: ItemScore) -> list[str]:
    """Return the labels of each response in words."""
    said: list[list[str]] = [[] for _ in item.rewards]
    pairs = judged_pairs(item)
    if len(pairs) == 1:
        ((chosen, rejected),) = pairs
        said[chosen].append("chosen")
        said[rejected].append("rejected")
    elif pairs:
        for k, words in enumerate(said):
            words.append(f"wins {sum(k == a for a, _ in pairs)}, loses {sum(k == b for _, b in pairs)}")
    for k, words in enumerate(said):
        if item.ranks is not None and item.ranks[k] is not None:
            words.append(f"rank {item.ranks[k]}")
        words += [f"{name} {values[k]:g}" for name, values in item.ratings.items() if values[k] is not None]
        if item.outcomes is not None and item.outcomes[k] is not None:
            words.append("correct" if item.outcomes[k] else "wrong")
    return [", ".join(words) for words in said]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
