"""Probes a scorer: the groups as they are, each transform of them, each style of each response, as items."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from pydantic import JsonValue
from typing_extensions import override

from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError, InvalidGroupError
from plaudit.evaluation.metrics.position_bias import orders_kept
from plaudit.evaluation.store.existing import drop_unfinished
from plaudit.evaluation.store.items import item_score, prompt_hash, scored_groups
from plaudit.evaluation.store.partial import PartialHeader, check_same, scored_once
from plaudit.evaluation.stress.flipped_pairs import turned_pairs
from plaudit.evaluation.stress.robustness import ORIGINAL, STYLE, TRANSFORM, ProbeReport, probe_report
from plaudit.evaluation.stress.transforms import STYLES, TRANSFORMS, Style, Transform
from plaudit.records import ItemScore, write_json_lines, write_record
from plaudit.scoring.scorer import GivesLogOdds, GroupRewards, Scorer, compares
from plaudit.statistics.agreement import TieRule

PARTIAL_NAME = "probe_items.partial.jsonl"
_HASHES = ("recipe_hash", "weights_hash", "data_fingerprint")
ITEMS_NAME = "probe_items.jsonl"
TURNED_NAME = "turned.json"
REPORT_NAME = "probe.json"

UNCHANGED = "nothing to change"
EMPTY = "a text would become empty"
EQUAL = "different responses would become equal"

Progress = Callable[[int, int], None]


class ProbeHeader(PartialHeader):
    """First line of ``probe_items.partial.jsonl``: which probe the lines below it belong to."""

    task: ClassVar[str] = "probe"

    seed: int
    """Seed of the transforms' draws."""
    transforms: tuple[str, ...]
    """Names of the transforms."""
    styles: tuple[str, ...]
    """Names of the styles."""

    @override
    def in_words(self) -> str:
        """Return what tells this from another one, in words."""
        probes = f"{len(self.transforms)} transforms and {len(self.styles)} styles"
        return f"{super().in_words()}, seed {self.seed}, {probes}"


@dataclass(frozen=True, slots=True)
class _Question:
    """What the scorer is asked, of which group, for which probe; or why it is not asked."""

    original: Group
    shown: Group
    facts: dict[str, JsonValue]
    left_out: str | None = None


def has_preference(group: Group) -> bool:
    """Return whether the group has a preference that says which response is better."""
    return any(each.probability != 0.5 for each in group.preferences)


def check_pairs(groups: Iterable[Group], name: str) -> None:
    """Raise DataError unless a group has a preference that says which response is better, naming what there is."""
    kinds = Counter[str]()
    for group in groups:
        if has_preference(group):
            return
        found = {"ties": group.preferences, "ranks": group.ranks, "ratings": group.ratings}
        found |= {"outcomes": group.outcomes, "steps": group.steps}
        kinds.update(kind for kind, labels in found.items() if labels)
    there = ", ".join(f"{kind} ({count} groups)" for kind, count in kinds.items()) or "no labels"
    raise DataError(
        f"{name}: no group has a preference, and a ranking can only turn where pairs are labelled; found: {there}. "
        "Probe styles alone, or make pairs of the labels first"
    )


def probe_items(
    scorer: Scorer,
    groups: Sequence[Group],
    *,
    seed: int = 0,
    transforms: Sequence[Transform] = TRANSFORMS,
    styles: Sequence[Style] = STYLES,
) -> list[ItemScore]:
    """Return the items of every probe: the groups as they are, each transform's, each style's.

    A group or response that a probe does not change has an item without rewards whose ``reason`` says why. Of win
    rates the log-odds are asked for.

    Raises:
        ModelError: when the scorer answers in another order or number.
    """
    asked = scorer.in_log_odds() if isinstance(scorer, GivesLogOdds) else scorer
    questions = _questions(groups, seed, transforms, _together(scorer, styles))
    return [item for _, item in _answers(asked, questions)]


