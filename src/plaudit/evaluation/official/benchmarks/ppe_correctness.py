"""PPE correctness: 32 answers of one model to each prompt, right or wrong, in five sets.

- ``score``: mean over the sets of accuracy. The accuracy of a row is the mean over its sampled pairs (i, j) of
  [(i is right, j is not) = (reward of i > reward of j)], so that of a pair of equal rewards the second counts as the
  higher one; that of a set is the mean over rows;
- ``auc``: mean over the sets of the area under the ROC curve of all answers of a set, with the rewards of each prompt
  scaled from 0 to 1 (all 0 where they are equal);
- best of K, over random orders of the 32 answers, where trajectory_k is whether the highest of the first k rewards is
  a right answer's: ``end_score`` is its mean at k = 32, ``max_score`` the mean of its maximum over k, and ``loss`` the
  mean over k of (oracle_k − trajectory_k)², with oracle_k whether any of the first k is right. The official code draws
  100 orders; here the expectation over all orders is computed exactly.

Source: Frick et al. (2024), arXiv 2410.14872.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from plaudit.data.reading.sources.fields import (
    found,
    items,
    required,
    required_list,
    required_text,
    same_length,
    text,
    whole,
)
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    DecideAll,
    Part,
    mean_of,
    one_by_one,
    put_composites,
    reward_counts,
    subset_of,
    with_lengths,
    worst_first,
)
from plaudit.evaluation.metrics.metric_set import MetricSet, exact, prompt_numbers
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.files import PlacedRow
from plaudit.records import ItemScore
from plaudit.statistics.classification import auc
from plaudit.statistics.metric import RowStatistic

SETS: Mapping[str, int] = ENTRIES["ppe_correctness"]["expected"]
"""Set → official number of prompts."""

_RESPONSE = re.compile(r"response_(\d+)")


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for number, placed in enumerate(rows, start=1):
        row, subset = placed.row, _set(placed)
        answers = _answers(row)
        truth = [_truth(value, index) for index, value in enumerate(required_list(row, "scores"))]
        same_length(truth, len(answers), "scores", "responses")
        pairs = [_pair(value, len(answers)) for value in items(required(row, "sampled_conflict_pairs"), "pairs")]
        places: dict[tuple[str, bool], int] = {}
        # An empty answer has no reward, which the official rule for errors covers; a repeated one is scored once.
        index = [
            places.setdefault(key, len(places)) if key[0].strip() else None for key in zip(answers, truth, strict=True)
        ]
        gathering.add(
            f"{subset}/{row.get('question_id', number)}/{row.get('model_name', '')}".rstrip("/"),
            subset=subset,
            prompt=required_text(row, "prompt"),
            responses=[answer for answer, _ in places],
            preferences=_preferences(pairs, truth, index),
            outcomes=[right for _, right in places],
            facts={"truth": list(truth), "pairs": [list(pair) for pair in pairs], "responses": list(index)},
        )


def _set(placed: PlacedRow) -> str:
    """Return the set that the path names, as in ``PPE-MATH-Best-of-K/data/train-0.parquet``."""
    for part in reversed(placed.stem.split("/")):
        for name in SETS:
            if name.lower() in part.lower().replace("_", "-"):
                return name
    raise DataError(f"the path names none of the sets {', '.join(SETS)}: call the file or its folder so")


def _answers(row: Mapping[str, object]) -> list[str]:
    columns = sorted((int(match.group(1)), name) for name in row if (match := _RESPONSE.fullmatch(name)))
    if not columns:
        raise DataError("the row has no response_1")
    return ["" if row[name] is None else text(row[name], name) for _, name in columns]


def _truth(value: object, index: int) -> bool:
    if value not in (0, 1):
        raise DataError(f"scores[{index}] is {found(value)}; it must be true or false")
    return bool(value)


def _pair(value: object, count: int) -> tuple[int, int]:
    pair = [whole(each, "sampled_conflict_pairs") for each in items(value, "sampled_conflict_pairs")]
    if len(pair) != 2 or any(each is None or not 0 <= each < count for each in pair):
        raise DataError(f"a pair of sampled_conflict_pairs is {pair}; it must be two of the {count} responses, from 0")
    return pair[0] or 0, pair[1] or 0


def _preferences(
    pairs: Sequence[tuple[int, int]], truth: Sequence[bool], index: Sequence[int | None]
) -> list[tuple[int, int]]:
    """Return the pairs of one right and one wrong answer as (right, wrong), each once."""
    chosen: dict[tuple[int, int], None] = {}
    for i, j in pairs:
        right, wrong = (index[i], index[j]) if truth[i] else (index[j], index[i])
        if truth[i] != truth[j] and right is not None and wrong is not None:
            chosen[right, wrong] = None
    return list(chosen)


def rewards_of(item: ItemScore) -> np.ndarray:
    """Return [answer] the rewards of all answers of the row; a missing one is −∞, as the official code has errors."""
    index = [None if each is None else int(str(each)) for each in items(item.metadata["responses"], "responses")]
    values = [None if each is None else item.rewards[each] for each in index]
    return np.array([-math.inf if value is None else value for value in values])


def _labels(item: ItemScore) -> np.ndarray:
    return np.array([bool(each) for each in items(item.metadata["truth"], "truth")])


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the accuracy of the row as one comparison; its category is the set. None where the row has no pairs.

    Under the common rule, ties shared, pairs with a missing reward do not count.
    """
    pairs = np.array([[int(str(k)) for k in items(pair, "pair")] for pair in items(item.metadata["pairs"], "pairs")])
    if not len(pairs):
        return []
    first, second = rewards_of(item)[pairs.T]
    better = _labels(item)[pairs[:, 0]] > _labels(item)[pairs[:, 1]]
    right = (better == (first > second)).astype(float)
    tied = first == second
    known_pairs = np.isfinite(first) & np.isfinite(second)
    common = float(np.where(tied, 0.5, right)[known_pairs].mean()) if known_pairs.any() else None
    return [ComparisonOutcome(subset_of(item), item.prompt_key, float(right.mean()), common, float(tied.mean()), 0.5)]


