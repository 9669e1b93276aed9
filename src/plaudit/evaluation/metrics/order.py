"""Metrics of how well rewards order the responses of a group: by their ranks, and by ratings of an attribute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from plaudit.evaluation.metrics.best_of_n import (
    LabelledGroup,
    Labels,
    label_status,
    labelled,
    labelled_group,
    put_curve,
    response_rows,
)
from plaudit.evaluation.metrics.metric_set import (
    ONLY_WITHIN_GROUPS,
    TIES,
    MetricSet,
    Status,
    exact,
    label_counts,
    mean_by_group,
    prompt_numbers,
    scored_with_prompts,
)
from plaudit.records import ItemScore
from plaudit.statistics.agreement import TieRule, preference_accuracy
from plaudit.statistics.correlation import CorrelationKind, correlation, kendall_tau_b, why_undefined
from plaudit.statistics.metric import RowMean, RowStatistic

_KINDS: tuple[CorrelationKind, ...] = ("spearman", "pearson")
_NO_ORDER = "no group has two responses with different labels"


@dataclass(frozen=True, slots=True)
class OrderedPairs:
    """Every two responses of a group of different worth: better − worse, with their group and prompt; [pair]."""

    margins: np.ndarray
    length_differences: np.ndarray
    groups: np.ndarray
    prompts: np.ndarray

    def __len__(self) -> int:
        return len(self.margins)


def pairs_by_worth(worth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return [pair] both responses of each pair of different ``worth``, and 1 where the first is better, else −1."""
    first, second = np.triu_indices(len(worth), 1)
    sign = np.sign(worth[first] - worth[second])
    kept = sign != 0
    return first[kept], second[kept], sign[kept]


def ordered_pairs(groups: Sequence[LabelledGroup]) -> OrderedPairs:
    """Return every pair of responses within a group that the label holds to be of different worth."""
    margins, lengths, owners = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, dtype=int)]
    for number, group in enumerate(groups):
        first, second, sign = pairs_by_worth(group.worth)
        margins.append(sign * (group.rewards[first] - group.rewards[second]))
        lengths.append(sign * (group.lengths[first] - group.lengths[second]))
        owners.append(np.full(len(sign), number, dtype=int))
    owner = np.concatenate(owners)
    prompts = np.array([group.prompt for group in groups], dtype=int)
    return OrderedPairs(np.concatenate(margins), np.concatenate(lengths), owner, prompts[owner])


