"""BIG-Bench Mistake: find the first logical mistake in a chain of thought, or say that there is none.

The prediction is the first step whose probability of being right is below 0.5, or no mistake.

- ``accuracy``: share of all traces whose label is predicted exactly; ``accuracy_mean_of_tasks`` is its mean over the
  tasks, ``TASK_accuracy`` that of one;
- ``location_accuracy``: the same of traces with a mistake, that is, how often it is located; ``correct_accuracy``: of
  traces without one;
- ``f1``: the harmonic mean of these two;
- ``detection_accuracy``: share of traces of which it is said rightly whether they hold a mistake anywhere, and
  ``detection_f1``: F1 of the traces that do.

Most traces hold a mistake, so a constant answer goes far in some of these figures: the constant ones stand beside each.

Source: Tyen et al. (2023), arXiv 2311.08516, with the official data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from plaudit.data.reading.sources.fields import prompt as prompt_of
from plaudit.data.reading.sources.fields import required, text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings
from plaudit.evaluation.metrics.pooled import Floats, Formula, Pool, Sums, ratio
from plaudit.evaluation.official.benchmark import Benchmark, Gathering
from plaudit.evaluation.official.error_location import (
    NO_ERROR,
    NO_STEP_REWARDS,
    LabelledSolution,
    Locations,
    Solution,
    constant_guesses,
    gather,
    labelled_solution,
    located_counts,
    says_where,
    solution_counts,
    solutions_of,
    threshold_of,
)
from plaudit.evaluation.official.files import PlacedRow
from plaudit.records import Interval, ItemScore, Measure

TASKS = {
    "dyck_languages": 986,
    "logical_deduction": 300,
    "multistep_arithmetic": 300,
    "tracking_shuffled_objects": 300,
    "word_sorting": 300,
}
"""Task → official number of traces."""


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    """Read the official ``TASK.jsonl``, or rows of steps that name their ``subset`` and ``first_error``."""
    gather([_trace(placed) for placed in rows], gathering)


def _trace(placed: PlacedRow) -> LabelledSolution:
    row = placed.row
    if "mistake_index" in row or "input" in row:
        task = placed.stem.split("/")[-1]
        if task not in TASKS:
            raise DataError(f"the file is called {task!r}; it must be one of {', '.join(TASKS)}")
        prompt = text(required(row, "input"), "input")
        id = f"{task}-{placed.number - 1}"
        return labelled_solution(row, id=id, subset=task, prompt=prompt, label="mistake_index", none=None)
    task = text(required(row, "subset"), "subset")
    turns = prompt_of(row)
    if len(turns) != 1:
        raise DataError(f"prompt has {len(turns)} turns; a task of BIG-Bench Mistake is one")
    id = text(required(row, "id"), "id")
    return labelled_solution(row, id=id, subset=task, prompt=turns[0].content, label="first_error", none=NO_ERROR)


def measure(items: Sequence[ItemScore], estimate: Estimator) -> Measure:
    """Return the figures of ``items`` with those of constant predictions beside each."""
    solutions = solutions_of(items)
    found = Findings()
    threshold, why = threshold_of(solutions)
    guesses = [each.guess(threshold) for each in solutions]
    slices: dict[str, dict[str, Interval]] = {}
    if not says_where(solutions):
        found.absent["accuracy"] = NO_STEP_REWARDS
    else:
        rules = {"model": guesses, **constant_guesses(solutions)}
        locations = Locations(solutions, rules, estimate)
        _put(found, locations)
        _put_detection(found, solutions, rules, estimate)
        slices = _worst_first(locations)
    return Measure(
        kind="benchmark",
        headline="accuracy",
        counts=located_counts(items),
        details=solution_counts(items, solutions),
        rules={"threshold": why},
        figures=found.figures,
        baselines=found.baselines,
        absent=found.absent,
        slices=slices,
    )


def _put(found: Findings, locations: Locations) -> None:
    tasks = locations.subsets
    locations.put_accuracy(found, "accuracy", tasks)
    found.put("accuracy_scored", locations.accuracy("scored", tasks), "no trace has a prediction")
    found.put("accuracy_mean_of_tasks", locations.mean_accuracy("model", tasks), "there is no trace")
    found.beside("accuracy_mean_of_tasks", **{rule: locations.mean_accuracy(rule, tasks) for rule in locations.rules})
    locations.put_accuracy(found, "location_accuracy", tasks, erroneous=True)
    locations.put_accuracy(found, "correct_accuracy", tasks, erroneous=False)
    locations.put_f1(found, "f1", [tasks])
    for task in tasks:
        locations.put_accuracy(found, f"{task}_accuracy", [task])
        locations.put_accuracy(found, f"{task}_location_accuracy", [task], erroneous=True)


def _put_detection(
    found: Findings,
    solutions: Sequence[Solution],
    rules: dict[str, list[int | None]],
    estimate: Estimator,
) -> None:
    """Put whether a mistake is found anywhere: a trace without a prediction counts as wrong, whatever its label."""
    wrong = np.array([each.error != NO_ERROR for each in solutions], dtype=bool)
    columns: dict[str, Floats] = {"n": np.ones(len(solutions))}
    for rule, guesses in rules.items():
        said = np.array([guess is not None and guess != NO_ERROR for guess in guesses], dtype=bool)
        unknown = np.array([guess is None for guess in guesses], dtype=bool)
        columns |= _hits(rule, (~unknown & (said == wrong)).astype(float), wrong)
    steps = np.array([each.num_steps for each in solutions], dtype=float)
    columns |= _hits("random", np.where(wrong, steps, 1.0) / (1.0 + steps), wrong)
    pool, n = Pool(columns, [each.prompt for each in solutions], estimate), len(solutions)
    for name, formula in (("detection_accuracy", _detection_accuracy), ("detection_f1", _detection_f1)):
        made = {rule: pool.figure(formula(rule), n) for rule in rules} | {"random": pool.exact(formula("random"), n)}
        found.put(name, made.pop("model"), "no trace holds a mistake, or is said to")
        found.beside(name, **made)


def _hits(rule: str, right: Floats, wrong: np.ndarray) -> dict[str, Floats]:
    return {f"{rule}/right": right, f"{rule}/found": right * wrong}


def _detection_accuracy(rule: str) -> Formula:
    return lambda sums: ratio(sums.of(f"{rule}/right"), sums.of("n"))


def _detection_f1(rule: str) -> Formula:
    def formula(sums: Sums) -> Floats:
        hits = sums.of(f"{rule}/found")
        return ratio(2 * hits, 2 * hits + sums.of("n") - sums.of(f"{rule}/right"))

    return formula


def _worst_first(locations: Locations) -> dict[str, dict[str, Interval]]:
    """Return for each task its accuracy and that of the constant predictions, the worst task first."""
    named = {"accuracy": "model"} | {rule: rule for rule in locations.rules}
    slices: dict[str, dict[str, Interval]] = {}
    for task in locations.subsets:
        figures = {name: locations.accuracy(rule, [task]) for name, rule in named.items()}
        slices[task] = {name: each for name, each in figures.items() if each is not None}
    return dict(sorted(slices.items(), key=lambda pair: (pair[1]["accuracy"].value, pair[0])))


BIG_BENCH_MISTAKE = Benchmark(
    name="big_bench_mistake",
    title="BIG-Bench Mistake",
    citation="Tyen et al. (2023), arXiv 2311.08516",
    licence="Apache-2.0",
    official="github.com/WHGTyen/BIG-Bench-Mistake",
    files=rf"(.*/)?({'|'.join(TASKS)}|steps)\.jsonl",
    expected=TASKS,
    ties="a step whose probability is exactly 0.5 is right: only one below it is the mistake",
    missing_rewards="a trace that lacks the reward of a step counts as wrong",
    read=_read,
    measurer=measure,
)
