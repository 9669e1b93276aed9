"""Stress tests of a scorer: the groups as they are, each transform of them, each style of each response, as items."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError, InvalidGroupError
from plaudit.evaluation.store.items import check_same, item_score, prompt_hash, scored_with_rewards
from plaudit.evaluation.store.result_folder import parse_line
from plaudit.evaluation.stress.robustness import (
    ORIGINAL,
    STYLE,
    TRANSFORM,
    FlippedPairs,
    StressReport,
    flipped_pairs,
    stress_report,
)
from plaudit.evaluation.stress.transforms import STYLES, TRANSFORMS, Style, Transform
from plaudit.journal import Header, Journal
from plaudit.outputs import check_file
from plaudit.records import ItemScore, is_record, write_json_lines, write_record
from plaudit.scoring.scorer import GroupRewards, Scorer, info_of
from plaudit.statistics.agreement import TieRule

PARTIAL_NAME = "stress_items.partial.jsonl"
ITEMS_NAME = "stress_items.jsonl"
FLIPPED_NAME = "flipped_pairs.json"
REPORT_NAME = "stress.json"
OLD_NAMES = {ITEMS_NAME: "probe_items.jsonl", FLIPPED_NAME: "turned.json", REPORT_NAME: "probe.json"}
"""Names of the files in plaudit 0.1."""
OLD_PARTIAL_NAME = "probe_items.partial.jsonl"

UNCHANGED = "nothing to change"
EMPTY = "a text would become empty"
EQUAL = "different responses would become equal"

Progress = Callable[[int, int], None]
"""Is told the number of items done, and of all."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A group to score, the group that it was made of, and its metadata; or why it is not scored."""

    original: Group
    shown: Group
    metadata: dict[str, JsonValue]
    left_out: str | None = None


def has_preference(group: Group) -> bool:
    """Return whether the group has a preference that says which response is better."""
    return any(each.probability != 0.5 for each in group.preferences)


def check_pairs(groups: Iterable[Group], name: str) -> None:
    """Raise DataError, naming the labels there are, unless a group has a preference that is no tie."""
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
        "Test styles alone, or make pairs of the labels first"
    )


def stress_items(
    scorer: Scorer,
    groups: Sequence[Group],
    *,
    seed: int = 0,
    transforms: Sequence[Transform] = TRANSFORMS,
    styles: Sequence[Style] = STYLES,
) -> list[ItemScore]:
    """Return the items of every stress test: the groups as they are, each transform's, each style's.

    A group or response that a test does not change has an item without rewards whose ``reason`` says why. Of win rates
    the log-odds are taken.

    Raises:
        ModelError: when the scorer answers in another order or number.
    """
    return list(_answers(scorer, _questions(groups, seed, transforms, _together(scorer, styles))))


