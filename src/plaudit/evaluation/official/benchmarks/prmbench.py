"""PRMBench: solutions of PRM800K with errors of nine kinds put in; each step is judged right or wrong.

The positive class is the right step. TP, FP, TN and FN are pooled over the steps of all solutions; of these are ``f1``
(of right steps), ``negative_f1`` (of wrong ones), and PRMScore, ``prm_score`` = 0.5 f1 + 0.5 negative_f1. A class has
its own, called by its name as the data spells it; a class without wrong steps (``multi_solutions``) has ``f1`` as its
score, as on the official leaderboard. ``simplicity``, ``soundness`` and ``sensitivity`` are means over their classes.

- A step is judged right where its probability of being right is above 0.5. In ``redundency`` and ``circular`` the
  model's own label "redundant" decides, where it gives one, in place of "valid".
- ``error_steps`` count from 1; those that point past the last step are ignored, and counted.
- Of rows with one ``idx`` in a class only the first counts, as in the official code; the others are scored and counted.
- ``first_error_accuracy``: share of solutions with an error whose first wrong step is judged wrong. Where the first one
  listed lies past the end, the solution has none.
- A solution without judgements is left out, as in the official code; ``valid_share`` says how many are left.

Where precision and recall are both 0 the official code puts −1 for F1; here it is 0. The official code also judges the
unchanged solutions of ``redundency``, for two metrics that are no part of PRMScore; they are not computed here.

Source: Song et al. (2025), arXiv 2501.03124, with the official code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np
from pydantic import JsonValue

from plaudit.data.reading.sources.fields import (
    found,
    required,
    required_list,
    required_text,
    required_texts,
    text,
    whole,
)
from plaudit.data.reading.sources.fields import items as list_of
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import lowest_first, mean_of_rows
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.metrics.reward_scale import step_threshold
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, Loaded, declared
from plaudit.evaluation.official.error_location import NO_STEP_REWARDS, joined, longest, step_rewards
from plaudit.evaluation.official.files import PlacedRow
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore, LabelCounts
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import Columns, Floats, PromptSums, exact_value, ratio

CLASSES: Mapping[str, int] = ENTRIES["prmbench"]["expected"]
"""Class, spelled as in the data → official number of rows."""

AREAS: Mapping[str, Sequence[str]] = ENTRIES["prmbench"]["tables"]["areas"]
"""Area → its classes."""

REDUNDANCY = AREAS["simplicity"]
"""Classes whose label is whether a step is redundant."""

_PREFIX = re.compile(r"(step\s*\d+\.\s*|\d+\.\s+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Row:
    """One official row."""

    idx: str
    classification: str
    prompt: str
    problem: str
    steps: tuple[str, ...]
    errors: tuple[int, ...]
    repeated: bool


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    """Add each question of a class as one group, with all of its solutions."""
    by_question: dict[tuple[str, str], list[_Row]] = {}
    seen: set[tuple[str, str]] = set()
    for placed in rows:
        row = _row(placed, seen)
        seen.add((row.classification, row.idx))
        by_question.setdefault((row.classification, row.prompt.strip()), []).append(row)
    for (classification, _), own in by_question.items():
        made = [joined(each.steps, _labels(each)) for each in own]
        gathering.add(
            f"{classification}/{own[0].idx}",
            subset=classification,
            prompt=own[0].prompt,
            responses=[response for response, _ in made],
            steps=[steps for _, steps in made],
            rows=len(own),
            facts={
                "ids": [each.idx for each in own],
                "problem": own[0].problem,
                "error_steps": [list(each.errors) for each in own],
                "num_steps": [len(each.steps) for each in own],
                "longest_steps": [longest(each.steps) for each in own],
                "repeated": [each.repeated for each in own],
            },
        )


def _row(placed: PlacedRow, seen: set[tuple[str, str]]) -> _Row:
    row = placed.row
    classification = _known_class(required_text(row, "classification"))
    idx = required_text(row, "idx").removeprefix(f"{classification}_")
    return _Row(
        idx=idx,
        classification=classification,
        prompt=required_text(row, "modified_question"),
        problem=text(row.get("question", idx), "question").strip(),
        steps=tuple(map(_without_number, required_texts(row, "modified_process"))),
        errors=_errors(required(row, "error_steps")),
        repeated=(classification, idx) in seen,
    )


def _known_class(name: str) -> str:
    if name not in CLASSES:
        raise DataError(f"classification is {name!r}; it must be one of {', '.join(CLASSES)}")
    return name


def _errors(value: object) -> tuple[int, ...]:
    places = [whole(each, f"error_steps[{k}]") for k, each in enumerate(list_of(value, "error_steps"))]
    if None in places:
        raise DataError(f"error_steps[{places.index(None)}] is null; it must be the number of a step, from 1")
    return tuple(place for place in places if place is not None)


def _without_number(step: str) -> str:
    """Return ``step`` without "Step 3." or "3." before it, as the official code gives it to models."""
    bare = step.strip()
    return _PREFIX.sub("", bare, count=1) if _PREFIX.match(bare) and _PREFIX.sub("", bare, count=1) else bare


def _labels(row: _Row) -> list[float]:
    return [float(number not in row.errors) for number in range(1, len(row.steps) + 1)]


def _results(rows: Iterator[PlacedRow]) -> list[ItemScore]:
    """Return one item per entry of ``detailed_logs``, which the official code writes, one row for each run.

    An entry has ``idx``, ``error_steps``, the class (``classifcation``) and the model's labels of steps
    (``prediction.scores``). Unchanged solutions, of the class ``correct``, are left out.
    """
    runs = [run for placed in _with_logs(rows) if (run := required_list(placed.row, "detailed_logs"))]
    if len(runs) > 1:
        raise DataError(f"the file holds {len(runs)} runs with a log; keep the row of one, as they are not told apart")
    logs: Sequence[object] = runs[0] if runs else ()
    made: list[ItemScore] = []
    seen: set[str] = set()
    for number, log in enumerate(logs):
        if not isinstance(log, dict):
            raise DataError(f"detailed_logs[{number}] must be an object")
        idx = text(required(log, "idx", f"detailed_logs[{number}]."), f"detailed_logs[{number}].idx")
        classification = next((name for name in (*CLASSES, "correct") if idx.startswith(f"{name}_")), idx)
        if classification == "correct":
            continue
        verdicts = _verdicts(log.get("prediction"), _known_class(classification))
        problem = idx.removeprefix(f"{classification}_")
        made.append(
            ItemScore(
                id=f"prmbench/{classification}/{problem}",
                source=classification,
                prompt_key=problem,
                rewards=(None,),
                lengths=(),
                reason="the model judges steps and gives no rewards" if verdicts is not None else "no judgement",
                metadata={
                    "subset": classification,
                    "ids": [problem],
                    "problem": problem,
                    "error_steps": [list(_errors(log.get("error_steps") or []))],
                    "num_steps": [len(verdicts or ())],
                    "repeated": [idx in seen],
                    "verdicts": [verdicts],
                },
            )
        )
        seen.add(idx)
    return made


def _with_logs(rows: Iterator[PlacedRow]) -> Iterator[PlacedRow]:
    for placed in rows:
        if "detailed_logs" not in placed.row and "model_name" in placed.row and "results" in placed.row:
            raise DataError(
                "the row is a response without the error steps; give the data too: --rewards FILE prmbench=PATH"
            )
        yield placed


_UNMATCHED = "responses_of_no_solution"


def _joined(rows: Iterator[PlacedRow], loaded: Loaded) -> list[ItemScore]:
    """Return the items of the responses that the official code keeps while it runs, with the error steps of the data.

    A row is ``{task_name, model_name, results: {idx, scores: {step_level_validity_labels[], …}}}``, or what stands in
    ``results`` alone. Of several with one ``idx`` the first counts; a solution without a response has no judgement; how
    many responses are of no solution of the data stands in the facts of the first item.
    """
    said: dict[str, list[bool] | None] = {}
    repeats: Counter[str] = Counter()
    for placed in rows:
        response = placed.row.get("results", placed.row)
        if not isinstance(response, Mapping):
            continue  # a failed call is no object; the official code skips it too
        idx = required_text(response, "idx")
        name = next((name for name in CLASSES if idx.startswith(f"{name}_")), None)
        if name is None:
            if not idx.startswith("correct_"):
                raise DataError(f"idx is {idx!r}; it must begin with correct_ or a class: {', '.join(CLASSES)}")
            continue
        repeats[idx] += idx in said
        said.setdefault(idx, _verdicts(response, name))
    items = list(loaded.refused)
    known_ids = {
        f"{facts['subset']}_{each}" for facts in loaded.facts.values() for each in list_of(facts["ids"], "ids")
    }
    unmatched = len(said.keys() - known_ids)
    for group in loaded.groups:
        facts = loaded.facts[group.id]
        ids = [f"{facts['subset']}_{each}" for each in list_of(facts["ids"], "ids")]
        verdicts: list[JsonValue] = [None if (own := said.get(each)) is None else list(own) for each in ids]
        known: dict[str, JsonValue] = {**facts, "verdicts": verdicts, "repeats": sum(repeats[each] for each in ids)}
        if unmatched:
            known[_UNMATCHED], unmatched = unmatched, 0
        rewards = GroupRewards(group.id, (None,) * len(ids), reason="the model judges steps and gives no rewards")
        items.append(item_score(group, rewards).model_copy(update={"metadata": known}))
    return items


def _verdicts(prediction: object, classification: str) -> list[bool] | None:
    """Return for each step whether the model holds it to be right; None where it gave no judgement."""
    if not isinstance(prediction, Mapping) or not prediction.get("validity", True):
        return None
    scores = prediction.get("scores")
    if not isinstance(scores, Mapping):
        return None
    redundant = scores.get("step_level_redundancy_labels") if classification in REDUNDANCY else None
    if redundant is not None:
        return [not label for label in _step_labels(redundant, "step_level_redundancy_labels")]
    valid = scores.get("step_level_validity_labels")
    return None if valid is None else _step_labels(valid, "step_level_validity_labels")


def _step_labels(labels: object, name: str) -> list[bool]:
    found_here = list_of(labels, name)
    for index, label in enumerate(found_here):
        if label not in (0, 1):
            raise DataError(f"{name}[{index}] is {found(label)}; it must be true or false")
    return [bool(label) for label in found_here]


def judged_solutions(items: Sequence[ItemScore], threshold: float) -> list[JudgedSolution]:
    """Return the solutions that count: those whose ``idx`` is the first of its class."""
    found = []
    for item in items:
        facts = {name: item.metadata.get(name) for name in ("error_steps", "num_steps", "longest_steps", "repeated")}
        for k, repeated in enumerate(list_of(facts["repeated"], "repeated")):
            if repeated:
                continue
            count = int(str(list_of(facts["num_steps"], "num_steps")[k]))
            longest_steps = facts["longest_steps"]
            found.append(
                JudgedSolution(
                    classification=str(item.metadata["subset"]),
                    problem=str(item.metadata["problem"]),
                    errors=_errors(list_of(facts["error_steps"], "error_steps")[k]),
                    verdicts=_judgement(item, k, count, threshold),
                    num_steps=count,
                    longest_step=int(str(longest_steps[k])) if isinstance(longest_steps, list) else None,
                )
            )
    return found


def _judgement(item: ItemScore, k: int, count: int, threshold: float) -> tuple[bool, ...] | None:
    given = item.metadata.get("verdicts")
    if isinstance(given, list):
        own = given[k]
        return None if own is None else tuple(bool(each) for each in list_of(own, "verdicts"))
    rewards = step_rewards(item, k, count)
    return None if rewards is None else tuple(reward > threshold for reward in rewards)


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``, pooled, by area and by class, with constant judgements beside them."""
    cut = step_threshold(items)
    solutions = judged_solutions(items, cut.value)
    kept = [each for each in solutions if each.verdicts is not None]
    by_verdicts = any("verdicts" in item.metadata for item in items)
    own = "the model's own labels; of redundency and circular its label redundant, where it gives one"
    found = MetricSet("benchmark", "prm_score", _counts(items))
    found.details = _details(items, solutions)
    found.rules = {
        "threshold": own if by_verdicts else f"right above {cut.value:g}: {cut.rule.partition(':')[0]}",
        "redundancy": "see the threshold" if by_verdicts else "no label redundant: rewards decide in every class",
    }
    several = [each for each in solutions if each.num_steps > 1] or solutions
    if not (by_verdicts or cut.is_known):
        found.absent["prm_score"] = cut.rule
    elif any(each.verdicts is not None for each in several):
        StepJudgements(kept, areas=AREAS).put(found)
    else:
        found.absent["prm_score"] = NO_STEP_REWARDS
    judged = [float(each.verdicts is not None) for each in solutions]
    found.put("valid_share", mean_of_rows(judged, [each.problem for each in solutions]), "there is no solution")
    return found


