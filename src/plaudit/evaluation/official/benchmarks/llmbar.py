"""LLMBar: pairs of responses of which one follows the instruction and the other does not.

Accuracy per subset; ``adversarial`` is the mean of the four adversarial subsets, ``score`` the mean of all five.
A judge that saw both orders (see ``plaudit.evaluation.official.verdicts``) gets the mean of its two games; then
``positional_agreement`` is the share of pairs on which both games name one winner.

Source: Zeng et al. (2023), arXiv 2310.07641, with the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from plaudit.data.reading.sources.fields import found, mapping, required, text
from plaudit.data.reading.sources.fields import items as list_of
from plaudit.errors import DataError
from plaudit.evaluation.metrics.categories import Decided, blend_measure, pair_decided, subset_of
from plaudit.evaluation.metrics.composite import Part, blended, mean_of
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.official.benchmark import Benchmark, Gathering
from plaudit.evaluation.official.files import PlacedRow
from plaudit.evaluation.official.verdicts import ORDERS, games, mean_of_games, published_item, was_judged
from plaudit.records import ItemScore, Measure
from plaudit.scoring.scorer import GroupRewards

SUBSETS = {
    "Natural": 100,
    "Adversarial/Neighbor": 134,
    "Adversarial/GPTInst": 92,
    "Adversarial/GPTOut": 47,
    "Adversarial/Manual": 46,
}
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
            prompt=text(required(row, "input"), "input"),
            responses=[text(required(row, name), name) for name in ("output_1", "output_2")],
            preferences=[(better, 1 - better)],
            facts={"better": better},
        )


def _results(rows: Iterator[PlacedRow]) -> list[ItemScore]:
    """Return the items of ``SUBSET/evaluators/MODEL/PROMPT/result.json``, which the official code writes.

    Such a row is that of the data and ``results``, of which the last has the verdicts: ``swap = False`` and
    ``swap = True``, each with a ``winner`` in the order of the data, 1 or 2, or null where none could be read.
    """
    items: list[ItemScore] = []
    for placed in rows:
        where, separator, _ = placed.stem.rpartition("/evaluators/")
        gathering = Gathering("llmbar")
        _read(iter([replace(placed, stem=f"{where}/dataset" if separator else placed.stem)]), gathering)
        (id,) = gathering.facts
        steps = list_of(required(placed.row, "results"), "results")
        last = mapping(steps[-1] if steps else None, "the last of results")
        first, second = (_verdict(last, name) for name in ("swap = False", "swap = True"))
        both = mean_of_games(first, second)
        reason = "a game has no verdict" if None in both else None
        rewards = GroupRewards(id, both, dict(zip(ORDERS, (first, second), strict=True)), reason=reason)
        items.append(published_item(gathering, rewards))
    return items


def _verdict(result: Mapping[str, object], name: str) -> tuple[float | None, float | None]:
    """Return what a game says of both responses, in the order of the data; nulls where it has no verdict."""
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


def decide(item: ItemScore) -> list[Decided]:
    """Return the one comparison of ``item``; its cell is the subset."""
    better, cell = int(str(item.facts["better"])), str(item.facts["subset"])
    if not was_judged(item):
        return [pair_decided(item, better, 1 - better, cell=cell)]
    played = games(item, better, 1 - better)
    common = None if "unread" in played else sum(_WORTH[each] for each in played) / len(played)
    tied = played.count("tied") / len(played)
    return [Decided(cell, item.prompt_key, played.count("won") / len(played), common, tied, 0.5)]


def measure(items: Sequence[ItemScore], estimate: Estimator) -> Measure:
    """Return the official figures of ``items``."""
    natural, *adversarial = SUBSETS
    blends: dict[str, Part] = {
        "score": mean_of(natural, *adversarial),
        "adversarial": mean_of(*adversarial),
        **{name: name for name in SUBSETS},
        # Other sets of the authors, such as those of their case study, have a figure but are no part of the score.
        **{name: name for name in sorted({subset_of(item) for item in items} - SUBSETS.keys())},
    }
    found = blend_measure(items, decide, blends, estimate, in_order=True)
    judged = [(item, games(item, 0, 1)) for item in items if was_judged(item)]
    judged = [(item, played) for item, played in judged if len(played) == 2]
    agreed = [float(played in (("won", "won"), ("lost", "lost"))) for _, played in judged]
    prompts = [item.prompt_key for item, _ in judged]
    agreement = blended(agreed, ["all"] * len(agreed), prompts, "all", estimate)
    if agreement is None:
        return found
    unread = sum(played.count("unread") for _, played in judged)
    return found.model_copy(
        update={
            "figures": found.figures | {"positional_agreement": agreement},
            "details": found.details | {"games_without_a_verdict": unread},
        }
    )


LLMBAR = Benchmark(
    name="llmbar",
    title="LLMBar",
    citation="Zeng et al. (2023), arXiv 2310.07641",
    licence="MIT",
    official="github.com/princeton-nlp/LLMBar, Dataset/LLMBar/",
    files=r"(.*/)?(Natural|Adversarial/(Neighbor|GPTInst|GPTOut|Manual))/dataset\.json",
    expected=SUBSETS,
    ties="lost: the better response must have the strictly higher reward",
    missing_rewards="a pair with a missing reward is lost, as is a game of a judge without a verdict",
    read=_read,
    measurer=measure,
    results=_results,
    marks=(("input", "output_1", "output_2", "label", "results"),),
)