def stress(
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
) -> StressReport:
    """Return the report of a stress test, and write it.

    ``output_dir`` receives ``stress_items.jsonl`` (every reward), ``flipped_pairs.json`` (texts of the pairs that flip
    most clearly) and ``stress.json``, together. Until then each scored item is a line of
    ``stress_items.partial.jsonl``; a killed run is resumed at the end of a whole window, as an evaluation is.
    ``overwrite`` replaces the report of another model or of other data. Hashes that are not given are those of
    ``scorer.info``.

    Raises:
        ConfigError: for an alpha outside 0 to 1; when the folder holds finished or unfinished work of another model, of
            other data, seed, transforms or styles.
        DataError: when there are transforms and no group has a preference; when items on file are of other groups.
        ModelError: when the scorer answers in another order or number.
        OutputError: when a file cannot be written, or another process is writing the folder.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha is {alpha}; it must lie between 0 and 1")
    if transforms:
        check_pairs(groups, name)
    info, together = info_of(scorer), _together(scorer, styles)
    hashes = {
        "recipe_hash": info.recipe_hash if recipe_hash is None else recipe_hash,
        "weights_hash": info.weights_hash if weights_hash is None else weights_hash,
    }
    identity = {"name": name, "model": model, **hashes}
    asked = {"seed": seed, "transforms": [each.name for each in transforms], "styles": [each.name for each in styles]}
    header = Header(
        journal="stress", identity={**identity, **asked}, settings=dict(info.settings), data=data_fingerprint
    )
    with Journal(output_dir / PARTIAL_NAME, header, window=info.window) as journal:
        if not overwrite:
            _check_no_old_work(output_dir)
            _check_existing(output_dir, {**identity, "data_fingerprint": data_fingerprint})
        journal.resume(discard=lambda found: overwrite)
        total = _count(groups, transforms, together)
        told = progress or (lambda done, total: None)
        items = list(_answers(scorer, _questions(groups, seed, transforms, together), journal, told, total))
        report = stress_report(items, name=name, model=model, seed=seed, tie_rule=tie_rule, alpha=alpha)
        report = report.model_copy(update={**hashes, "data_fingerprint": data_fingerprint})
        _write(journal, output_dir, report, items, flipped_pairs(groups, items, transforms, seed=seed))
    return report


def _write(
    journal: Journal, folder: Path, report: StressReport, items: Sequence[ItemScore], flipped: FlippedPairs
) -> None:
    with journal.commit() as files:
        write_json_lines(files.stage(folder / ITEMS_NAME), items)
        write_record(files.stage(folder / FLIPPED_NAME), flipped)
        for name in (*OLD_NAMES.values(), OLD_PARTIAL_NAME):
            files.remove(folder / name)
        write_record(files.stage(folder / REPORT_NAME), report)


def file_of(folder: Path, name: str) -> Path:
    """Return the file ``name`` of a stress test in ``folder``, of plaudit 0.1 under its old name."""
    old = folder / OLD_NAMES[name]
    return old if old.exists() and not (folder / name).exists() else folder / name


def _check_no_old_work(folder: Path) -> None:
    path = folder / OLD_PARTIAL_NAME
    if path.exists():
        raise ConfigError(
            f"{path} is work that plaudit 0.1 left unfinished, which cannot be resumed; remove it to start again, add "
            "--overwrite, or give another folder with -o"
        )


def _check_existing(folder: Path, wanted: dict[str, str | None]) -> None:
    """Raise ConfigError where ``folder`` holds a report of another model or of other data, or a file that is none."""
    path = file_of(folder, REPORT_NAME)
    check_file(path, is_own=lambda each: is_record(each, StressReport), overwrite=False)
    if not path.exists():
        return
    found = StressReport.model_validate_json(path.read_bytes())
    if any(getattr(found, name) != value for name, value in wanted.items()):
        raise ConfigError(
            f"{folder} holds the stress test of {found.name!r} with model {found.model!r}, and this is another one "
            "(another model, other settings or other data); give another folder with -o, or --overwrite"
        )


def _together(scorer: Scorer, styles: Sequence[Style]) -> list[Sequence[Style]]:
    """Return the styles that are scored in one group: one by one where a reward is relative to its group."""
    if info_of(scorer).relative:
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
        metadata: dict[str, JsonValue] = {"probe": TRANSFORM, "name": transform.name, "place": place}
        plain = replace(group, steps=None)
        why = None
        try:
            changed = transform.apply(group, seed=seed)
            if (changed.prompt, changed.responses) == (group.prompt, group.responses):
                why = UNCHANGED
            elif len(set(changed.responses)) < len(set(group.responses)):
                why = EQUAL
        except InvalidGroupError:
            changed, why = plain, EMPTY
        if why is None:
            yield _Question(group, changed, metadata)
        else:
            yield _Question(group, plain, metadata | {"left_out": why}, why)


def _styled(groups: Sequence[Group], styles: Sequence[Style]) -> Iterator[_Question]:
    """Yield each response before its changed selves, as one group."""
    for place, group in enumerate(groups):
        for index, response in enumerate(group.responses):
            made = {style.name: style.change(response) for style in styles}
            changed = {name: text for name, text in made.items() if text is not None}
            metadata: dict[str, JsonValue] = {
                "probe": STYLE,
                "place": place,
                "response": index,
                "names": list(changed),
                "left_out": [name for name in made if name not in changed],
            }
            shown = Group(group.prompt, (response, *changed.values()), id=group.id, source=group.source)
            yield _Question(group, shown, metadata, None if changed else UNCHANGED)


def _answers(
    scorer: Scorer,
    questions: Iterable[_Question],
    journal: Journal | None = None,
    progress: Progress = lambda done, total: None,
    total: int = 0,
) -> Iterator[ItemScore]:
    """Yield the item of each question, in order, reading as far ahead as the scorer does.

    Those on file in ``journal`` come first, the others are written there; one that is not scored has no rewards and no
    line. ``progress`` is told first of those on file.
    """
    waiting: deque[_Question] = deque()

    def asked() -> Iterator[_Question]:
        for question in questions:
            waiting.append(question)
            if question.left_out is None:
                yield question

    remaining = asked()
    done = 0
    kept = () if journal is None else journal.matched(remaining, partial(parse_line, ItemScore))
    for question, item, place in kept:
        _check(question, item, place)
        found = [*_up_to(question, waiting), item]
        done += len(found)
        yield from found
    progress(done, total)
    shown, paired = itertools.tee(remaining)
    scored = scored_with_rewards(scorer, (question.shown for question in shown), in_log_odds=True)
    for (_, _, item), question in zip(scored, paired, strict=False):
        known: dict[str, object] = {"metadata": question.metadata, "prompt_key": prompt_hash(question.original)}
        if question.metadata["probe"] != ORIGINAL:
            known["comparisons"] = ()
        found = [*_up_to(question, waiting), item.model_copy(update=known)]
        if journal is not None:
            journal.append(found[-1].model_dump_json())
        for each in found:
            done += 1
            progress(done, total)
            yield each
    for question in waiting:
        done += 1
        progress(done, total)
        yield _not_asked(question)


def _up_to(question: _Question, waiting: deque[_Question]) -> list[ItemScore]:
    """Return the items of the questions before ``question``, which are not scored, and take them all away."""
    found = []
    while waiting[0] is not question:
        found.append(_not_asked(waiting.popleft()))
    waiting.popleft()
    return found


def _not_asked(question: _Question) -> ItemScore:
    shown = question.shown
    rewards = GroupRewards(shown.id, (None,) * len(shown.responses), reason=f"not asked: {question.left_out}")
    return item_score(shown, rewards).model_copy(update={"metadata": question.metadata})


def _check(question: _Question, item: ItemScore, place: str) -> None:
    """Raise DataError unless ``item``, which is on file, answers ``question``."""
    check_same(replace(question.shown, prompt=question.original.prompt), item, place)
    if any(item.metadata.get(name) != value for name, value in question.metadata.items()):
        raise DataError(
            f"{place}: item {item.id!r} is of {_test_of(item.metadata)}, but this stress test asks for "
            f"{_test_of(question.metadata)} there; the file is of another one: remove it to start again"
        )


def _test_of(metadata: dict[str, JsonValue]) -> str:
    return " ".join(str(metadata[key]) for key in ("probe", "name", "names") if metadata.get(key))