def _counts(items: Sequence[ItemScore]) -> LabelCounts:
    failed = sum(any(each.verdicts is None for each in judged_solutions([item], 0.0)) for item in items)
    return LabelCounts(n=len(items), scored=len(items) - failed, unscored=0, failed=failed)


def _details(items: Sequence[ItemScore], solutions: Sequence[JudgedSolution]) -> dict[str, int]:
    rows = sum(len(list_of(item.metadata["repeated"], "repeated")) for item in items)
    return {
        "solutions": len(solutions),
        "solutions_without_a_judgement": sum(each.verdicts is None for each in solutions),
        "solutions_judged_in_another_number_of_steps": sum(
            each.verdicts is not None and len(each.verdicts) != each.num_steps for each in solutions
        ),
        "rows_of_a_repeated_idx_left_out": rows - len(solutions),
        "responses_of_no_solution": sum(int(str(item.metadata.get(_UNMATCHED, 0))) for item in items),
        "steps": sum(each.num_steps for each in solutions),
        "wrong_steps": sum(1 <= error <= each.num_steps for each in solutions for error in set(each.errors)),
        "error_steps_out_of_range_ignored": sum(
            not 1 <= error <= each.num_steps for each in solutions if each.num_steps for error in each.errors
        ),
    }


Formula = Callable[[Columns], Floats]
"""Computes a metric [resample] from the totals of solutions."""

