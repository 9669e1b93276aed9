"""Benchmarks that ask for the first wrong step of a solution: their groups, and how exactly it is located.

A prediction is the first step whose reward is below a threshold, or that there is no error. It is right where it is
exactly the label. A solution whose steps do not all have a reward has no prediction, and counts as not located.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import final

import numpy as np
from pydantic import JsonValue

from plaudit.data.reading.sources.fields import Row, found, items, required, required_texts, whole
from plaudit.data.schema.group import Step
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import lowest_first
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.metrics.reward_scale import Threshold, step_threshold
from plaudit.evaluation.official.benchmark import Gathering
from plaudit.records import ItemScore, LabelCounts
from plaudit.statistics.metric import (
    Columns,
    Exact,
    Floats,
    Metric,
    PromptSums,
    RowMean,
    exact_value,
    harmonic,
    ratio,
)
from plaudit.statistics.steps import first_error

NO_ERROR = -1
"""Label and prediction of a solution without an error."""

BOTH_KINDS = "F1 needs solutions with an error and solutions without"

NO_STEP_REWARDS = "the model gives no rewards to steps"

_SEPARATOR = "\n"


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """One official row: a solution in steps and its first wrong step, from 0, or ``NO_ERROR``."""

    id: str
    subset: str
    prompt: str
    steps: tuple[str, ...]
    error: int


def labelled_solution(row: Row, *, id: str, subset: str, prompt: str, label: str, none: int | None) -> LabelledSolution:
    """Return the solution of an official row; its field ``label`` is a position in ``steps``, or ``none``.

    Raises:
        DataError: naming the field that is missing or of another kind.
    """
    steps = required_texts(row, "steps")
    if label not in row:
        required(row, label)
    position = whole(row[label], label)
    if position == none:
        return LabelledSolution(id, subset, prompt, steps, NO_ERROR)
    if position is None or not 0 <= position < len(steps):
        allowed = "null" if none is None else none
        raise DataError(
            f"{label} is {found(row[label])}; it must be the position of one of the {len(steps)} steps, from 0, "
            f"or {allowed} for no error"
        )
    return LabelledSolution(id, subset, prompt, steps, position)


def joined(texts: Sequence[str], labels: Sequence[float | None]) -> tuple[str, tuple[Step, ...]]:
    """Return the response that steps make, each on a line of its own, and the labelled steps."""
    ends = accumulate((len(each) + len(_SEPARATOR) for each in texts), initial=-len(_SEPARATOR))
    next(ends)
    return _SEPARATOR.join(texts), tuple(Step(end, label) for end, label in zip(ends, labels, strict=True))


def gather(solutions: Sequence[LabelledSolution], gathering: Gathering) -> None:
    """Add each problem of a subset as one group, with all of its solutions, under the id of the first of them.

    Shorter ids come first, then those earlier in the alphabet: a group does not depend on the order of the rows.
    """
    by_problem: dict[tuple[str, str], list[LabelledSolution]] = {}
    for solution in solutions:
        by_problem.setdefault((solution.subset, solution.prompt.strip()), []).append(solution)
    for (subset, _), found_here in by_problem.items():
        own = sorted(found_here, key=lambda each: (len(each.id), each.id))
        made = [joined(each.steps, labels_of_steps(each)) for each in own]
        gathering.add(
            own[0].id,
            subset=subset,
            prompt=own[0].prompt,
            responses=[response for response, _ in made],
            steps=[steps for _, steps in made],
            rows=len(own),
            facts=facts_of(own),
        )


def facts_of(solutions: Sequence[LabelledSolution]) -> dict[str, JsonValue]:
    """Return the metadata of one group's solutions that the metrics need."""
    return {
        "ids": [each.id for each in solutions],
        "errors": [each.error for each in solutions],
        "num_steps": [len(each.steps) for each in solutions],
        "longest_steps": [longest(each.steps) for each in solutions],
    }


