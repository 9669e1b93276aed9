"""Training groups made of a given one alone: its responses shuffled, restyled or truncated, drawn by a hash of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, assert_never

from plaudit.data.mixing.config import CutAt, Restyle, Transform, Truncation
from plaudit.data.mixing.report import AugmentTally
from plaudit.data.schema.columns import hash64, relabelled, row_hash
from plaudit.data.schema.group import Group, Preference


def rng_of(row_hash: int, seed: int, rule: str) -> random.Random:
    """Return a random generator of one group, seeded by (seed, rule, group) whatever stands before the group."""
    return random.Random(hash64(f"{seed}|{rule}|{row_hash}".encode()))


def decided_pairs(group: Group) -> list[tuple[int, int]]:
    """Return (better, worse) of each pair of responses that the preferences decide, each pair once.

    A preference of probability below ½ decides for its rejected response; one of ½ decides nothing, and so do
    preferences that contradict each other, and those of two responses that are the same text, blanks at the ends aside.
    """
    better_of: dict[tuple[int, int], int | None] = {}
    for preference in group.preferences:
        probability = 1.0 if preference.probability is None else preference.probability
        if probability == 0.5:
            continue
        better = preference.chosen if probability > 0.5 else preference.rejected
        pair = (min(preference.chosen, preference.rejected), max(preference.chosen, preference.rejected))
        if better_of.setdefault(pair, better) != better:
            better_of[pair] = None
    return [
        (better, sum(pair) - better)
        for pair, better in better_of.items()
        if better is not None and group.responses[pair[0]].strip() != group.responses[pair[1]].strip()
    ]


def made_id(group: Group, rule: str) -> str:
    """Return the id of an augmented group: ``id#rule``; a group without an id gives one without."""
    return f"{group.id}#{rule}" if group.id else ""


def made_source(group: Group, rule: str) -> str:
    """Return the source of an augmented group: ``rule:source``."""
    return f"{rule}:{group.source}"


T = TypeVar("T")