_CELLS = ("tp", "fp", "tn", "fn", "first_hit", "first")

_STEPS = ("tp", "fp", "tn", "fn")


@dataclass(frozen=True, slots=True)
class _Ratio:
    """A metric that is the ratio of two sums of cells, over the steps or solutions of ``below``."""

    above: tuple[str, ...]
    below: tuple[str, ...]
    why: str
    """Reason for a missing value."""
    over: tuple[str, ...] | None = None
    """Cells that it is over, where ``below`` counts some twice."""
    needed: tuple[str, ...] = ()
    """Cells of which there must be any, where ``below`` may have others."""


_NO_RIGHT = "no step is right, or held to be"
_NO_WRONG = "no step is wrong"

_BY_CLASS = {
    "f1": _Ratio(("tp", "tp"), ("tp", "tp", "fp", "fn"), _NO_RIGHT, over=_STEPS),
    # Without a wrong step there is nothing to find, whatever was said of the right ones.
    "negative_f1": _Ratio(("tn", "tn"), ("tn", "tn", "fn", "fp"), _NO_WRONG, over=_STEPS, needed=("tn", "fp")),
    "step_accuracy": _Ratio(("tp", "tn"), _STEPS, "there is no step"),
    "first_error_accuracy": _Ratio(("first_hit",), ("first",), "no solution has an error within its steps"),
}
"""Metrics over all classes and for each."""