def labels_of_steps(solution: LabelledSolution) -> list[float | None]:
    """Return 1 for each step before the first error, 0 for it, and null for those behind it: nobody judged them."""
    count, error = len(solution.steps), solution.error
    return [1.0] * count if error == NO_ERROR else [1.0] * error + [0.0] + [None] * (count - error - 1)


def longest(steps: Sequence[str]) -> int:
    """Return the position of the step with the most characters, the first of such."""
    return max(range(len(steps)), key=lambda index: len(steps[index]), default=0)


@dataclass(frozen=True, slots=True)
class Solution:
    """One solution of an item, with the model's prediction."""

    subset: str
    prompt: str
    error: int
    num_steps: int
    longest_step: int
    rewards: tuple[float, ...] | None
    """One per step, or None where one is missing."""
    predicted: int | None
    """First wrong step as named by the model; None where it did not, or gives rewards."""

    def guess(self, threshold: float) -> int | None:
        """Return the prediction at ``threshold``; None where there is none."""
        if self.rewards is None:
            return self.predicted
        place = first_error(self.rewards, threshold=threshold)
        return NO_ERROR if place is None else place


def solutions_of(given: Sequence[ItemScore]) -> list[Solution]:
    """Return the solutions of all items, in order."""
    return [solution for item in given for solution in _solutions(item)]


def _solutions(item: ItemScore) -> Iterator[Solution]:
    names = ("errors", "num_steps", "longest_steps")
    columns = ([int(str(value)) for value in items(item.metadata[name], name)] for name in names)
    for k, (error, num_steps, longest) in enumerate(zip(*columns, strict=True)):
        predicted = item.metadata.get("predictions")
        guess = predicted[k] if isinstance(predicted, list) else None
        yield Solution(
            subset=str(item.metadata["subset"]),
            prompt=item.prompt_key,
            error=error,
            num_steps=num_steps,
            longest_step=longest,
            rewards=step_rewards(item, k, num_steps),
            predicted=guess if isinstance(guess, int) else None,
        )


def step_rewards(item: ItemScore, k: int, count: int) -> tuple[float, ...] | None:
    """Return the rewards of the ``count`` steps of response ``k``, or None where one of them is missing."""
    steps = None if item.steps is None else item.steps[k]
    if steps is None or len(steps) != count:
        return None
    rewards = tuple(reward for reward in steps if reward is not None)
    return rewards if len(rewards) == count else None


def says_where(solutions: Sequence[Solution]) -> bool:
    """Return whether the model locates errors: a model that judges a response as a whole gives it one step reward."""
    if any(each.predicted is not None for each in solutions):
        return True
    several = [each for each in solutions if each.num_steps > 1]
    return any(each.rewards is not None for each in several or solutions)


def threshold_of(items: Sequence[ItemScore], solutions: Sequence[Solution]) -> Threshold:
    """Return where rewards of steps part right from wrong (see ``step_threshold``)."""
    if any(each.rewards is None and each.predicted is not None for each in solutions):
        return Threshold(0.5, "none: the model names the first wrong step itself")
    return step_threshold(items)


def located_counts(given: Sequence[ItemScore]) -> LabelCounts:
    """Return how many items have a prediction for each of their solutions (scored) and how many do not (failed)."""
    failed = sum(any(each.guess(0.0) is None for each in _solutions(item)) for item in given)
    return LabelCounts(n=len(given), scored=len(given) - failed, unscored=0, failed=failed)


def solution_counts(given: Sequence[ItemScore], solutions: Sequence[Solution]) -> dict[str, int]:
    """Return the counts behind the metrics, and the number of solutions with a repeated id in their subset.

    A prediction that names no step, as 99 of three, locates nothing: such are counted, where there are any.
    """
    ids = [(item.metadata["subset"], id) for item in given for id in items(item.metadata["ids"], "ids")]
    erroneous = sum(each.error != NO_ERROR for each in solutions)
    predicted = [(each.predicted, each.num_steps) for each in solutions if each.predicted is not None]
    no_step = sum(not NO_ERROR <= guess < count for guess, count in predicted)
    return {
        "solutions": len(solutions),
        "solutions_with_an_error": erroneous,
        "solutions_without_an_error": len(solutions) - erroneous,
        "solutions_without_a_prediction": sum(each.guess(0.0) is None for each in solutions),
        "solutions_of_a_repeated_id": len(ids) - len(set(ids)),
        "steps": sum(each.num_steps for each in solutions),
        **({"predictions_of_no_step": no_step} if no_step else {}),
    }


