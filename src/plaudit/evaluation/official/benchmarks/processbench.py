"""ProcessBench: find the first wrong step of a mathematical solution, or say that there is none.

The prediction is the first step whose probability of being right is below 0.5, or no error (−1). For each split

- ``SPLIT_accuracy_erroneous``: share of the solutions with an error whose label is predicted exactly;
- ``SPLIT_accuracy_correct``: the same of those without one;
- ``SPLIT_f1``: the harmonic mean of the two; ``f1`` is its mean over the splits that are there.

A model whose 0.5 means little is often measured at the threshold that is best on gsm8k: metrics that end in ``_tuned``
are at that one. It was chosen on gsm8k itself, so ``f1_tuned_elsewhere``, the mean over the other splits, is the honest
one. Rewards outside 0 to 1 are read as log-odds, with 0 for 0.5. ``f1_scored`` is ``f1`` over the solutions that have a
prediction. A model that names the first wrong step itself has no threshold.

Source: Zheng et al. (2024), arXiv 2412.06559, with the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from plaudit.data.reading.sources.fields import items as list_of
from plaudit.data.reading.sources.fields import required, required_text, whole
from plaudit.errors import DataError
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.error_location import (
    BOTH_KINDS,
    NO_ERROR,
    LabelledSolution,
    Locations,
    first_error_metrics,
    gather,
    labelled_solution,
    located,
)
from plaudit.evaluation.official.files import PlacedRow
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.classification import best_threshold, chain_table

SPLITS: Mapping[str, int] = ENTRIES["processbench"]["expected"]
"""Split → official number of solutions."""

_CONTRADICTED = "match_contradicts_prediction"
TUNED_ON = "gsm8k"


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    gather([_solution(placed) for placed in rows], gathering)


def _solution(placed: PlacedRow) -> LabelledSolution:
    row = placed.row
    id = required_text(row, "id")
    prompt = required_text(row, "problem")
    return labelled_solution(row, id=id, subset=_split(placed.stem, id), prompt=prompt, label="label", none=NO_ERROR)


def _split(stem: str, id: str) -> str:
    """Return the split that a file (``math``, ``math_error``, ``math_correct``) or an id (``math-12``) names."""
    name = stem.split("/")[-1].removesuffix("_error").removesuffix("_correct")
    if name not in SPLITS:
        name = id.rsplit("-", 1)[0]
    if name not in SPLITS:
        raise DataError(f"neither the file {stem!r} nor the id {id!r} names a split; splits: {', '.join(SPLITS)}")
    return name


def _results(rows: Iterator[PlacedRow]) -> list[ItemScore]:
    """Return the items of ``SPLIT_error.jsonl`` and ``SPLIT_correct.jsonl``, which the official code writes.

    Such a row is that of the data and ``prediction``: a position, −1, or null where a judge's answer was unreadable.
    """
    predictions: dict[tuple[str, str], list[int | None]] = {}
    matches: dict[tuple[str, str], list[bool]] = {}
    solutions = []
    for placed in rows:
        solution = _solution(placed)
        if "prediction" not in placed.row:
            required(placed.row, "prediction")
        prediction = whole(placed.row["prediction"], "prediction")
        match = placed.row.get("match")
        solutions.append(solution)
        key = (solution.prompt.strip(), solution.id)
        predictions.setdefault(key, []).append(prediction)
        matches.setdefault(key, []).append(match is None or bool(match) == (prediction == solution.error))
    gathering = Gathering("processbench")
    gather(solutions, gathering)
    items = list(gathering.refused)
    for group in gathering.groups:
        facts = gathering.facts[group.id]
        ids = [str(id) for id in list_of(facts["ids"], "ids")]
        # Of solutions with one id, those of a group stand in the order of the rows, as their predictions do.
        keys = [(group.prompt[-1].content.strip(), id) for id in ids]
        own: list[JsonValue] = [predictions[key].pop(0) for key in keys]
        known: dict[str, JsonValue] = {**facts, "predictions": own, "repeats": len(ids) - len(set(ids))}
        known[_CONTRADICTED] = sum(not matches[key].pop(0) for key in keys)
        rewards = GroupRewards(group.id, (None,) * len(own), reason="the model names a step and gives no rewards")
        items.append(item_score(group, rewards).model_copy(update={"metadata": known}))
    return items


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``, those at the tuned threshold, and their baselines."""
    found = first_error_metrics(items, "f1", _put)
    found.details |= _contradicted(items)
    return found


def _contradicted(items: Sequence[ItemScore]) -> dict[str, int]:
    counts = [item.metadata.get(_CONTRADICTED, 0) for item in items]
    total = sum(count for count in counts if isinstance(count, int))
    return {"rows_whose_match_contradicts_their_prediction": total} if total else {}


def _put(found: MetricSet, locations: Locations, threshold: float) -> None:
    locations.put_f1(found, "f1", [[split] for split in locations.subsets])
    found.put("f1_scored", locations.f1("scored", [[split] for split in locations.subsets]), BOTH_KINDS)
    for split in locations.subsets:
        locations.put_f1(found, f"{split}_f1", [[split]])
        locations.put_accuracy(found, f"{split}_accuracy_erroneous", [split], erroneous=True)
        locations.put_accuracy(found, f"{split}_accuracy_correct", [split], erroneous=False)
    _put_tuned(found, locations, threshold)
    found.slices = locations.slices("f1", lambda rule, split: locations.f1(rule, [[split]]))


def _put_tuned(found: MetricSet, fixed: Locations, threshold: float) -> None:
    """Put the metrics at the threshold that is best on gsm8k, and how it came to be."""
    chosen_on = [each for each in fixed.solutions if each.subset == TUNED_ON and each.rewards is not None]
    errors = [None if each.error == NO_ERROR else each.error for each in chosen_on]
    tuned = best_threshold(chain_table([each.rewards or () for each in chosen_on], errors), default=threshold)
    if tuned is None:
        why = f"no threshold can be chosen: {BOTH_KINDS}, with rewards, in {TUNED_ON}"
        found.absent |= dict.fromkeys(("f1_tuned", "f1_tuned_elsewhere"), why)
        return
    locations = located(fixed.solutions, tuned, fixed_threshold=fixed.guesses["model"])
    locations.put_f1(found, "f1_tuned", [[split] for split in locations.subsets])
    others = [[split] for split in locations.subsets if split != TUNED_ON]
    why = f"{BOTH_KINDS}, beside {TUNED_ON}"
    locations.put(found, "f1_tuned_elsewhere", lambda rule: locations.f1(rule, others), why)
    for split in locations.subsets:
        locations.put_f1(found, f"{split}_f1_tuned", [[split]])
    found.rules["tuned_threshold"] = f"{tuned:.6g}, with the highest F1 on the {len(chosen_on)} solutions of {TUNED_ON}"


PROCESSBENCH = declared(
    "processbench",
    read=_read,
    compute=metrics,
    results=_results,
)