_WHOLE = {
    "precision": _Ratio(("tp",), ("tp", "fp"), "no step is held to be right"),
    "negative_precision": _Ratio(("tn",), ("tn", "fn"), "no step is held to be wrong"),
    "right_step_accuracy": _Ratio(("tp",), ("tp", "fn"), "no step is right"),
    "wrong_step_accuracy": _Ratio(("tn",), ("tn", "fp"), _NO_WRONG),
}
"""Metrics over all classes only."""


@dataclass(frozen=True, slots=True)
class JudgedSolution:
    """A solution with a judgement of its steps."""

    classification: str
    problem: str
    errors: tuple[int, ...]
    """Numbers of the wrong steps, from 1, as listed."""
    verdicts: tuple[bool, ...] | None
    """Verdict on each step, True for right; None where there is no judgement."""
    num_steps: int
    longest_step: int | None


@final
class StepJudgements:
    """Metrics of judged solutions: of the model, and of rules that read no step."""

    def __init__(self, solutions: Sequence[JudgedSolution], *, areas: Mapping[str, Sequence[str]]) -> None:
        """Take ``solutions``, each with verdicts, and the classes of each area."""
        self._classes = sorted({each.classification for each in solutions})
        self._areas = {area: [name for name in names if name in self._classes] for area, names in areas.items()}
        self._rules = _rules(solutions)
        columns = {
            f"{rule}/{name}/{cell}": [0.0] * len(solutions)
            for rule in self._rules
            for name in self._classes
            for cell in _CELLS
        }
        for row, solution in enumerate(solutions):
            for rule, verdicts in self._rules.items():
                for cell, value in zip(_CELLS, _cells(solution.errors, verdicts[row]), strict=True):
                    columns[f"{rule}/{solution.classification}/{cell}"][row] = value
        self._sums = PromptSums.of_rows(columns, [each.problem for each in solutions])

    def put(self, found: MetricSet) -> None:
        """Put all metrics, of which ``prm_score`` is the first, and the score of each class as a slice."""
        self._put_score(found, "prm_score", [self._classes])
        for metric, made in (_BY_CLASS | _WHOLE).items():
            self._put_ratio(found, metric, made, self._classes)
        for area, names in self._areas.items():
            if names:
                self._put_score(found, area, [[name] for name in names])
        for name in self._classes:
            self._put_score(found, name, [[name]])
            for metric, made in _BY_CLASS.items():
                self._put_ratio(found, f"{name}_{metric}", made, [name])
        slices = {
            name: {"prm_score": metric, **found.baselines[name]}
            for name in self._classes
            if (metric := found.known(name))
        }
        found.slices = lowest_first(slices, "prm_score")

    def _put_score(self, found: MetricSet, name: str, parts: Sequence[Sequence[str]]) -> None:
        """Put the mean over ``parts``, each some classes together, of their scores."""
        made = {rule: _mean([self._score(rule, part) for part in parts]) for rule in self._rules}
        self._put(found, name, made, [each for part in parts for each in part], _STEPS, _NO_RIGHT)

    def _put_ratio(self, found: MetricSet, name: str, given: _Ratio, classes: Sequence[str]) -> None:
        made = {rule: _ratio(given, rule, classes) for rule in self._rules}
        self._put(found, name, made, classes, given.over or given.below, given.why)

    def _put(
        self,
        found: MetricSet,
        name: str,
        formulas: Mapping[str, Formula],
        classes: Sequence[str],
        over: Sequence[str],
        why: str,
    ) -> None:
        """Put the metric of the model, over so many ``over``, and that of every rule beside it."""
        made = {}
        for rule, formula in formulas.items():
            count = self._sums.value(partial(_of, rule=rule, classes=classes, cells=over))
            metric = self._sums.metric(formula, round(count or 0))
            made[rule] = exact_value(metric) if rule == "random" else metric
        found.put(name, made.pop("model"), why)
        found.beside(name, **made)

    def _score(self, rule: str, classes: Sequence[str]) -> Formula:
        """Return the mean of both F1, or, of classes without a wrong step, that of the right ones."""
        first = _ratio(_BY_CLASS["f1"], rule, classes)
        if not self._sums.value(lambda totals: _of(totals, rule, classes, ("fp", "tn"))):
            return first
        second = _ratio(_BY_CLASS["negative_f1"], rule, classes)
        return lambda totals: 0.5 * first(totals) + 0.5 * second(totals)


