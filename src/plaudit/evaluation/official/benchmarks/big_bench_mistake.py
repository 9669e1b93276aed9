"""BIG-Bench Mistake: find the first logical mistake in a chain of thought, or say that there is none.

The prediction is the first step whose probability of being right is below 0.5, or no mistake.

- ``accuracy``: share of all traces whose label is predicted exactly; ``accuracy_mean_of_tasks`` is its mean over the
  tasks, ``TASK_accuracy`` that of one;
- ``location_accuracy``: the same of traces with a mistake, that is, how often it is located; ``correct_accuracy``: of
  traces without one;
- ``f1``: the harmonic mean of these two;
- ``detection_accuracy``: share of traces of which it is said rightly whether they hold a mistake anywhere, and
  ``detection_f1``: F1 of the traces that do.

Most traces hold a mistake, so a constant answer goes far in some of these metrics: the constant ones stand beside each.

Source: Tyen et al. (2023), arXiv 2311.08516, with the official data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from plaudit.data.reading.sources.fields import prompt as prompt_of
from plaudit.data.reading.sources.fields import required_text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.error_location import (
    NO_ERROR,
    LabelledSolution,
    Locations,
    first_error_metrics,
    gather,
    labelled_solution,
)
from plaudit.evaluation.official.files import PlacedRow
from plaudit.records import ItemScore
from plaudit.statistics.metric import Columns, Floats, Metric, PromptSums, exact_value, ratio

Formula = Callable[[Columns], Floats]

TASKS: Mapping[str, int] = ENTRIES["big_bench_mistake"]["expected"]
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
        prompt = required_text(row, "input")
        id = f"{task}-{placed.number - 1}"
        return labelled_solution(row, id=id, subset=task, prompt=prompt, label="mistake_index", none=None)
    task = required_text(row, "subset")
    turns = prompt_of(row)
    if len(turns) != 1:
        raise DataError(f"prompt has {len(turns)} turns; a task of BIG-Bench Mistake is one")
    id = required_text(row, "id")
    return labelled_solution(row, id=id, subset=task, prompt=turns[0].content, label="first_error", none=NO_ERROR)


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the metrics of ``items`` with those of constant predictions beside each."""
    return first_error_metrics(items, "accuracy", _put)


def _put(found: MetricSet, locations: Locations, _: float) -> None:
    tasks = locations.subsets
    locations.put_accuracy(found, "accuracy", tasks)
    found.put("accuracy_scored", locations.accuracy("scored", tasks), "no trace has a prediction")
    locations.put(
        found, "accuracy_mean_of_tasks", lambda rule: locations.mean_accuracy(rule, tasks), "there is no trace"
    )
    locations.put_accuracy(found, "location_accuracy", tasks, erroneous=True)
    locations.put_accuracy(found, "correct_accuracy", tasks, erroneous=False)
    locations.put_f1(found, "f1", [tasks])
    for task in tasks:
        locations.put_accuracy(found, f"{task}_accuracy", [task])
        locations.put_accuracy(found, f"{task}_location_accuracy", [task], erroneous=True)
    _put_detection(found, locations)
    found.slices = locations.slices("accuracy", lambda rule, task: locations.accuracy(rule, [task]))


def _put_detection(found: MetricSet, locations: Locations) -> None:
    """Put whether a mistake is found anywhere: a trace without a prediction counts as wrong, whatever its label."""
    solutions = locations.solutions
    wrong = np.array([each.error != NO_ERROR for each in solutions], dtype=bool)
    columns: dict[str, Floats] = {"n": np.ones(len(solutions))}
    for rule, guesses in locations.guesses.items():
        said = np.array([guess is not None and guess != NO_ERROR for guess in guesses], dtype=bool)
        unknown = np.array([guess is None for guess in guesses], dtype=bool)
        columns |= _hits(rule, (~unknown & (said == wrong)).astype(float), wrong)
    steps = np.array([each.num_steps for each in solutions], dtype=float)
    columns |= _hits("random", np.where(wrong, steps, 1.0) / (1.0 + steps), wrong)
    sums, n = PromptSums.of_rows(columns, [each.prompt for each in solutions]), len(solutions)
    for name, formula in (("detection_accuracy", _detection_accuracy), ("detection_f1", _detection_f1)):

        def made(rule: str, formula: Callable[[str], Formula] = formula) -> Metric | None:
            metric = sums.metric(formula(rule), n)
            return exact_value(metric) if rule == "random" else metric

        locations.put(found, name, made, "no trace holds a mistake, or is said to")


def _hits(rule: str, right: Floats, wrong: np.ndarray) -> dict[str, Floats]:
    return {f"{rule}/right": right, f"{rule}/found": right * wrong}


def _detection_accuracy(rule: str) -> Formula:
    return lambda totals: ratio(totals[f"{rule}/right"], totals["n"])


def _detection_f1(rule: str) -> Formula:
    def formula(totals: Columns) -> Floats:
        hits = totals[f"{rule}/found"]
        return ratio(2 * hits, 2 * hits + totals["n"] - totals[f"{rule}/right"])

    return formula


BIG_BENCH_MISTAKE = declared("big_bench_mistake", read=_read, compute=metrics)
