"""LLMBar: pairs of responses of which one follows the instruction and the other does not.

Accuracy per subset; ``adversarial`` is the mean of the four adversarial subsets, ``score`` the mean of all five.
A judge that saw both orders (see ``plaudit.evaluation.official.judge_verdicts``) gets the mean of its two games; then
``positional_agreement`` is the share of pairs on which both games name one winner.

Source: Zeng et al. (2023), arXiv 2310.07641, with the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from plaudit.data.reading.sources.fields import found, mapping, required, required_list, required_text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Part,
    category_metrics,
    mean_of,
    mean_of_rows,
    pair_outcome,
    subset_of,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.files import PlacedRow
from plaudit.evaluation.official.judge_verdicts import judged, published_item, verdicts, was_judged
from plaudit.records import ItemScore

SUBSETS: Mapping[str, int] = ENTRIES["llmbar"]["expected"]
"""Subset → official number of pairs."""

_WINNERS: dict[str | None, tuple[float | None, float | None]] = {"1": (1.0, 0.0), "2": (0.0, 1.0), None: (None, None)}
_WORTH = {"won": 1.0, "tied": 0.5, "lost": 0.0}


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for placed in rows:
        row, subset = placed.row, _subset(placed.stem)
        label = required(row, "label")
        if isinstance(label, bool) or label not in (1, 2):
            raise DataError(f"label is {found(label)}; it must be 1 or 2, the number of the better response")
        better = 0 if label == 1 else 1
        gathering.add(
            f"{subset}/{placed.number}",
            subset=subset,
            prompt=required_text(row, "input"),
            responses=[required_text(row, name) for name in ("output_1", "output_2")],
            preferences=[(better, 1 - better)],
            facts={"better": better},
        )


def _results(rows: Iterator[PlacedRow]) -> Iterator[ItemScore]:
    """Yield the items of ``SUBSET/evaluators/MODEL/PROMPT/result.json``, which the official code writes.

    Such a row is that of the data and ``results``, of which the last has the verdicts: ``swap = False`` and
    ``swap = True``, each with a ``winner`` in the order of the data, 1 or 2, or null where none could be read.
    """
    for placed in rows:
        where, separator, _ = placed.stem.rpartition("/evaluators/")
        gathering = Gathering("llmbar")
        _read(iter([replace(placed, stem=f"{where}/dataset" if separator else placed.stem)]), gathering)
        (id,) = gathering.facts
        steps = required_list(placed.row, "results")
        last = mapping(steps[-1] if steps else None, "the last of results")
        games = (_verdict(last, name) for name in ("swap = False", "swap = True"))
        yield published_item(gathering, judged(id, *games))


def _verdict(result: Mapping[str, object], name: str) -> tuple[float | None, float | None]:
    """Return the scores of both responses in a game, in the order of the data; nulls where it has no verdict."""
    game = mapping(required(result, name, "results."), name)
    if "winner" not in game:
        required(game, "winner", f"{name}.")
    winner = game["winner"]
    if not (winner is None or isinstance(winner, str)) or winner not in _WINNERS:
        raise DataError(f"winner is {found(winner)}; it must be '1', '2' or null")
    return _WINNERS[winner]


def _subset(stem: str) -> str:
    """Return the subset that the path of a ``dataset.json`` names; the folder as it is where it is not official."""
    folder = stem.rsplit("/", 1)[0]
    return next((name for name in SUBSETS if folder.endswith(f"/{name}")), folder.rsplit("/", 1)[-1])


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the one comparison of ``item``; its category is the subset."""
    better, cell = int(str(item.metadata["better"])), str(item.metadata["subset"])
    if not was_judged(item):
        return [pair_outcome(item, better, 1 - better, category=cell)]
    played = verdicts(item, better, 1 - better)
    common = None if "unread" in played else sum(_WORTH[each] for each in played) / len(played)
    tied = played.count("tied") / len(played)
    return [ComparisonOutcome(cell, item.prompt_key, played.count("won") / len(played), common, tied, 0.5)]


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``."""
    natural, *adversarial = SUBSETS
    parts: dict[str, Part] = {
        "score": mean_of(natural, *adversarial),
        "adversarial": mean_of(*adversarial),
        **{name: name for name in SUBSETS},
        # Other sets of the authors, such as those of their case study, have a metric but are no part of the score.
        **{name: name for name in sorted({subset_of(item) for item in items} - SUBSETS.keys())},
    }
    measured = category_metrics(items, decide, parts, in_order=True)
    judged = [(item, verdicts(item, 0, 1)) for item in items if was_judged(item)]
    judged = [(item, played) for item, played in judged if len(played) == 2]
    agreed = [float(played in (("won", "won"), ("lost", "lost"))) for _, played in judged]
    agreement = mean_of_rows(agreed, [item.prompt_key for item, _ in judged])
    if agreement is not None:
        measured.put("positional_agreement", agreement, "")
        measured.details["games_without_a_verdict"] = sum(played.count("unread") for _, played in judged)
    return measured


LLMBAR = declared("llmbar", read=_read, compute=metrics, results=_results)