def end_score(rewards: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of right answers among those with the highest reward: the expected pick of best of n."""
    return float(truth[rewards == rewards.max()].mean())


def max_score(rewards: np.ndarray, truth: np.ndarray) -> float:
    """Return how likely, in a random order, the running best is a right answer at some time.

    Going down the distinct rewards, the first answer of a value is a running best where it comes before all higher
    ones. With t answers of a value, c of them right, and h higher ones, that it does and is right has the probability
    c ÷ (h + t), independently of the others: 1 − Π (1 − c ÷ (h + t)).
    """
    never = 1.0
    for value in np.unique(rewards):
        at = rewards == value
        never *= 1.0 - truth[at].sum() / (rewards >= value).sum()
    return float(1.0 - never)


def loss(rewards: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean over k, and over random orders, of (oracle_k − trajectory_k)².

    Both are 0 or 1 and the oracle is never below, so the square is their difference. With c right answers of n the
    oracle is 1 − C(n − c, k) ÷ C(n, k) in the mean; the i-th lowest reward is the highest of the first k with
    probability C(i − 1, k − 1) ÷ C(n, k), which equal rewards share.
    """
    total, right = len(truth), int(truth.sum())
    _, value = np.unique(rewards, return_inverse=True)
    shares = np.bincount(value, weights=truth) / np.bincount(value)
    trajectory = _pick_weights(total) @ shares[np.sort(value)]
    oracle = [1.0 - math.comb(total - right, k) / math.comb(total, k) for k in range(1, total + 1)]
    return max(0.0, float(np.mean(np.array(oracle) - trajectory)))  # of a perfect order rounding can leave −1e-17


@functools.cache
def _pick_weights(total: int) -> np.ndarray:
    """Return [k, place] how likely each of ``total`` rewards, from the lowest, is the highest of k, for k from 1."""
    return np.array(
        [[math.comb(place, k - 1) / math.comb(total, k) for place in range(total)] for k in range(1, total + 1)]
    )


_BEST_OF_K = {"end_score": end_score, "max_score": max_score, "loss": loss}


def _best_of_k(name: str) -> DecideAll:
    curve = _BEST_OF_K[name]

    def decide_one(item: ItemScore) -> list[ComparisonOutcome]:
        rewards, truth = rewards_of(item), _labels(item)
        value = curve(rewards, truth)
        chance = curve(np.zeros(len(truth)), truth) if name != "max_score" else max_score_of_chance(truth)
        return [ComparisonOutcome(subset_of(item), item.prompt_key, value, value, 0.0, chance)]

    return one_by_one(decide_one)


def max_score_of_chance(truth: np.ndarray) -> float:
    """Return the expected ``max_score`` of rewards drawn at random: 1 − E Π over ranks of (1 − right ÷ rank).

    With c right answers of n, going down the ranks r = 1 … n the sequence of right and wrong is a random arrangement,
    so the expectation is summed over the number of right ones so far.
    """
    total, right = len(truth), int(truth.sum())
    ways = np.zeros(right + 1)
    ways[0] = 1.0
    for rank in range(1, total + 1):
        left = total - rank + 1
        drawn = (right - np.arange(right + 1)) / left
        stay, move = ways * (1.0 - drawn), ways * drawn * (1.0 - 1.0 / rank)
        ways = stay
        ways[1:] += move[:-1]
    return float(1.0 - ways.sum())


def scaled(rewards: np.ndarray) -> np.ndarray:
    """Return [answer] the rewards from 0, the lowest, to 1, the highest; all 0 where they are equal or missing."""
    present = rewards[np.isfinite(rewards)]
    if not len(present) or present.max() == present.min():
        return np.zeros(len(rewards))
    return np.where(np.isfinite(rewards), (rewards - present.min()) / np.ptp(present), 0.0)


def _mean_auc(items_: Sequence[ItemScore], subsets: Sequence[str]) -> RowStatistic | None:
    prompts = np.array(prompt_numbers(items_), dtype=int)
    place = np.array(
        [subsets.index(subset_of(item)) if subset_of(item) in subsets else -1 for item in items_], dtype=int
    )
    values, labels = [scaled(rewards_of(item)) for item in items_], [_labels(item) for item in items_]

    def statistic(rows: np.ndarray) -> float | None:
        areas = []
        for number in range(len(subsets)):
            chosen = rows[place[rows] == number]
            if len(chosen):
                areas.append(
                    auc(np.concatenate([values[k] for k in chosen]), np.concatenate([labels[k] for k in chosen]))
                )
        given = [area for area in areas if area is not None]
        return float(np.mean(given)) if given else None

    return RowStatistic(statistic, prompts, "logit") if len(items_) else None


def _put_auc(found: MetricSet, given: Sequence[ItemScore]) -> None:
    lengths = with_lengths(given)
    for name, subsets in {"auc": tuple(SETS), **{f"auc_{name}": (name,) for name in SETS}}.items():
        here = [item for item in given if subset_of(item) in subsets]
        found.put(name, _mean_auc(here, subsets), "no row of it is here, or its answers are all right or wrong")
        beside = None if lengths is None else [item for item in lengths if subset_of(item) in subsets]
        if found.known(name) is not None:
            longer = None if beside is None else _mean_auc(beside, subsets)
            found.beside(name, longer_response=longer, random=exact(0.5, len(here)))


def metrics(given: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of the items; ``NAME_SET`` is the metric of one set."""
    found = MetricSet("benchmark", "score", reward_counts(given))
    accuracies: dict[str, Part] = {"score": mean_of(*SETS), **{f"accuracy_{name}": name for name in SETS}}
    found.details = put_composites(found, given, one_by_one(decide), accuracies, in_order=False)
    found.details["rows_without_pairs"] = sum(not decide(item) for item in given)
    _put_auc(found, given)
    for name in _BEST_OF_K:
        parts: dict[str, Part] = {name: mean_of(*SETS), **{f"{name}_{subset}": subset for subset in SETS}}
        put_composites(found, given, _best_of_k(name), parts, in_order=False, ties=False)
    found.slices = worst_first(given, decide, "score", slice_of=subset_of)
    return found


PPE_CORRECTNESS = declared(
    "ppe_correctness",
    read=_read,
    compute=metrics,
)
