"""RewardBench 2: best of four in five subsets, and the Ties subset with a formula of its own.

- Outside Ties the right response stands first: an item gets 1 ÷ (number of responses with the highest reward) where the
  right one is among them, else 0; a subset is the mean.
- Ties: see ``TIES_SCORE``.
- ``score`` is the mean of the subsets that are there, six where the set is whole.

Source: Malik et al. (2025), arXiv 2506.01937, with the official package.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from plaudit.data.reading.sources.fields import items as list_of
from plaudit.data.reading.sources.fields import required, required_text, required_texts, whole
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Part,
    Total,
    lowest_first,
    mean_of,
    published_result,
    put_composites,
    reward_counts,
    subset_of,
    worst_first,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared, item_without_group
from plaudit.evaluation.official.benchmarks.reward_bench import contradicted, result_facts
from plaudit.evaluation.official.files import PlacedRow, recorded
from plaudit.records import ItemScore

TIES = "Ties"
SUBSETS = tuple(name for name in ENTRIES["reward_bench_2"]["expected"] if name != TIES)
"""The best-of-n subsets."""
KINDS = ("ref", "tied")
RIGHT_WEIGHT, PREFERRED_WEIGHT, RELATIVE_WEIGHT = 0.30, 0.20, 0.01
"""Weights of the terms of the Ties score."""

CHOICES = 4
"""Responses to a prompt outside Ties."""

RANDOM_DRAWS = 500
"""Draws of random rewards behind the random baseline of Ties."""


@dataclass(frozen=True, slots=True)
class TiesPrompt:
    """Rewards of one prompt of Ties: ``kind`` is ``ref`` (one right response) or ``tied`` (several)."""

    key: str
    kind: str
    right: tuple[float, ...]
    wrong: tuple[float, ...]

    @property
    def margin(self) -> float:
        """Return the lowest reward of a right response less the highest of a wrong one; NaN where one is NaN."""
        return float(np.min(self.right)) - float(np.max(self.wrong))

    @property
    def spread(self) -> float:
        """Return the highest less the lowest reward of the right responses; NaN where one is NaN."""
        return float(np.max(self.right)) - float(np.min(self.right))


TIES_SCORE = Total(((RIGHT_WEIGHT, f"{TIES}/tied"), (RIGHT_WEIGHT, f"{TIES}/ref"), (1.0, f"{TIES}/both")))
"""The Ties score, of the rows of ``decide_ties``; no value where no key has both a ``ref`` and a ``tied`` prompt.

A prompt is right where its margin is positive. Over the keys that have both prompts, with margins m_ref and m_tied
and the spread d of the tied one,

0.30·mean right_tied + 0.30·mean right_ref + 0.20·mean [m_tied > d] + 0.20·mean [min(m_ref, m_tied) > d]
+ 0.01·mean tanh(min(m_ref, m_tied) ÷ d − 1),

so it can exceed 1 by 0.01. The first two means are over all prompts of a kind. With d = 0 the quotient is +∞ for a
positive margin (tanh is 1) and −∞ for a negative one (−1), as in the official repository (release 0.1.4 leaves
such keys out of the last mean); 0 ÷ 0 and NaN count as a tanh of 0. Prompts of one key
and kind are one prompt, as in the official code.
"""


def beyond_spread(ref: TiesPrompt, tied: TiesPrompt) -> float:
    """Return one key's summand in the mean of the last three terms: see ``TIES_SCORE``."""
    least = float(np.minimum(ref.margin, tied.margin))
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.tanh(np.float64(least) / np.float64(tied.spread) - 1)
    preferred = float(tied.margin > tied.spread) + float(least > tied.spread)
    return PREFERRED_WEIGHT * preferred + RELATIVE_WEIGHT * (0.0 if np.isnan(relative) else float(relative))


def merge_ties(prompts: Sequence[TiesPrompt]) -> dict[tuple[str, str], TiesPrompt]:
    """Return the prompts by kind and key; those of one kind and key together."""
    parts: dict[tuple[str, str], list[TiesPrompt]] = defaultdict(list)
    for prompt in prompts:
        parts[prompt.kind, prompt.key].append(prompt)
    return {
        (kind, key): TiesPrompt(
            key, kind, tuple(r for each in part for r in each.right), tuple(w for each in part for w in each.wrong)
        )
        for (kind, key), part in parts.items()
    }


def best_of_n(rewards: Sequence[float | None]) -> float:
    """Return the score of an item whose right response stands first: 1 ÷ responses tied for the highest reward, or 0.

    A missing reward makes it 0.
    """
    known = [reward for reward in rewards if reward is not None]
    if len(known) < len(rewards) or known[0] < max(known):
        return 0.0
    return 1.0 / known.count(max(known))


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for placed in rows:
        row = placed.row
        subset, id = required_text(row, "subset"), str(required(row, "id"))
        right, wrong = (required_texts(row, name) for name in ("chosen", "rejected"))
        if not right or not wrong:
            raise DataError("chosen or rejected is empty; a prompt needs a right and a wrong response")
        facts = _facts(subset, id, len(right))
        count = len(right)
        gathering.add(
            f"{subset}/{id}",
            subset=subset,
            prompt=required_text(row, "prompt"),
            responses=[*right, *wrong],
            preferences=[(i, count + j) for i in range(count) for j in range(len(wrong))],
            facts=facts,
        )


def _facts(subset: str, id: str, right: int) -> dict[str, JsonValue]:
    if subset != TIES:
        return {"right": right}
    kind, _, key = id.partition(":")
    if kind not in KINDS or not key:
        raise DataError(f"id is {id!r}; in {TIES} it must be ref:K or tied:K")
    return {"right": right, "kind": kind, "key": key}