@final
@dataclass
class Locations:
    """Proportions of solutions whose first error is located exactly: of a model, and of rules that read nothing."""

    solutions: Sequence[Solution]
    guesses: Mapping[str, Sequence[int | None]]
    """Predictions for each solution, by rule, with those of the ``model``."""
    _right: dict[str, Floats] = field(init=False)
    _counted: dict[str, np.ndarray] = field(init=False)
    _erroneous: np.ndarray = field(init=False)
    _sums: PromptSums = field(init=False)

    def __post_init__(self) -> None:
        """Compare every prediction with its label."""
        errors = [each.error for each in self.solutions]
        self._erroneous = np.array([error != NO_ERROR for error in errors], dtype=bool)
        self._right = {
            rule: np.array([float(guess == error) for guess, error in zip(guesses, errors, strict=True)])
            for rule, guesses in self.guesses.items()
        }
        # A prediction at random is any of the steps, or that there is no error.
        self._right["random"] = np.array([1.0 / (1 + each.num_steps) for each in self.solutions])
        self._counted = {rule: np.ones(len(self.solutions), dtype=bool) for rule in self._right}
        guessed = np.array([guess is not None for guess in self.guesses["model"]], dtype=bool)
        self._right["scored"], self._counted["scored"] = self._right["model"], guessed
        self._sums = PromptSums.of_rows(self._columns(), [each.prompt for each in self.solutions])

    @property
    def subsets(self) -> list[str]:
        """Return the subsets that have a solution."""
        return sorted({each.subset for each in self.solutions})

    def f1(self, rule: str, parts: Sequence[Collection[str]]) -> Metric | None:
        """Return the harmonic mean of both accuracies over the subsets of each part, as a mean over the parts.

        A part that lacks solutions of a kind does not count; None where every one does.
        """
        counted = self._counted[rule]
        whole = [part for part in parts if len(np.unique(self._erroneous[self._of(part) & counted])) == 2]
        if not whole:
            return None
        n = int(sum((self._of(part) & counted).sum() for part in whole))
        return self._metric(rule, lambda totals: _mean_f1(totals, rule, whole), n)

    def accuracy(self, rule: str, subsets: Collection[str], *, erroneous: bool | None = None) -> Metric | None:
        """Return the proportion of solutions that are located exactly, of one kind where ``erroneous`` is given."""
        rows = self._of(subsets) & self._counted[rule]
        if erroneous is not None:
            rows &= self._erroneous == erroneous
        right = self._right[rule][rows]
        if not len(right):
            return None
        if rule == "random":
            return Exact(float(right.mean()), len(right))
        return RowMean(right, np.array([each.prompt for each in self.solutions], dtype=object)[rows])

    def mean_accuracy(self, rule: str, subsets: Sequence[str]) -> Metric | None:
        """Return the mean over ``subsets`` of their accuracy."""

        def formula(totals: Columns) -> Floats:
            return np.mean([_accuracy(totals, rule, [subset], ("erroneous", "correct")) for subset in subsets], axis=0)

        return self._metric(rule, formula, int(self._of(subsets).sum())) if subsets else None

    def _metric(self, rule: str, formula: Callable[[Columns], Floats], n: int) -> Metric | None:
        made = self._sums.metric(formula, n)
        return exact_value(made) if rule == "random" else made

    def put(self, found: MetricSet, name: str, made: Callable[[str], Metric | None], why: str) -> None:
        """Put the metric that ``made`` returns of the model's predictions, and that of every rule beside it."""
        found.put(name, made("model"), why)
        found.beside(name, **{rule: made(rule) for rule in self.rules})

    def put_f1(self, found: MetricSet, name: str, parts: Sequence[Collection[str]]) -> None:
        """Put the F1 over ``parts`` as metric ``name``."""
        self.put(found, name, lambda rule: self.f1(rule, parts), BOTH_KINDS)

    def put_accuracy(
        self, found: MetricSet, name: str, subsets: Collection[str], *, erroneous: bool | None = None
    ) -> None:
        """Put the accuracy over ``subsets`` as metric ``name``."""
        kind = {True: " with an error", False: " without an error", None: ""}[erroneous]
        why = f"there is no solution{kind}"
        self.put(found, name, lambda rule: self.accuracy(rule, subsets, erroneous=erroneous), why)

    def slices(self, primary: str, made: Callable[[str, str], Metric | None]) -> dict[str, dict[str, Metric]]:
        """Return by subset the metrics that ``made`` gives for the model and each rule, the lowest first."""
        named = {primary: "model"} | {rule: rule for rule in self.rules}
        slices = {
            subset: {name: metric for name, rule in named.items() if (metric := made(rule, subset)) is not None}
            for subset in self.subsets
        }
        return lowest_first({subset: metrics for subset, metrics in slices.items() if primary in metrics}, primary)

    @property
    def rules(self) -> list[str]:
        """Return the rules that stand beside the model."""
        return [rule for rule in self._right if rule not in ("model", "scored")]

    def _of(self, subsets: Collection[str]) -> np.ndarray:
        return np.array([each.subset in subsets for each in self.solutions], dtype=bool)

    def _columns(self) -> dict[str, Floats]:
        columns: dict[str, Floats] = {}
        for subset in self.subsets:
            for kind, rows in (("erroneous", self._erroneous), ("correct", ~self._erroneous)):
                inside = self._of([subset]) & rows
                for rule, right in self._right.items():
                    counted = (inside & self._counted[rule]).astype(float)
                    columns[f"{rule}/{subset}/{kind}/right"] = right * counted
                    columns[f"{rule}/{subset}/{kind}/n"] = counted
        return columns


