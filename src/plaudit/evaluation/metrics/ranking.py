"""What rewards say about rankings of K responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from plaudit.evaluation.metrics.best_of_n import put_curve
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import TIES, Findings, Status, label_counts, prompt_numbers
from plaudit.evaluation.metrics.order import LabelledGroup, ordered_pairs, put_kendall, put_pairwise, put_top_one
from plaudit.records import ItemScore, Measure
from plaudit.statistics.agreement import TieRule


def ranking_status(item: ItemScore) -> Status:
    """Return what becomes of ``item``: unscored where all ranks are equal, failed where a ranked one has no reward."""
    ranked = _ranked(item)
    if not ranked:
        return "absent"
    if len({item.ranks[k] for k in ranked if item.ranks is not None}) < 2:
        return "unscored"
    return "failed" if any(item.rewards[k] is None for k in ranked) else "scored"


def measure_ranking(items: Sequence[ItemScore], *, tie_rule: TieRule, estimate: Estimator) -> Measure:
    """Return how well rewards agree with the ranks of responses; those without a rank are left out.

    - ``pairwise_agreement``: over all pairs of different rank, each pair weighing the same (the main figure);
    - ``pairwise_agreement_by_group``: each group weighing the same;
    - ``top_one``: how often the response with the highest reward has the best rank, equal rewards being drawn;
    - ``kendall_tau``: τ-b between reward and rank, mean over groups.

    ``best_of_n`` of the measure is how often the best of n by reward is ranked above another response of its group, one
    drawn from all others, equal ranks counting half (see ``wins`` and ``curve_of_groups``). Groups whose ranks are all
    equal are not in it.

    ``tie_rule`` is for the pairs. Baselines are the longer response and a random order.
    """
    statuses = [ranking_status(item) for item in items]
    groups = [
        _group(item, prompt)
        for item, status, prompt in zip(items, statuses, prompt_numbers(items), strict=True)
        if status == "scored"
    ]
    found = Findings()
    ties = put_pairwise(found, groups, tie_rule, estimate)
    put_top_one(found, groups, estimate)
    undefined = put_kendall(found, groups, estimate)
    beaten = [replace(group, worth=wins(group.worth)) for group in groups]
    curve = put_curve(found, beaten, estimate, is_share=True)
    carriers = [item for item, status in zip(items, statuses, strict=True) if status != "absent"]
    return Measure(
        kind="ranking",
        headline="pairwise_agreement",
        counts=label_counts(statuses),
        details={
            "responses": sum(len(group.worth) for group in groups),
            "unranked_responses": sum(len(item.rewards) - len(_ranked(item)) for item in carriers),
            "pairs": len(ordered_pairs(groups)),
            "pairs_of_equal_rewards": ties,
            "groups_of_equal_rewards": undefined,
        },
        rules={"ties": TIES[tie_rule], "weight": "pairwise_agreement weighs every pair the same"},
        figures=found.figures,
        baselines=found.baselines,
        absent=found.absent,
        best_of_n=curve,
    )


def wins(worth: np.ndarray) -> np.ndarray:
    """Return [response] the share of the other responses that each is better than, equal ones counting half.

    Unlike a rank it means the same in groups of any size; over all responses of a group its mean is ½.
    """
    lower, equal = worth[:, None] > worth, worth[:, None] == worth
    return (lower.sum(axis=1) + 0.5 * (equal.sum(axis=1) - 1)) / (len(worth) - 1)


def _ranked(item: ItemScore) -> list[int]:
    return [k for k, rank in enumerate(item.ranks or ()) if rank is not None]


def _group(item: ItemScore, prompt: int) -> LabelledGroup:
    ranked = _ranked(item)
    ranks = item.ranks or ()
    return LabelledGroup(
        worth=-np.array([ranks[k] for k in ranked], dtype=float),
        rewards=np.array([item.rewards[k] for k in ranked], dtype=float),
        lengths=np.array([item.lengths[k] for k in ranked], dtype=float),
        prompt=prompt,
    )