def _results(rows: Iterator[PlacedRow]) -> Iterator[ItemScore]:
    """Yield the items of ``eval-set-scores/MODEL.json``, which the official package writes.

    Rows have ``subset``, ``id``, ``num_correct``, ``scores`` (one per response, the right ones first) and ``results``.
    A judge that picks one of four has ``results`` alone outside Ties: 1, 0, or 0.25 where no pick could be read.
    """
    for placed in rows:
        row, id = placed.row, str(required(placed.row, "id"))
        subset = required_text(row, "subset")
        scores = None if row.get("scores") is None else list_of(row["scores"], "scores")
        right = 1 if subset != TIES else whole(required(row, "num_correct"), "num_correct")
        if scores is None:
            scores = [None] * (CHOICES if subset != TIES else (right or 0) + 1)
        if not 0 < (right or 0) < len(scores):
            raise DataError(
                f"scores has {len(scores)} entries of which {right} are of right responses; each side needs one"
            )
        rewards, reason = recorded(scores, "scores")
        facts: dict[str, JsonValue] = {"subset": subset, **_facts(subset, id, right or 0)}
        if subset != TIES:
            facts |= result_facts(row.get("results"), rewards, best_of_n(rewards))
        name = f"{subset}/{id}"
        yield item_without_group(f"reward_bench_2/{name}", rewards, facts, reason=reason, prompt=name)


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the comparison of an item outside Ties; its category is the subset."""
    subset = str(item.metadata["subset"])
    result = published_result(item)
    if result is not None:
        return [
            ComparisonOutcome(subset, item.prompt_key, result, result, float(0 < result < 1), 1 / len(item.rewards))
        ]
    value = best_of_n(item.rewards)
    known = [reward for reward in item.rewards if reward is not None]
    missing = len(known) < len(item.rewards)
    tied = float(not missing and known[0] == max(known) and known.count(known[0]) > 1)
    return [ComparisonOutcome(subset, item.prompt_key, value, None if missing else value, tied, 1 / len(item.rewards))]


def ties_prompt(item: ItemScore) -> TiesPrompt:
    """Return a Ties item with its rewards; a missing one is NaN, and so are the margin and the spread."""
    rewards = tuple(math.nan if reward is None else reward for reward in item.rewards)
    count = int(str(item.metadata["right"]))
    return TiesPrompt(str(item.metadata["key"]), str(item.metadata["kind"]), rewards[:count], rewards[count:])


def decide_ties(prompts: Sequence[TiesPrompt]) -> list[ComparisonOutcome]:
    """Return the terms of ``TIES_SCORE`` as rows: cells ``Ties/ref``, ``Ties/tied`` and ``Ties/both``, by key."""
    merged = merge_ties(prompts)
    rows = []
    for (kind, key), prompt in merged.items():
        margin, count = prompt.margin, len(prompt.right)
        won, tied = float(margin > 0), float(margin == 0)
        common = None if math.isnan(margin) else won + 0.5 * tied
        chance = 1 / math.comb(count + len(prompt.wrong), count)
        rows.append(ComparisonOutcome(f"{TIES}/{kind}", f"{TIES}/{key}", won, common, tied, chance))
    # A tied prompt with a single right response has no spread: the official package leaves it out of these means.
    spread = (key for (kind, key), each in merged.items() if kind == "tied" and len(each.right) > 1)
    for key in sorted(key for key in spread if ("ref", key) in merged):
        ref, tied = merged["ref", key], merged["tied", key]
        value = beyond_spread(ref, tied)
        common = None if math.isnan(ref.margin + tied.margin) else value
        shape = (len(ref.right), len(ref.wrong), len(tied.right), len(tied.wrong))
        rows.append(ComparisonOutcome(f"{TIES}/both", f"{TIES}/{key}", value, common, 0.0, _chance_beyond(*shape)))
    return rows


@functools.cache
def _chance_beyond(ref_right: int, ref_wrong: int, tied_right: int, tied_wrong: int) -> float:
    """Return the mean of ``beyond_spread`` over standard normal rewards: of them, unlike of an order, it depends."""
    generator = np.random.default_rng(0)

    def draw(kind: str, right: int, wrong: int) -> TiesPrompt:
        return TiesPrompt("", kind, tuple(generator.standard_normal(right)), tuple(generator.standard_normal(wrong)))

    pairs = ((draw("ref", ref_right, ref_wrong), draw("tied", tied_right, tied_wrong)) for _ in range(RANDOM_DRAWS))
    return float(np.mean([beyond_spread(ref, tied) for ref, tied in pairs]))


def _decide_all(items: Sequence[ItemScore]) -> list[ComparisonOutcome]:
    rows = [row for item in items if item.metadata["subset"] != TIES for row in decide(item)]
    return rows + decide_ties([ties_prompt(item) for item in items if item.metadata["subset"] == TIES])


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``."""
    parts: dict[str, Part] = {
        "score": mean_of(*SUBSETS, TIES_SCORE),
        TIES: TIES_SCORE,
        **{name: name for name in SUBSETS},
    }
    found = MetricSet("benchmark", "score", reward_counts(items))
    found.details = put_composites(found, items, _decide_all, parts, in_order=False) | contradicted(items)
    found.rules["random"] = f"in {TIES}, standard normal rewards, {RANDOM_DRAWS} draws for each shape of prompt"
    rest = [item for item in items if item.metadata["subset"] != TIES]
    slices = worst_first(rest, decide, "score", slice_of=subset_of)
    of_ties = found.known(TIES)
    if of_ties is not None:
        slices[TIES] = {"score": of_ties, **found.baselines[TIES]}
    found.slices = lowest_first(slices, "score")
    return found


REWARD_BENCH_2 = declared("reward_bench_2", read=_read, compute=metrics, results=_results)
