"""Negatives by truncation: the chosen response wins against its own beginning."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from typing import assert_never

from plaudit.data.mixing.augment.config import Cut, Truncation
from plaudit.data.mixing.augment.counts import AugmentTally
from plaudit.data.mixing.augment.draws import decided_pairs, draws_of, made_id, made_source
from plaudit.data.schema.columns import row_hash
from plaudit.data.schema.group import Group, Preference

RULE = "truncation"

_CLOSING = "\"'”’»)]}*_`」』）"
_WORD_END = re.compile(rf"[^\s.,!?…:;。！？，、；：{re.escape(_CLOSING)}](?=[ \t]+\S)")
_SENTENCE_END = re.compile(rf"[.!?…][{re.escape(_CLOSING)}]*(?=\s)|[。！？][{re.escape(_CLOSING)}]*")


def with_truncated(groups: Iterable[Group], rule: Truncation, *, seed: int, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group as it is, some of them followed by one of its chosen response and that response's beginning.

    A group is drawn with probability ``rule.share``, then one of its decided preferences, then the place of the cut
    (see ``cut_places``). White space at the ends is taken off both responses, whose order is drawn too.
    """
    for group in groups:
        tally.groups_in += 1
        yield group
        made = _truncated(group, rule, draws_of(row_hash(group), seed, RULE))
        if isinstance(made, str):
            tally.left_alone[made] += 1
            continue
        tally.augmented += 1
        tally.groups_added += 1
        tally.preferences_made["truncated"] += 1
        yield made


def cut_places(text: str, cut: Cut, keep: tuple[float, float]) -> list[int]:
    """Return the places where ``text`` may be cut, ascending: between ``keep[0]`` and ``keep[1]`` of its characters.

    ``word``: behind a word that another one follows on the same line, and behind which neither a sentence, a clause
    nor a quotation ends; so what is left breaks off. ``sentence``: behind the mark that ends a sentence, and what
    closes with it. Text without blanks between words has no place of the first kind.
    """
    match cut:
        case "word":
            pattern = _WORD_END
        case "sentence":
            pattern = _SENTENCE_END
        case _:
            assert_never(cut)
    low, high = keep[0] * len(text), keep[1] * len(text)
    return [match.end() for match in pattern.finditer(text) if low <= match.end() <= high]


def _truncated(group: Group, rule: Truncation, draws: random.Random) -> Group | str:
    """Return the group of a chosen response and its beginning, or why there is none."""
    if draws.random() >= rule.share:
        return "not drawn"
    pairs = decided_pairs(group)
    if not pairs:
        return "no preference that decides between two different responses"
    whole = group.responses[draws.choice(pairs)[0]].strip()
    if len(whole) < rule.min_characters:
        return "the chosen response is too short"
    places = cut_places(whole, rule.cut, rule.keep)
    if not places:
        return f"no {rule.cut} ends between the bounds"
    beginning = whole[: draws.choice(places)]
    if any(beginning == response.strip() for response in group.responses):
        return "the beginning equals a response of the group"
    chosen = draws.randrange(2)
    return Group(
        group.prompt,
        (whole, beginning) if chosen == 0 else (beginning, whole),
        (Preference(chosen, 1 - chosen),),
        id=made_id(group, RULE),
        source=made_source(group, RULE),
    )