def _accuracy(totals: Columns, rule: str, subsets: Collection[str], kinds: Sequence[str]) -> Floats:
    names = [f"{rule}/{subset}/{kind}" for subset in subsets for kind in kinds]
    return ratio(totals.sum(f"{name}/right" for name in names), totals.sum(f"{name}/n" for name in names))


def _mean_f1(totals: Columns, rule: str, parts: Sequence[Collection[str]]) -> Floats:
    kinds = ("erroneous", "correct")
    return np.mean([harmonic(*(_accuracy(totals, rule, part, (kind,)) for kind in kinds)) for part in parts], axis=0)


def located(solutions: Sequence[Solution], threshold: float, **rivals: Sequence[int | None]) -> Locations:
    """Return the model's predictions at ``threshold``, with ``rivals`` and rules that read no step beside it.

    These say that there is no error, or name the first step, or the longest one.
    """
    guesses = {
        "model": [each.guess(threshold) for each in solutions],
        **rivals,
        "no_error": [NO_ERROR] * len(solutions),
        "first_step": [0] * len(solutions),
        "longest_step": [each.longest_step for each in solutions],
    }
    return Locations(solutions, guesses)


def first_error_metrics(
    items: Sequence[ItemScore], primary: str, put: Callable[[MetricSet, Locations, float], None]
) -> MetricSet:
    """Return the metrics that ``put`` puts of the predictions at the threshold, with the counts that they rest on.

    There are none of a model that gives no rewards to steps.
    """
    solutions = solutions_of(items)
    found = MetricSet("benchmark", primary, located_counts(items))
    cut = threshold_of(items, solutions)
    found.rules, found.details = {"threshold": cut.rule}, solution_counts(items, solutions)
    if not says_where(solutions):
        found.absent[primary] = NO_STEP_REWARDS
    elif not cut.is_known:
        found.absent[primary] = cut.rule
    else:
        put(found, located(solutions, cut.value), cut.value)
    return found
