"""PPE human preference: battles between language models, voted on by people.

- ``score``: accuracy over the battles without a tie, [model_a won] = [reward of its response is strictly higher], so
  of two equal rewards the second counts as the higher one;
- ``spearman``, ``kendall_tau``: between the Bradley–Terry ratings of the models from the true winners, a tie as half a
  win, and from the predicted ones, over the same battles; ``row_wise_pearson``: see
  ``plaudit.evaluation.official.arena``;
- ``separability``, ``confidence_agreement``, ``brier``: how surely the predicted ratings tell models apart, from 100
  resamples of the battles; these have no interval of their own.

Source: Frick et al. (2024), arXiv 2410.14872. The official code could not be had: how it fits ratings and resamples
battles is not confirmed, and it may differ in the last six figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from plaudit.data.reading.sources.fields import required, text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.categories import (
    Decided,
    one_by_one,
    put_blends,
    reward_counts,
    with_lengths,
    worst_first,
)
from plaudit.evaluation.metrics.composite import Part
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import Findings, known, prompt_numbers
from plaudit.evaluation.official.arena import (
    Battles,
    rating_kendall,
    rating_spearman,
    row_wise_pearson,
    separation,
)
from plaudit.evaluation.official.benchmark import Benchmark, Gathering
from plaudit.evaluation.official.benchmarks.reward_bench import prompt_of
from plaudit.evaluation.official.files import HubSet, PlacedRow
from plaudit.records import Interval, ItemScore, Measure

ROWS = 16_038
_SET = "human preference"
_FLAGS = ("is_code", "is_refusal", "hard_prompt", "easy_prompt", "if_prompt", "math_prompt")
_RESAMPLES = 100
_WINNERS = ("model_a", "model_b", "tie", "tie (bothbad)")

Compare = Callable[[Battles, Battles], float | None]

_COMPARISONS: dict[str, Compare] = {
    "spearman": rating_spearman,
    "kendall_tau": rating_kendall,
    "row_wise_pearson": row_wise_pearson,
}


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for number, placed in enumerate(rows, start=1):
        row = placed.row
        winner = text(required(row, "winner"), "winner")
        if winner not in _WINNERS:
            raise DataError(f"winner is {winner!r}; it must be one of {', '.join(_WINNERS)}")
        better = {"model_a": 0, "model_b": 1}.get(winner)
        gathering.add(
            f"{row.get('question_id', number)}",
            subset=_SET,
            prompt=prompt_of(required(row, "prompt")),
            responses=[text(required(row, name), name) for name in ("response_1", "response_2")],
            preferences=[] if better is None else [(better, 1 - better)],
            facts={
                "winner": better,
                "models": [text(required(row, name), name) for name in ("model_a", "model_b")],
                "language": str(row.get("language", "")),
                "flags": [name for name in _FLAGS if row.get(name) is True],
            },
        )


def predicted_winner(item: ItemScore) -> int | None:
    """Return the response that the rewards prefer, the second one of equal rewards; None where one is missing."""
    first, second = item.rewards
    return None if first is None or second is None else int(not first > second)


def decide(item: ItemScore) -> list[Decided]:
    """Return the comparison of a battle without a tie; its cell is the set."""
    winner = item.facts["winner"]
    if winner is None:
        return []
    found = predicted_winner(item)
    if found is None:
        return [Decided(_SET, item.prompt_key, 0.0, None, 0.0, 0.5)]
    tied = item.rewards[0] == item.rewards[1]
    right = float(found == winner)
    return [Decided(_SET, item.prompt_key, right, 0.5 if tied else right, float(tied), 0.5)]


def battles_of(items: Sequence[ItemScore]) -> tuple[Battles, Battles]:
    """Return the true and the predicted battles of the items that have both rewards."""
    rows = [(item, found) for item in items if (found := predicted_winner(item)) is not None]
    pairs = [_models(item) for item, _ in rows]
    names = {name: number for number, name in enumerate(sorted({name for pair in pairs for name in pair}))}
    first = np.array([names[one] for one, _ in pairs], dtype=np.int64)
    second = np.array([names[other] for _, other in pairs], dtype=np.int64)
    true = np.array([_share(item.facts["winner"]) for item, _ in rows])
    predicted = np.array([1.0 - found for _, found in rows])
    return Battles(first, second, true, len(names)), Battles(first, second, predicted, len(names))


def _models(item: ItemScore) -> tuple[str, str]:
    models = item.facts["models"]
    assert isinstance(models, list)
    return str(models[0]), str(models[1])


def _share(winner: object) -> float:
    return 0.5 if winner is None else float(winner == 0)


def _compared(items: Sequence[ItemScore], compare: Compare, estimate: Estimator) -> Interval | None:
    kept = [item for item in items if predicted_winner(item) is not None]
    if not kept:
        return None
    true, predicted = battles_of(kept)
    return estimate.of_rows(
        lambda rows: compare(true.at(rows), predicted.at(rows)), np.array(prompt_numbers(kept), dtype=int)
    )


def _put_ratings(own: Findings, items: Sequence[ItemScore], estimate: Estimator) -> None:
    lengths = with_lengths(items)
    for name, compare in _COMPARISONS.items():
        own.put(name, _compared(items, compare, estimate), "there are fewer than two models whose ratings vary")
        if name in own.figures:
            longer = None if lengths is None else _compared(lengths, compare, estimate)
            own.beside(name, longer_response=longer, random=known(0.0, own.figures[name].n, estimate))
    true, predicted = battles_of(items)
    if true.count < 2:
        return
    found = separation(true, predicted, resamples=_RESAMPLES, seed=estimate.seed)
    values = {"separability": found.separability, "confidence_agreement": found.agreement, "brier": found.brier}
    for name, value in values.items():
        interval = None if value is None else known(value, len(true.first), estimate)
        method = f"no interval: {_RESAMPLES} resamples make the figure itself"
        own.put(
            name,
            None if interval is None else interval.model_copy(update={"method": method}),
            "the true battles separate no two models",
        )


def _language(item: ItemScore) -> str:
    return str(item.facts["language"])


def measure(items: Sequence[ItemScore], estimate: Estimator) -> Measure:
    """Return the official figures of ``items``; slices are languages, the kinds of prompt are figures."""
    own = Findings()
    blends: dict[str, Part] = {"score": _SET}
    details = put_blends(own, items, one_by_one(decide), blends, estimate, in_order=True)
    for flag in _FLAGS:
        part = [item for item in items if flag in _flags(item)]
        flagged: dict[str, Part] = {f"accuracy_{flag}": _SET}
        put_blends(own, part, one_by_one(decide), flagged, estimate, in_order=True, ties=False)
    _put_ratings(own, items, estimate)
    return Measure(
        kind="benchmark",
        headline="score",
        counts=reward_counts(items),
        details={**details, "battles_tied_by_people": sum(item.facts["winner"] is None for item in items)},
        figures=own.figures,
        baselines=own.baselines,
        absent=own.absent,
        slices=worst_first(items, decide, "score", estimate, slice_of=_language),
    )


def _flags(item: ItemScore) -> list[str]:
    flags = item.facts["flags"]
    assert isinstance(flags, list)
    return [str(flag) for flag in flags]


PPE_PREFERENCE = Benchmark(
    name="ppe_preference",
    title="PPE human preference",
    citation="Frick et al. (2024), arXiv 2410.14872",
    licence="prompts CC-BY-4.0, responses under the terms of their models",
    official="huggingface.co/datasets/lmarena-ai/PPE-Human-Preference-V1, split test",
    hub=(HubSet("lmarena-ai/PPE-Human-Preference-V1", "test"),),
    files=r".*\.(parquet|jsonl|json)",
    expected={_SET: ROWS},
    ties="of equal rewards the second response is taken; battles that people tied do not count in the accuracy",
    missing_rewards="a battle with a missing reward is lost in the accuracy, and left out of the ratings",
    read=_read,
    measurer=measure,
)