def _rules(solutions: Sequence[JudgedSolution]) -> dict[str, list[Sequence[float]]]:
    """Return for the model and each rule, by solution, how far each step is held to be right: 1, 0, or ½ by a coin."""
    rules: dict[str, list[Sequence[float]]] = {"model": [tuple(map(float, each.verdicts or ())) for each in solutions]}
    counts = [len(each.verdicts or ()) for each in solutions]
    rules["every_step_right"] = [(1.0,) * count for count in counts]
    rules["every_step_wrong"] = [(0.0,) * count for count in counts]
    rules["first_step_wrong"] = [(0.0,) * min(count, 1) + (1.0,) * (count - 1) for count in counts]
    if all(each.longest_step is not None for each in solutions):
        rules["longest_step_wrong"] = [
            tuple(float(step != each.longest_step) for step in range(count))
            for each, count in zip(solutions, counts, strict=True)
        ]
    rules["random"] = [(0.5,) * count for count in counts]
    return rules


def _cells(errors: Collection[int], right: Sequence[float]) -> tuple[float, ...]:
    """Return TP, FP, TN, FN over the steps, whether the first error is judged wrong, and whether there is one.

    A step counts as right by its share in ``right``. Numbers in ``errors`` that name no step are ignored.
    """
    tp = sum(share for number, share in enumerate(right, start=1) if number not in errors)
    fp = sum(share for number, share in enumerate(right, start=1) if number in errors)
    wrong = sum(number in errors for number in range(1, len(right) + 1))
    first = min(errors, default=0)
    there = 1 <= first <= len(right)
    return tp, fp, wrong - fp, len(right) - wrong - tp, 1.0 - right[first - 1] if there else 0.0, float(there)


def _of(totals: Columns, rule: str, classes: Sequence[str], cells: Sequence[str]) -> Floats:
    """Return [resample] the sum of ``cells`` over ``classes``."""
    return np.sum([totals.sum(f"{rule}/{name}/{cell}" for name in classes) for cell in cells], axis=0)


def _ratio(made: _Ratio, rule: str, classes: Sequence[str]) -> Formula:
    def formula(totals: Columns) -> Floats:
        value = ratio(_of(totals, rule, classes, made.above), _of(totals, rule, classes, made.below))
        return np.where(_of(totals, rule, classes, made.needed or made.below) > 0, value, np.nan)

    return formula


def _mean(formulas: Sequence[Formula]) -> Formula:
    return lambda totals: np.mean([formula(totals) for formula in formulas], axis=0)


PRMBENCH = declared("prmbench", read=_read, compute=metrics, results=_results, joined=_joined)