def chance_of_picks(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Return the probability that a response drawn from those with the highest score is a wanted one; [response]."""
    return float(wanted[scores == scores.max()].mean())


def put_pairwise(found: MetricSet, groups: Sequence[LabelledGroup], tie_rule: TieRule) -> int:
    """Put the agreement over pairs within groups, and return how many pairs have equal rewards.

    ``pairwise_agreement`` weighs every pair the same, so groups with many responses count more;
    ``pairwise_agreement_by_group`` weighs every group the same. Beside them: the longer response (a coin where both
    are of one length) and a coin.
    """
    pairs = ordered_pairs(groups)
    agreement = preference_accuracy(pairs.margins, tie_rule=tie_rule)
    longer = preference_accuracy(pairs.length_differences, tie_rule="half").correct
    owners, prompts = pairs.groups[agreement.scored], pairs.prompts[agreement.scored]
    why = "both responses of every pair have equal rewards" if len(pairs) else _NO_ORDER
    found.put("pairwise_agreement", RowMean(agreement.correct, prompts), why)
    rules = {"longer_response": RowMean(longer, pairs.prompts), "random": exact(0.5, len(pairs))}
    found.beside("pairwise_agreement", **rules)
    found.put("pairwise_agreement_by_group", mean_by_group(agreement.correct, owners, prompts), why)
    by_length, drawn = mean_by_group(longer, pairs.groups, pairs.prompts), exact(0.5, len(np.unique(pairs.groups)))
    found.beside("pairwise_agreement_by_group", longer_response=by_length, random=drawn)
    return agreement.ties


def put_top_one(found: MetricSet, groups: Sequence[LabelledGroup]) -> None:
    """Put ``top_one``: how often the response with the highest reward is a best one, over groups with an order.

    A response is drawn where several share the highest reward. Beside it: the longest response and a random one.
    """
    ordered = [group for group in groups if group.has_order]
    prompts = np.array([group.prompt for group in ordered], dtype=int)
    best = [(group.worth == group.worth.max()).astype(float) for group in ordered]
    rules = {
        "longer_response": [
            chance_of_picks(group.lengths, wanted) for group, wanted in zip(ordered, best, strict=True)
        ],
        "random": [float(wanted.mean()) for wanted in best],
    }
    picked = [chance_of_picks(group.rewards, wanted) for group, wanted in zip(ordered, best, strict=True)]
    found.put_mean("top_one", picked, prompts, _NO_ORDER, rules, kind="fraction")


def put_kendall(found: MetricSet, groups: Sequence[LabelledGroup]) -> int:
    """Put ``kendall_tau``, the mean over groups of τ-b between reward and worth; return the groups without one.

    A group whose rewards are all equal has no τ and is left out. Beside it: the same of the length, and 0 for a
    random order.
    """
    ordered = [group for group in groups if group.has_order]
    own, longer = (
        [
            (tau, group.prompt)
            for group in ordered
            if (tau := kendall_tau_b(getattr(group, side), group.worth)) is not None
        ]
        for side in ("rewards", "lengths")
    )
    found.put("kendall_tau", _mean(own), "fewer than two prompts have a group in which both ranks and rewards differ")
    found.beside("kendall_tau", longer_response=_mean(longer), random=exact(0.0, len(own)))
    return len(ordered) - len(own)


def _mean(rows: Sequence[tuple[float, int]]) -> RowMean:
    values = np.array([value for value, _ in rows], dtype=float)
    return RowMean(values, np.array([prompt for _, prompt in rows], dtype=int), "signed")


def worth_by_rank(item: ItemScore) -> list[float | None]:
    """Return [response] the worth that its rank gives it, higher being better; None where it has none."""
    return [None if rank is None else -rank for rank in item.ranks or ()]


def _ranking_status(item: ItemScore) -> Status:
    """Return the status of ``item``: unscored where all ranks are equal, failed where a ranked one has no reward."""
    only_one = len(set(item.ranks or ()) - {None}) == 1
    return "unscored" if only_one else label_status(worth_by_rank(item), item.rewards)


def ranking_metrics(items: Sequence[ItemScore], *, tie_rule: TieRule) -> MetricSet:
    """Return how well rewards agree with the ranks of responses; those without a rank are left out.

    - ``pairwise_agreement``: over all pairs of different rank, each pair weighing the same (the primary metric);
    - ``pairwise_agreement_by_group``: each group weighing the same;
    - ``top_one``: how often the response with the highest reward has the best rank, equal rewards being drawn;
    - ``kendall_tau``: τ-b between reward and rank, mean over groups.

    ``best_of_n`` of the measure is how often the best of n by reward is ranked above another response of its group, one
    drawn from all others, equal ranks counting half (see ``wins`` and ``put_curve``). Groups whose ranks are all
    equal are not in it.

    ``tie_rule`` is for the pairs. Baselines are the longer response and a random order.
    """
    statuses = [_ranking_status(item) for item in items]
    groups = [
        labelled_group(item, worth_by_rank(item), item.rewards, prompt)
        for item, prompt in scored_with_prompts(items, statuses)
    ]
    found = MetricSet("ranking", "pairwise_agreement", label_counts(statuses), statuses=statuses)
    found.rules = {"ties": TIES[tie_rule], "weight": "pairwise_agreement weighs every pair the same"}
    ties = put_pairwise(found, groups, tie_rule)
    put_top_one(found, groups)
    undefined = put_kendall(found, groups)
    put_curve(found, [replace(group, worth=wins(group.worth)) for group in groups], is_proportion=True)
    found.details = {
        "responses": sum(len(group.worth) for group in groups),
        "unranked_responses": unlabelled(items, [worth_by_rank(item) for item in items]),
        "pairs": len(ordered_pairs(groups)),
        "pairs_of_equal_rewards": ties,
        "groups_of_equal_rewards": undefined,
    }
    return found


def wins(worth: np.ndarray) -> np.ndarray:
    """Return [response] the proportion of the other responses that each is better than, equal ones counting half.

    Unlike a rank it means the same in groups of any size; over all responses of a group its mean is ½.
    """
    ordered = np.sort(worth)
    lower, not_higher = (np.searchsorted(ordered, worth, side=side) for side in ("left", "right"))
    return (lower + 0.5 * (not_higher - lower - 1)) / (len(worth) - 1)


def unlabelled(items: Sequence[ItemScore], worth: Sequence[Labels]) -> int:
    """Return how many responses have no label, of the items of which some response has one."""
    kept = [(len(item.rewards), len(labelled(each))) for item, each in zip(items, worth, strict=True)]
    return sum(responses - known for responses, known in kept if known)


def rated_attributes(items: Iterable[ItemScore]) -> list[str]:
    """Return the attributes that some response of ``items`` has a rating of, in the order of the data."""
    names: dict[str, None] = {}
    for item in items:
        names.update((name, None) for name, values in item.ratings.items() if any(each is not None for each in values))
    return list(names)


def predicts(items: Iterable[ItemScore], attribute: str) -> bool:
    """Return whether the model that gave the rewards of ``items`` has an output named ``attribute``."""
    return any(attribute in item.attributes for item in items)


def rating_metrics(
    items: Sequence[ItemScore], attribute: str, *, predicted: bool, tie_rule: TieRule, relative: bool = False
) -> MetricSet:
    """Return how well the model's number of each response agrees with its rating of ``attribute``.

    The number is the model's output of that name where it has one (``predicted``), else its reward.

    - ``spearman`` (the primary metric), ``pearson``: over all rated responses, with intervals over prompts;
    - ``pairwise_agreement``: over pairs of responses to one prompt with different ratings, each pair weighing the
      same; ``pairwise_agreement_by_group``: each group weighing the same;
    - ``rmse``: root mean squared error, where the model predicts the attribute.

    ``best_of_n`` of the measure is the expected rating of the best of n (see ``best_of_n.put_curve``).

    ``relative`` rewards are numbers of their group: they have no correlations, and agreement is the primary metric.
    Baselines: the length of the response in place of the number, and for ``rmse`` the mean rating of these data.
    """
    worth: list[Labels] = [item.ratings.get(attribute, ()) for item in items]
    numbers = [_numbers(item, attribute, predicted=predicted) for item in items]
    statuses = [label_status(*each) for each in zip(worth, numbers, strict=True)]
    rows = zip(items, worth, numbers, prompt_numbers(items), strict=True)
    groups = [labelled_group(*row) for row, status in zip(rows, statuses, strict=True) if status == "scored"]
    relative = relative and not predicted
    primary = "pairwise_agreement" if relative else "spearman"
    found = MetricSet("rating", primary, label_counts(statuses), attribute=attribute, statuses=statuses)
    number = f"the model's output {attribute!r}" if predicted else f"its reward: the model has no output {attribute!r}"
    found.rules = {"number": number, "ties": TIES[tie_rule]}
    if relative:
        found.absent |= dict.fromkeys(_KINDS, ONLY_WITHIN_GROUPS)
    else:
        _put_correlations(found, groups)
    ties = put_pairwise(found, groups, tie_rule)
    if predicted:
        _put_error(found, groups)
    else:
        found.absent["rmse"] = (
            f"the model has no output {attribute!r}, and its reward is not in the units of the rating"
        )
    put_curve(found, groups, is_proportion=False)
    found.details = {
        "responses": sum(len(group.worth) for group in groups),
        "unrated_responses": unlabelled(items, worth),
        "groups_of_different_ratings": sum(group.has_order for group in groups),
        "pairs": len(ordered_pairs(groups)),
        "pairs_of_equal_rewards": ties,
    }
    return found


def _put_correlations(found: MetricSet, groups: Sequence[LabelledGroup]) -> None:
    worth, rewards, lengths, prompts = response_rows(groups)
    for kind in _KINDS:
        metric, reason = _correlation(rewards, worth, prompts, kind, names=("the model's number", "the rating"))
        found.put(kind, metric, reason)
        found.beside(kind, length=_correlation(lengths, worth, prompts, kind, names=("the length", "the rating"))[0])


def _correlation(
    x: np.ndarray, y: np.ndarray, prompts: np.ndarray, kind: CorrelationKind, *, names: tuple[str, str]
) -> tuple[RowStatistic | None, str]:
    """Return the correlation of x and y, both [row], and why there is none, or why it would have no interval."""
    reason = why_undefined(x, y, names=names)
    if reason is None and len(np.unique(prompts)) == 1:
        reason = "all items are of one prompt, which says nothing about others"
    if reason is not None:
        return None, reason
    metric = RowStatistic(lambda rows: correlation(x[rows], y[rows], kind), prompts, "fisher")
    return metric, "without most of the prompts there is no correlation: one side hardly varies"


def _put_error(found: MetricSet, groups: Sequence[LabelledGroup]) -> None:
    worth, rewards, _, prompts = response_rows(groups)
    rules = {"mean_rating": (worth - worth.mean()) ** 2} if len(worth) else {}
    why = "fewer than two prompts have a rating"
    found.put_mean("rmse", (rewards - worth) ** 2, prompts, why, rules, kind="root_mean_square")


def _numbers(item: ItemScore, attribute: str, *, predicted: bool) -> tuple[float | None, ...]:
    if not predicted:
        return item.rewards
    return item.attributes.get(attribute, (None,) * len(item.rewards))
