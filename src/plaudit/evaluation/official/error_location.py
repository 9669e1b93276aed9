"""Benchmarks that ask for the first wrong step of a solution: their groups, and how exactly it is located.

A prediction is the first step whose reward is below a threshold, or that there is no error. It is right where it is
exactly the label. A solution whose steps do not all have a reward has no prediction, and counts as not located.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import final

import numpy as np
from pydantic import JsonValue

from plaudit.data.reading.sources.fields import Row, found, items, required, text, whole
from plaudit.data.schema.group import Step
from plaudit.errors import DataError
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings, decision
from plaudit.evaluation.metrics.pooled import Floats, Formula, Pool, Sums, harmonic, ratio
from plaudit.evaluation.official.benchmark import Gathering
from plaudit.records import Interval, ItemScore, LabelCounts
from plaudit.statistics.aggregation import first_error

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
    steps = tuple(text(step, f"steps[{index}]") for index, step in enumerate(items(required(row, "steps"), "steps")))
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
        made = [joined(each.steps, _labels(each)) for each in own]
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
    """Return what the figures need to know of the solutions of one group."""
    return {
        "ids": [each.id for each in solutions],
        "errors": [each.error for each in solutions],
        "num_steps": [len(each.steps) for each in solutions],
        "longest_steps": [longest(each.steps) for each in solutions],
    }


def _labels(solution: LabelledSolution) -> list[float | None]:
    """Return 1 for each step before the first error, 0 for it, and null for those behind it: nobody judged them."""
    count, error = len(solution.steps), solution.error
    return [1.0] * count if error == NO_ERROR else [1.0] * error + [0.0] + [None] * (count - error - 1)


def longest(steps: Sequence[str]) -> int:
    """Return the position of the step with the most characters, the first of such."""
    return max(range(len(steps)), key=lambda index: len(steps[index]), default=0)


@dataclass(frozen=True, slots=True)
class Solution:
    """One solution of an item, with what a model says of it."""

    subset: str
    prompt: str
    error: int
    num_steps: int
    longest_step: int
    rewards: tuple[float, ...] | None
    """One per step, or None where one is missing."""
    predicted: int | None
    """Of a model that names the first wrong step itself; None where it did not, or gives rewards."""

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
    columns = (_integers(item, name) for name in ("errors", "num_steps", "longest_steps"))
    for k, (error, num_steps, longest) in enumerate(zip(*columns, strict=True)):
        predicted = item.facts.get("predictions")
        guess = predicted[k] if isinstance(predicted, list) else None
        yield Solution(
            subset=str(item.facts["subset"]),
            prompt=item.prompt_key,
            error=error,
            num_steps=num_steps,
            longest_step=longest,
            rewards=step_rewards(item, k, num_steps),
            predicted=guess if isinstance(guess, int) else None,
        )


def _integers(item: ItemScore, name: str) -> list[int]:
    values = item.facts[name]
    assert isinstance(values, list)
    return [int(str(value)) for value in values]


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


def threshold_of(solutions: Sequence[Solution]) -> tuple[float, str]:
    """Return where rewards of steps part right from wrong, ½ of probabilities and 0 of log-odds, and why, in words."""
    if any(each.rewards is None and each.predicted is not None for each in solutions):
        return 0.5, "none: the model names the first wrong step itself"
    every = np.array([reward for each in solutions for reward in each.rewards or ()], dtype=float)
    cut = decision(every, name="step reward")
    return cut.threshold, f"{cut.threshold:g}: {cut.rule}{f'; {cut.reason}' if cut.reason else ''}"


def located_counts(given: Sequence[ItemScore]) -> LabelCounts:
    """Return how many items have a prediction for each of their solutions (scored) and how many do not (failed)."""
    failed = sum(any(each.guess(0.0) is None for each in _solutions(item)) for item in given)
    return LabelCounts(n=len(given), scored=len(given) - failed, unscored=0, failed=failed)


def solution_counts(given: Sequence[ItemScore], solutions: Sequence[Solution]) -> dict[str, int]:
    """Return what the figures of items rest on, and how many solutions have the id of another of their subset.

    A prediction that names no step, as 99 of three, locates nothing: such are counted, where there are any.
    """
    ids = [(item.facts["subset"], id) for item in given for id in items(item.facts["ids"], "ids")]
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


def constant_guesses(solutions: Sequence[Solution]) -> dict[str, list[int | None]]:
    """Return the predictions of rules that read no step: no error, the first step, the longest step."""
    return {
        "no_error": [NO_ERROR] * len(solutions),
        "first_step": [0] * len(solutions),
        "longest_step": [each.longest_step for each in solutions],
    }


@final
@dataclass
class Locations:
    """Shares of solutions whose first error is located exactly: of a model, and of rules that read nothing."""

    solutions: Sequence[Solution]
    guesses: Mapping[str, Sequence[int | None]]
    """Of each rule, and of the ``model``, the prediction for each solution."""
    estimate: Estimator
    _right: dict[str, Floats] = field(init=False)
    _counted: dict[str, np.ndarray] = field(init=False)
    _erroneous: np.ndarray = field(init=False)
    _pool: Pool = field(init=False)

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
        self._pool = Pool(self._columns(), [each.prompt for each in self.solutions], self.estimate)

    @property
    def subsets(self) -> list[str]:
        """Return the subsets that have a solution."""
        return sorted({each.subset for each in self.solutions})

    def f1(self, rule: str, parts: Sequence[Collection[str]]) -> Interval | None:
        """Return the harmonic mean of both accuracies over the subsets of each part, as a mean over the parts.

        A part that lacks solutions of a kind does not count; None where every one does.
        """
        counted = self._counted[rule]
        whole = [part for part in parts if len(np.unique(self._erroneous[self._of(part) & counted])) == 2]
        if not whole:
            return None
        n = int(sum((self._of(part) & counted).sum() for part in whole))
        make = self._pool.exact if rule == "random" else self._pool.figure
        return make(_mean_f1(rule, whole), n)

    def accuracy(self, rule: str, subsets: Collection[str], *, erroneous: bool | None = None) -> Interval | None:
        """Return the share of solutions that are located exactly, of one kind where ``erroneous`` is given."""
        rows = self._of(subsets) & self._counted[rule]
        if erroneous is not None:
            rows &= self._erroneous == erroneous
        right = self._right[rule][rows]
        if rule == "random" and len(right):
            value = float(right.mean())
            return Interval(
                value=value, low=value, high=value, confidence=self.estimate.confidence, method="exact", n=len(right)
            )
        return self.estimate.share(right, np.array([each.prompt for each in self.solutions])[rows])

    def mean_accuracy(self, rule: str, subsets: Sequence[str]) -> Interval | None:
        """Return the mean over ``subsets`` of their accuracy."""
        make = self._pool.exact if rule == "random" else self._pool.figure

        def formula(sums: Sums) -> Floats:
            return np.mean([_accuracy(sums, rule, [subset], ("erroneous", "correct")) for subset in subsets], axis=0)

        return make(formula, int(self._of(subsets).sum())) if subsets else None

    def put_f1(self, found: Findings, name: str, parts: Sequence[Collection[str]]) -> None:
        """Put the model's F1 as figure ``name``, and that of every rule beside it."""
        found.put(name, self.f1("model", parts), BOTH_KINDS)
        found.beside(name, **{rule: self.f1(rule, parts) for rule in self.rules})

    def put_accuracy(
        self, found: Findings, name: str, subsets: Collection[str], *, erroneous: bool | None = None
    ) -> None:
        """Put the model's accuracy as figure ``name``, and that of every rule beside it."""
        kind = {True: " with an error", False: " without an error", None: ""}[erroneous]
        found.put(name, self.accuracy("model", subsets, erroneous=erroneous), f"there is no solution{kind}")
        beside = {rule: self.accuracy(rule, subsets, erroneous=erroneous) for rule in self.rules}
        found.beside(name, **beside)

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


def _accuracy(sums: Sums, rule: str, subsets: Collection[str], kinds: Sequence[str]) -> Floats:
    names = [f"{rule}/{subset}/{kind}" for subset in subsets for kind in kinds]
    right, count = (np.sum([sums.of(f"{name}/{end}") for name in names], axis=0) for end in ("right", "n"))
    return ratio(right, count)


def _mean_f1(rule: str, parts: Sequence[Collection[str]]) -> Formula:
    def formula(sums: Sums) -> Floats:
        return np.mean(
            [harmonic(*(_accuracy(sums, rule, part, (kind,)) for kind in ("erroneous", "correct"))) for part in parts],
            axis=0,
        )

    return formula
