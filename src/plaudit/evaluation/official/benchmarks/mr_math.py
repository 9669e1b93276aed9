"""MR-MATH: solutions with a right final answer, of which the first invalid step is known, or that there is none.

- A solution: its reward is the lowest of its steps; ``solution_f1`` is the mean of the F1 of valid and of invalid
  solutions, judged valid above the threshold ½, ``solution_auc`` the area under the ROC curve;
- a step: ``step_f1`` and ``step_auc`` are the same over the steps up to the first invalid one, as nobody judged those
  behind it.

A step of the data may have several lines; a reward for each of them counts by the lowest. ReasonEval gives a step three
probabilities: invalid, redundant and useful; the sum of the last two is the reward. The second half of the data, with
redundant steps, needs the three of them from a model, and is not read.

Source: Xia et al. (2024), arXiv 2404.05692, with the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from plaudit.data.reading.sources.fields import (
    each,
    is_list,
    items,
    required,
    required_list,
    required_text,
    text,
    whole,
)
from plaudit.errors import DataError
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import Gathering, Loaded, declared
from plaudit.evaluation.official.benchmarks.prmbench import JudgedSolution, StepJudgements
from plaudit.evaluation.official.error_location import (
    NO_ERROR,
    NO_STEP_REWARDS,
    LabelledSolution,
    Solution,
    facts_of,
    joined,
    labels_of_steps,
    located_counts,
    solution_counts,
    solutions_of,
    threshold_of,
)
from plaudit.evaluation.official.files import PlacedRow, recorded
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards

SUBSET = "invalid_errors"
_BOTH = "it needs valid ones and invalid ones"


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    """Add each solution as a group of one response, its steps of several lines joined."""
    for placed in rows:
        row = placed.row
        field = "model_output_step_format"
        steps = [each(step, field, text) for step in required_list(row, field)]
        name = str(required(row, "id"))
        lines = tuple("\n".join(step) for step in steps)
        solution = LabelledSolution(name, SUBSET, required_text(row, "question"), lines, _error(placed, len(steps)))
        response, labelled = joined(lines, labels_of_steps(solution))
        gathering.add(
            name,
            subset=SUBSET,
            prompt=solution.prompt,
            responses=[response],
            steps=[labelled],
            facts={**facts_of([solution]), "lines": [len(step) for step in steps]},
        )


def _error(placed: PlacedRow, count: int) -> int:
    """Return the first invalid step, from 0, or ``NO_ERROR``; the data counts from 1."""
    name = "model_output_solution_first_error_step"
    if required_text(placed.row, "model_output_solution_correctness") == "correct":
        return NO_ERROR
    number = whole(required(placed.row, name), name)
    if number is None or not 1 <= number <= count:
        raise DataError(f"{name} is {number}; it must be the number of one of the {count} steps, from 1")
    return number - 1


def _joined(rows: Iterator[PlacedRow], loaded: Loaded) -> list[ItemScore]:
    """Return the items of ``MODEL_eval_results.json``: ``{id, scores}``, a score or three probabilities per line."""
    groups = {group.id.partition("/")[2]: group for group in loaded.groups}
    found = []
    for placed in rows:
        name = str(required(placed.row, "id"))
        if name not in groups:
            raise DataError(f"id is {name}; the data has no such solution")
        group = groups.pop(name)
        lines = [int(str(count)) for count in items(loaded.facts[group.id]["lines"], "lines")]
        steps = _steps(required_list(placed.row, "scores"), lines)
        rewards = GroupRewards(group.id, (min(steps),), steps=(steps,))
        found.append(item_score(group, rewards).model_copy(update={"metadata": dict(loaded.facts[group.id])}))
    for group in groups.values():
        rewards = GroupRewards(group.id, (None,), reason="the results do not hold it")
        found.append(item_score(group, rewards).model_copy(update={"metadata": dict(loaded.facts[group.id])}))
    return [*found, *loaded.refused]


def _steps(scores: Sequence[object], lines: Sequence[int]) -> tuple[float, ...]:
    """Return the reward of each step: the lowest of its ``lines``."""
    if len(scores) != sum(lines):
        raise DataError(f"scores has {len(scores)} entries for the {sum(lines)} lines of the solution")
    valid: list[float] = []
    for index, score in enumerate(scores):
        values, why = recorded(score if is_list(score) else [score], f"scores[{index}]")
        known = [value for value in values if value is not None]
        if why is not None or len(values) not in (1, 3):
            raise DataError(f"{why or f'scores[{index}] has {len(values)} numbers'}; it must be one number or three")
        valid.append(sum(known[1:]) if len(known) == 3 else known[0])
    ends = np.cumsum(lines)
    return tuple(min(valid[end - count : end]) for end, count in zip(ends.tolist(), lines, strict=True))


def metrics(given: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of the items."""
    found = MetricSet("benchmark", "solution_f1", located_counts(given))
    solutions = solutions_of(given)
    cut = threshold_of(given, solutions)
    found.rules, found.details = {"threshold": cut.rule}, solution_counts(given, solutions)
    kept = [each for each in solutions if each.rewards]
    if not kept:
        found.absent["solution_f1"] = NO_STEP_REWARDS
        return found
    wholes = [(min(each.rewards or ()), each.error == NO_ERROR, each) for each in kept]
    steps = [(reward, place != each.error, each) for each in kept for place, reward in enumerate(_judged_steps(each))]
    for name, rows in (("solution", wholes), ("step", steps)):
        if cut.is_known:
            _put_f1(found, f"{name}_f1", rows, cut.value)
        else:
            found.absent[f"{name}_f1"] = cut.rule
        values = np.array([reward for reward, _, _ in rows])
        valid = np.array([is_valid for _, is_valid, _ in rows], dtype=bool)
        found.put_auc(f"{name}_auc", values, valid, [each.prompt for _, _, each in rows], _BOTH)
    return found


def _judged_steps(solution: Solution) -> tuple[float, ...]:
    """Return the rewards of the steps up to the first invalid one."""
    rewards = solution.rewards or ()
    return rewards if solution.error == NO_ERROR else rewards[: solution.error + 1]


def _put_f1(found: MetricSet, name: str, rows: Sequence[tuple[float, bool, Solution]], threshold: float) -> None:
    """Put the mean of both F1, and beside it constant judgements and a coin."""
    judged = [
        JudgedSolution(SUBSET, each.prompt, () if is_valid else (1,), (reward > threshold,), 1, None)
        for reward, is_valid, each in rows
    ]
    inner = MetricSet("benchmark", "prm_score", found.counts)
    StepJudgements(judged, areas={}).put(inner)
    found.put(name, inner.metrics.get("prm_score"), _BOTH)
    rules = {"all_valid": "every_step_right", "all_invalid": "every_step_wrong", "random": "random"}
    found.beside(name, **{rule: inner.baselines["prm_score"][of] for rule, of in rules.items()})


MR_MATH = declared("mr_math", read=_read, compute=metrics, joined=_joined)