def with_shuffled_responses(groups: Iterable[Group], *, seed: int, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group with its responses in an order drawn from the seed, every order as likely as another."""
    for group in groups:
        tally.groups_in += 1
        order = list(range(len(group.responses)))
        rng_of(row_hash(group), seed, "shuffle").shuffle(order)
        if len(order) == 1:
            tally.left_alone["one response"] += 1
        elif order == sorted(order):
            tally.left_alone["the drawn order is the given one"] += 1
        else:
            tally.augmented += 1
            tally.preferences_made["moved"] += len(group.preferences)
        yield reordered(group, order)


def reordered(group: Group, order: Sequence[int]) -> Group:
    """Return the group whose response k is response ``order[k]`` of ``group``; id, source and labels stay.

    Raises:
        ValueError: where ``order`` does not name each response once.
    """
    if sorted(order) != list(range(len(group.responses))):
        raise ValueError(f"order is {list(order)}; it must name each of the {len(group.responses)} responses once")
    place = {index: position for position, index in enumerate(order)}

    def moved(values: Sequence[T]) -> tuple[T, ...]:
        return tuple(values[index] for index in order)

    return relabelled(
        group,
        responses=moved(group.responses),
        preferences=tuple(
            replace(each, chosen=place[each.chosen], rejected=place[each.rejected]) for each in group.preferences
        ),
        ranks=None if group.ranks is None else moved(group.ranks),
        ratings={attribute: moved(values) for attribute, values in group.ratings.items()},
        outcomes=None if group.outcomes is None else moved(group.outcomes),
        steps=None if group.steps is None else moved(group.steps),
    )


_CODE = re.compile(
    r"^[ ]{0,3}(?P<fence>`{3,}|~{3,})[^\n]*\n(?:.*?^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|.*\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)[^\n]*?[^`\n](?P=ticks)(?!`)",
    re.MULTILINE | re.DOTALL,
)
_BOLD = re.compile(r"(?<![\w*])\*\*(?=[^\s*])((?:[^\n*]|\*(?!\*))*?[^\s*])\*\*(?![\w*])")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?=\S)", re.MULTILINE)
_BULLET = re.compile(r"^([ \t]*)[-*+•][ \t]+(?=[^\s\-*+\d])", re.MULTILINE)
_LINE_END = re.compile(r"(?<![ \t])[ \t]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\n{3,}")
_FIRST_BLANKS = re.compile(r"\A {1,3}(?=\S)")
_PRIVATE_USE = range(0xE000, 0xF900)


def with_restyled(groups: Iterable[Group], rule: Restyle, *, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group, followed by its restyled copy, or the copy in its place where the rule says so.

    There is no copy, and the reason is counted, where nothing changes, where a response would become empty, where two
    different responses would become equal, and where steps are labelled at places in the text.
    """
    for group in groups:
        tally.groups_in += 1
        texts = tuple(restyled(response, rule.transforms) for response in group.responses)
        reason = _reason_against(group, texts)
        if reason is not None:
            tally.left_alone[reason] += 1
            yield group
            continue
        tally.augmented += 1
        tally.preferences_made["restyled"] += len(group.preferences)
        if not rule.keep_original:
            yield replace(group, responses=texts)
            continue
        tally.groups_added += 1
        yield group
        yield replace(group, responses=texts, id=made_id(group, "style"), source=made_source(group, "style"))


def restyled(text: str, transforms: Sequence[Transform]) -> str:
    """Return ``text`` after each transform in turn; fenced code and code in backticks come out as they are."""
    code = [match.group() for match in _CODE.finditer(text)]
    # A character that is not in the text holds the place of code, so that line starts stay line starts.
    mark = next(chr(point) for point in _PRIVATE_USE if chr(point) not in text) if code else ""
    prose = _CODE.sub(mark, text) if code else text
    for transform in transforms:
        prose = _transformed(prose, transform)
    if not code:
        return prose
    pieces = prose.split(mark)
    return pieces[0] + "".join(part + piece for part, piece in zip(code, pieces[1:], strict=True))


def _transformed(prose: str, transform: Transform) -> str:
    match transform:
        case "whitespace":
            lines = _LINE_END.sub("", prose.replace("\r\n", "\n"))
            return _FIRST_BLANKS.sub("", _EMPTY_LINES.sub("\n\n", lines).strip("\n"))
        case "bold":
            return _BOLD.sub(r"\1", prose)
        case "headings":
            return _HEADING.sub("", prose)
        case "bullets":
            return _BULLET.sub(r"\1", prose)
        case _:
            assert_never(transform)


def _reason_against(group: Group, texts: tuple[str, ...]) -> str | None:
    """Return why the group can have no restyled copy, or None."""
    if group.steps is not None and any(group.steps):
        return "labelled steps"
    if texts == group.responses:
        return "nothing to change"
    if not all(text.strip() for text in texts):
        return "a response would become empty"
    if len(set(texts)) < len(set(group.responses)):
        return "different responses would become equal"
    return None


_CLOSING = "\"'”’»)]}*_`」』）"
_ENDS: Mapping[CutAt, re.Pattern[str]] = {
    "word": re.compile(rf"[^\s.,!?…:;。！？，、；：{re.escape(_CLOSING)}](?=[ \t]+\S)"),
    "sentence": re.compile(rf"[.!?…][{re.escape(_CLOSING)}]*(?=\s)|[。！？][{re.escape(_CLOSING)}]*"),
}


def with_truncated(groups: Iterable[Group], rule: Truncation, *, seed: int, tally: AugmentTally) -> Iterator[Group]:
    """Yield every group as it is, some of them followed by one of its chosen response and that response's beginning.

    A group is drawn with probability ``rule.share``, then one of its decided preferences, then the place of the cut
    (see ``cut_places``). White space at the ends is taken off both responses, whose order is drawn too.
    """
    for group in groups:
        tally.groups_in += 1
        yield group
        made = _truncated(group, rule, rng_of(row_hash(group), seed, "truncation"))
        if isinstance(made, str):
            tally.left_alone[made] += 1
            continue
        tally.augmented += 1
        tally.groups_added += 1
        tally.preferences_made["truncated"] += 1
        yield made


def cut_places(text: str, cut: CutAt, keep: tuple[float, float]) -> list[int]:
    """Return the places where ``text`` may be cut, ascending: between ``keep[0]`` and ``keep[1]`` of its characters.

    ``word``: behind a word that another one follows on the same line, and behind which neither a sentence, a clause
    nor a quotation ends; so the rest breaks off. ``sentence``: behind the mark that ends a sentence, and what
    closes with it. Text without blanks between words has no place of the first kind.
    """
    low, high = keep[0] * len(text), keep[1] * len(text)
    return [match.end() for match in _ENDS[cut].finditer(text) if low <= match.end() <= high]


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
        id=made_id(group, "truncation"),
        source=made_source(group, "truncation"),
    )