def probe(
    scorer: Scorer,
    groups: Sequence[Group],
    *,
    name: str,
    model: str,
    output_dir: Path,
    seed: int = 0,
    tie_rule: TieRule = "loss",
    alpha: float = 0.05,
    transforms: Sequence[Transform] = TRANSFORMS,
    styles: Sequence[Style] = STYLES,
    recipe_hash: str | None = None,
    weights_hash: str | None = None,
    data_fingerprint: str | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> ProbeReport:
    """Return what the probes found, and write it.

    ``output_dir`` receives ``probe_items.jsonl`` (every reward), ``turned.json`` (the texts of the pairs that turn most
    clearly) and, last, ``probe.json``. Until then each scored item is a line of ``probe_items.partial.jsonl``; a probe
    that was killed finds it there and scores only what is missing, as an evaluation does. ``progress`` is told the
    number of items done, and of all. ``overwrite`` replaces the probe of another model or of other data.

    Raises:
        ConfigError: for an alpha outside 0 to 1; when the folder holds the probe of another model or of other data.
        DataError: when there are transforms and no group has a preference; when ``probe_items.partial.jsonl`` is of
            another probe, another model or other data.
        ModelError, OutputError: see ``probe_items``; when a file cannot be written.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha is {alpha}; it must lie between 0 and 1")
    if transforms:
        check_pairs(groups, name)
    header = ProbeHeader(
        name=name,
        model=model,
        recipe_hash=recipe_hash,
        weights_hash=weights_hash,
        data_fingerprint=data_fingerprint,
        seed=seed,
        transforms=tuple(each.name for each in transforms),
        styles=tuple(each.name for each in styles),
    )
    _make_place(output_dir, header, overwrite=overwrite)
    together = _together(scorer, styles)
    total = _count(groups, transforms, together)
    questions = _questions(groups, seed, transforms, together)
    items = _resumed(scorer, questions, header, output_dir, partial(_tell, progress, total))
    report = probe_report(items, name=name, model=model, seed=seed, tie_rule=tie_rule, alpha=alpha)
    report = report.model_copy(update={name: getattr(header, name) for name in _HASHES})
    # An older report goes first, so that it never stands beside items that are not its own.
    (output_dir / REPORT_NAME).unlink(missing_ok=True)
    write_json_lines(output_dir / ITEMS_NAME, items)
    write_record(output_dir / TURNED_NAME, turned_pairs(groups, items, transforms, seed=seed))
    write_record(output_dir / REPORT_NAME, report)
    (output_dir / PARTIAL_NAME).unlink()
    return report


def _make_place(folder: Path, header: ProbeHeader, *, overwrite: bool) -> None:
    """Raise ConfigError where ``folder`` holds the probe of another model or of other data; a damaged one is none."""
    if overwrite:
        drop_unfinished(folder / PARTIAL_NAME, header, with_items=True)
        return
    try:
        found = ProbeReport.model_validate_json((folder / REPORT_NAME).read_bytes())
    except (OSError, ValueError):
        return
    if any(getattr(found, name) != getattr(header, name) for name in ("name", "model", *_HASHES)):
        raise ConfigError(
            f"{folder} holds the probe of {found.name!r} with model {found.model!r}, and this is another one (another "
            f"model, other settings or other data); give another folder with -o, or --overwrite"
        )


def _resumed(
    scorer: Scorer,
    questions: Iterable[_Question],
    header: ProbeHeader,
    output_dir: Path,
    tell: Callable[[int], None],
) -> list[ItemScore]:
    """Return the items on file, then those asked for now; of those on file only the last is told: they set no pace."""
    asked = scorer.in_log_odds() if isinstance(scorer, GivesLogOdds) else scorer
    items = list[ItemScore]()
    past_those_on_file = False

    def score(remaining: Iterator[_Question]) -> Iterator[tuple[_Question, ItemScore]]:
        nonlocal past_those_on_file
        past_those_on_file = True
        tell(len(items))
        yield from _answers(asked, remaining)

    for _, item in scored_once(output_dir / PARTIAL_NAME, header, questions, check=_check, score=score):
        items.append(item)
        if past_those_on_file:
            tell(len(items))
    return items


def _tell(progress: Progress | None, total: int, done: int) -> None:
    if progress is not None:
        progress(done, total)


def _together(scorer: Scorer, styles: Sequence[Style]) -> list[Sequence[Style]]:
    """Return the styles that are asked about together: one by one where a reward is one against the group's others."""
    if compares(scorer):
        return [[each] for each in styles]
    return [styles] if styles else []


def _questions(
    groups: Sequence[Group], seed: int, transforms: Sequence[Transform], together: Sequence[Sequence[Style]]
) -> Iterator[_Question]:
    """Yield every question, always in the same order."""
    yield from _originals(groups)
    for transform in transforms:
        yield from _transformed(groups, transform, seed)
    for styles in together:
        yield from _styled(groups, styles)


def _count(groups: Sequence[Group], transforms: Sequence[Transform], together: Sequence[Sequence[Style]]) -> int:
    """Return the number of questions."""
    paired = sum(map(has_preference, groups))
    return len(groups) + paired * len(transforms) + sum(len(group.responses) for group in groups) * len(together)


def _originals(groups: Sequence[Group]) -> Iterator[_Question]:
    for place, group in enumerate(groups):
        yield _Question(group, replace(group, steps=None), {"probe": ORIGINAL, "place": place})


def _transformed(groups: Sequence[Group], transform: Transform, seed: int) -> Iterator[_Question]:
    """Yield each group that has a preference, transformed."""
    for place, group in enumerate(groups):
        if not has_preference(group):
            continue
        facts: dict[str, JsonValue] = {"probe": TRANSFORM, "name": transform.name, "place": place}
        plain = replace(group, steps=None)
        try:
            changed = transform.apply(group, seed=seed)
        except InvalidGroupError:
            yield _Question(group, plain, facts | {"left_out": EMPTY}, EMPTY)
            continue
        if (changed.prompt, changed.responses) == (group.prompt, group.responses):
            yield _Question(group, plain, facts | {"left_out": UNCHANGED}, UNCHANGED)
        elif len(set(changed.responses)) < len(set(group.responses)):
            yield _Question(group, plain, facts | {"left_out": EQUAL}, EQUAL)
        else:
            yield _Question(group, changed, facts)


def _styled(groups: Sequence[Group], styles: Sequence[Style]) -> Iterator[_Question]:
    """Yield each response before its changed selves, as one group."""
    for place, group in enumerate(groups):
        for index, response in enumerate(group.responses):
            made = {style.name: style.change(response) for style in styles}
            changed = {name: text for name, text in made.items() if text is not None}
            facts: dict[str, JsonValue] = {
                "probe": STYLE,
                "place": place,
                "response": index,
                "names": list(changed),
                "left_out": [name for name in made if name not in changed],
            }
            shown = Group(group.prompt, (response, *changed.values()), id=group.id, source=group.source)
            yield _Question(group, shown, facts, None if changed else UNCHANGED)


def _check(question: _Question, item: ItemScore, place: str) -> None:
    """Raise DataError unless ``item``, which is on file, answers ``question``."""
    check_same(replace(question.shown, prompt=question.original.prompt), item, place)
    if any(item.facts.get(name) != value for name, value in question.facts.items()):
        raise DataError(
            f"{place}: item {item.id!r} is of {_probe_of(item.facts)}, but this probe asks for "
            f"{_probe_of(question.facts)} there; the file is of another probe: delete it to start again"
        )


def _probe_of(facts: dict[str, JsonValue]) -> str:
    return " ".join(str(facts[key]) for key in ("probe", "name", "names") if facts.get(key))


def _answers(scorer: Scorer, questions: Iterable[_Question]) -> Iterator[tuple[_Question, ItemScore]]:
    """Yield each question with its item, in order, reading as far ahead as the scorer does.

    One that is not asked has no rewards.
    """
    waiting: deque[_Question] = deque()

    def asked() -> Iterator[Group]:
        for question in questions:
            waiting.append(question)
            if question.left_out is None:
                yield question.shown

    with orders_kept(scorer) as orders:
        for _, item in scored_groups(scorer, asked()):
            while waiting[0].left_out is not None:
                yield _not_asked(waiting.popleft())
            question = waiting.popleft()
            compared = orders.popleft() if orders is not None else []
            known: dict[str, object] = {"facts": question.facts, "prompt_key": prompt_hash(question.original)}
            if question.facts["probe"] == ORIGINAL:
                known["orders"] = tuple(compared)
            yield question, item.model_copy(update=known)
    while waiting:
        yield _not_asked(waiting.popleft())


def _not_asked(question: _Question) -> tuple[_Question, ItemScore]:
    shown = question.shown
    rewards = GroupRewards(shown.id, (None,) * len(shown.responses), reason=f"not asked: {question.left_out}")
    return question, item_score(shown, rewards).model_copy(update={"facts": question.facts})
