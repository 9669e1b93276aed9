"""How judgements of steps agree with their labels, pooled over solutions: F1 of right and of wrong steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import numpy as np

from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.evaluation.metrics.pooled import Floats, Formula, Pool, Sums, ratio
from plaudit.records import Interval

_CELLS = ("tp", "fp", "tn", "fn", "first_hit", "first")

_STEPS = ("tp", "fp", "tn", "fn")
_OVER = {
    "precision": ("tp", "fp"),
    "negative_precision": ("tn", "fn"),
    "right_step_accuracy": ("tp", "fn"),
    "wrong_step_accuracy": ("tn", "fp"),
    "first_error_accuracy": ("first",),
}
"""What a figure is over, where it is not over all steps."""

_Score = Callable[[str, Sequence[str]], Formula]

_WHOLE = ("precision", "negative_precision", "right_step_accuracy", "wrong_step_accuracy")
"""Figures over all classes only."""

_BY_CLASS = ("f1", "negative_f1", "step_accuracy", "first_error_accuracy")
"""Figures over all classes and for each."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A solution with a judgement of its steps."""

    classification: str
    problem: str
    errors: tuple[int, ...]
    """Numbers of the wrong steps, from 1, as listed."""
    verdicts: tuple[bool, ...] | None
    """Whether each step is held to be right; None where there is no judgement."""
    num_steps: int
    longest_step: int | None


@final
class StepJudgements:
    """Figures of judged solutions: of the model, and of rules that read no step."""

    def __init__(self, solutions: Sequence[Judged], *, areas: Mapping[str, Sequence[str]], estimate: Estimator) -> None:
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
        self._pool = Pool(columns, [each.problem for each in solutions], estimate)

    def put(self, found: Findings) -> None:
        """Put all figures; ``prm_score`` is the first."""
        self._put(found, "prm_score", "prm_score", self._classes)
        for figure in (*_BY_CLASS, *_WHOLE):
            self._put(found, figure, figure, self._classes)
        for area, names in self._areas.items():
            if names:
                made = {
                    rule: self._interval(rule, _mean(self._score, rule, names), names, _STEPS) for rule in self._rules
                }
                found.put(area, made.pop("model"), "no class of it is here")
                found.beside(area, **made)
        for name in self._classes:
            self._put(found, name, "prm_score", [name])
            for figure in _BY_CLASS:
                self._put(found, f"{name}_{figure}", figure, [name])

    def worst_first(self) -> dict[str, dict[str, Interval]]:
        """Return the score of each class and that of the rules, the worst class first."""
        slices: dict[str, dict[str, Interval]] = {}
        for name in self._classes:
            figures = {
                "prm_score" if rule == "model" else rule: self._interval(
                    rule, self._score(rule, [name]), [name], _STEPS
                )
                for rule in self._rules
            }
            slices[name] = {figure: each for figure, each in figures.items() if each is not None}
        kept = {name: figures for name, figures in slices.items() if "prm_score" in figures}
        return dict(sorted(kept.items(), key=lambda pair: (pair[1]["prm_score"].value, pair[0])))

    def _put(self, found: Findings, name: str, figure: str, classes: Sequence[str]) -> None:
        over = _OVER.get(figure, _STEPS)
        made = {rule: self._interval(rule, self._formula(figure, rule, classes), classes, over) for rule in self._rules}
        found.put(name, made.pop("model"), _WHY[figure])
        found.beside(name, **made)

    def _interval(self, rule: str, formula: Formula, classes: Sequence[str], over: Sequence[str]) -> Interval | None:
        count = self._pool.value(lambda sums: np.sum([_of(sums, rule, classes, cell) for cell in over], axis=0))
        make = self._pool.exact if rule == "random" else self._pool.figure
        return make(formula, round(count or 0))

    def _formula(self, figure: str, rule: str, classes: Sequence[str]) -> Formula:
        return self._score(rule, classes) if figure == "prm_score" else _FORMULAS[figure](rule, classes)

    def _score(self, rule: str, classes: Sequence[str]) -> Formula:
        """Return the mean of both F1, or, of classes without a wrong step, that of the right ones."""
        if not self._pool.value(lambda sums: _of(sums, rule, classes, "fp") + _of(sums, rule, classes, "tn")):
            return _f1(rule, classes)
        first, second = _f1(rule, classes), _negative_f1(rule, classes)
        return lambda sums: 0.5 * first(sums) + 0.5 * second(sums)


def _rules(solutions: Sequence[Judged]) -> dict[str, list[Sequence[float]]]:
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


def _of(sums: Sums, rule: str, classes: Sequence[str], cell: str) -> Floats:
    return np.sum([sums.of(f"{rule}/{name}/{cell}") for name in classes], axis=0)


def _confusion(sums: Sums, rule: str, classes: Sequence[str]) -> tuple[Floats, Floats, Floats, Floats]:
    tp, fp, tn, fn = (_of(sums, rule, classes, cell) for cell in ("tp", "fp", "tn", "fn"))
    return tp, fp, tn, fn


def _share(rule: str, classes: Sequence[str], part: Sequence[str], whole: Sequence[str]) -> Formula:
    def formula(sums: Sums) -> Floats:
        above, below = (np.sum([_of(sums, rule, classes, cell) for cell in cells], axis=0) for cells in (part, whole))
        return ratio(above, below)

    return formula


def _f1(rule: str, classes: Sequence[str]) -> Formula:
    def formula(sums: Sums) -> Floats:
        tp, fp, _, fn = _confusion(sums, rule, classes)
        return ratio(2 * tp, 2 * tp + fp + fn)

    return formula


def _negative_f1(rule: str, classes: Sequence[str]) -> Formula:
    def formula(sums: Sums) -> Floats:
        _, fp, tn, fn = _confusion(sums, rule, classes)
        # Without a wrong step there is nothing to find, whatever was said of the right ones.
        return np.where(tn + fp > 0, ratio(2 * tn, 2 * tn + fn + fp), np.nan)

    return formula


def _mean(score: _Score, rule: str, classes: Sequence[str]) -> Formula:
    formulas = [score(rule, [name]) for name in classes]
    return lambda sums: np.mean([formula(sums) for formula in formulas], axis=0)


_FORMULAS = {
    "f1": _f1,
    "negative_f1": _negative_f1,
    "precision": partial(_share, part=("tp",), whole=_OVER["precision"]),
    "negative_precision": partial(_share, part=("tn",), whole=_OVER["negative_precision"]),
    "step_accuracy": partial(_share, part=("tp", "tn"), whole=_STEPS),
    "right_step_accuracy": partial(_share, part=("tp",), whole=_OVER["right_step_accuracy"]),
    "wrong_step_accuracy": partial(_share, part=("tn",), whole=_OVER["wrong_step_accuracy"]),
    "first_error_accuracy": partial(_share, part=("first_hit",), whole=_OVER["first_error_accuracy"]),
}

_WHY = {
    "prm_score": "no step is right, or held to be",
    "f1": "no step is right, or held to be",
    "negative_f1": "no step is wrong",
    "precision": "no step is held to be right",
    "negative_precision": "no step is held to be wrong",
    "step_accuracy": "there is no step",
    "right_step_accuracy": "no step is right",
    "wrong_step_accuracy": "no step is wrong",
    "first_error_accuracy": "no solution has an error within its steps",
}
