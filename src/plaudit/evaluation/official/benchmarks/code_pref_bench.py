"""CodePrefBench: pairs of code for one instruction, better by correctness, efficiency, security or human preference.

- An aspect: (pairs decided as the label says + undecided ones ÷ 2) ÷ pairs;
- ``score``: the mean of the four aspects; ``verifiable``: of those without human preference, which are by tests,
  by measured time and by a static analyser.

Equal rewards, and a pair that lacks one, are undecided. The official code takes comments off the code of the first
three aspects before a model sees it; here the code is scored as it stands in the files.

Source: Liu et al. (2024), arXiv 2410.03837, with the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plaudit.data.reading.sources.fields import Row, place, required, required_text, required_texts, same_length
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Part,
    category_metrics,
    mean_of,
    pair_outcome,
    subset_of,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared, item_without_group
from plaudit.evaluation.official.files import PlacedRow
from plaudit.records import ItemScore

ASPECTS: Mapping[str, int] = ENTRIES["code_pref_bench"]["expected"]
"""Aspect → official number of pairs."""

_CHOICES = (0, 1)


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for placed in rows:
        aspect, better = _aspect(placed.stem), _better(placed.row)
        choices = required_texts(placed.row, "choices")
        same_length(choices, len(_CHOICES), "choices", "sides of a comparison")
        gathering.add(
            f"{aspect}/{placed.number}",
            subset=aspect,
            prompt=required_text(placed.row, "instruction"),
            responses=choices,
            preferences=[(better, 1 - better)],
            facts={"better": better, "task_id": str(placed.row.get("task_id", ""))},
        )


def _better(row: Row) -> int:
    return place(required(row, "gt_choice"), "gt_choice", _CHOICES)


def _aspect(stem: str) -> str:
    """Return the aspect that the file or its folder names, as in ``eval/security-alignment``."""
    for part in reversed(stem.split("/")):
        if part.removesuffix("-alignment") in ASPECTS:
            return part.removesuffix("-alignment")
    raise DataError(f"the path names none of the aspects {', '.join(ASPECTS)}: call the file or its folder so")


def _results(rows: Iterator[PlacedRow]) -> Iterator[ItemScore]:
    """Yield the items of ``ASPECT-alignment/MODEL.jsonl``, which the official code writes.

    A row has ``task_md5``, ``gt_choice`` and ``decision``: 0, 1, or null where the answer decides nothing.
    """
    for placed in rows:
        row, aspect, better = placed.row, _aspect(placed.stem), _better(placed.row)
        decision = None if row.get("decision") is None else place(row["decision"], "decision", _CHOICES)
        result = 0.5 if decision is None else float(decision == better)
        facts = {"subset": aspect, "better": better, "task_id": str(row.get("task_id", "")), "result": result}
        name = f"code_pref_bench/{aspect}/{required_text(row, 'task_md5')}"
        prompt = f"{aspect}/{facts['task_id']}" if facts["task_id"] else ""
        why = "the model decides and gives no rewards"
        yield item_without_group(name, (None, None), facts, reason=why, prompt=prompt)


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the one comparison of ``item``; its category is the aspect."""
    better = int(str(item.metadata["better"]))
    return [pair_outcome(item, better, 1 - better, category=subset_of(item), tie=0.5, missing=0.5)]


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``."""
    *verifiable, human = ASPECTS
    parts: dict[str, Part] = {"score": mean_of(*verifiable, human), "verifiable": mean_of(*verifiable)}
    return category_metrics(items, decide, parts | {name: name for name in ASPECTS}, in_order=True)


CODE_PREF_BENCH = declared("code_pref_bench", read=_read, compute=metrics, results=_results)
