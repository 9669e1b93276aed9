"""Metrics of responses that are correct or not: telling them apart, and choosing the best of K."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from plaudit.evaluation.metrics.best_of_n import (
    LabelledGroup,
    Labels,
    label_status,
    labelled_group,
    put_curve,
    response_rows,
)
from plaudit.evaluation.metrics.metric_set import (
    ONLY_WITHIN_GROUPS,
    TIES,
    MetricSet,
    label_counts,
    scored_with_prompts,
)
from plaudit.evaluation.metrics.order import chance_of_picks, put_pairwise, unlabelled
from plaudit.evaluation.metrics.reward_scale import Threshold, right_threshold
from plaudit.records import ItemScore
from plaudit.statistics.agreement import TieRule

_MAJORITY = (
    "the most frequent final answer, one drawn where several are; a response that gives it is drawn; "
    "without any answer, any response"
)


def outcome_metrics(items: Sequence[ItemScore], *, tie_rule: TieRule, relative: bool = False) -> MetricSet:
    """Return the metrics of separating correct responses from others, and of choosing by reward.

    - ``best_of_k`` (the primary metric): expected accuracy of the response with the highest reward of its group, one
      being drawn where several share it, over groups of at least two responses; beside it a random choice, the
      longest response, the vote of the majority over final answers, and the oracle that is right wherever it can be;
    - ``best_of_k_decidable``: the same over the groups that hold correct and wrong responses, whose proportion is
      ``decidable_groups``;
    - ``auc``: probability that a correct response has a higher reward than a wrong one, over all responses;
    - ``pairwise_agreement``, ``pairwise_agreement_by_group``: the same within a group, ties by ``tie_rule``;
    - ``accuracy``: right or wrong by a threshold (see ``right_threshold``), where one means something.

    ``best_of_n`` of the measure is the expected accuracy of the best of n (see ``best_of_n.put_curve``).

    ``relative`` rewards are numbers of their group: ``auc`` and ``accuracy`` are then absent. Intervals are over
    prompts.
    """
    statuses = [label_status(_outcomes(item), item.rewards) for item in items]
    problems = [
        labelled_group(item, _outcomes(item), item.rewards, prompt, item.answers or (None,) * len(item.rewards))
        for item, prompt in scored_with_prompts(items, statuses)
    ]
    several = [problem for problem in problems if len(problem.worth) > 1]
    found = MetricSet("outcome", "best_of_k" if several else "auc", label_counts(statuses), statuses=statuses)
    found.rules = {"ties": TIES[tie_rule], "majority_vote": _MAJORITY}
    _put_choice(found, "best_of_k", several, "no group has two responses of known outcome")
    decidable = [problem for problem in several if problem.has_order]
    _put_choice(found, "best_of_k_decidable", decidable, "no group holds correct and wrong responses")
    is_decidable, prompts = [problem.has_order for problem in several], [problem.prompt for problem in several]
    found.put_mean("decidable_groups", is_decidable, prompts, "no group has two responses of known outcome")
    if relative:
        found.absent |= dict.fromkeys(("auc", "accuracy"), ONLY_WITHIN_GROUPS)
    else:
        _put_responses(found, problems, right_threshold([item for item, _ in scored_with_prompts(items, statuses)]))
    ties = put_pairwise(found, several, tie_rule)
    put_curve(found, problems, is_proportion=True)
    found.details = _details(items, problems, several) | {"pairs_of_equal_rewards": ties}
    return found


def majority_accuracy(problem: LabelledGroup) -> float:
    """Return the expected accuracy of a vote over final answers; see ``measure_outcome`` for ties and no answer."""
    votes = Counter(answer for answer in problem.answers if answer is not None)
    if not votes:
        return float(problem.worth.mean())
    most = max(votes.values())
    winners = [answer for answer, count in votes.items() if count == most]
    gives = [[answer == winner for answer in problem.answers] for winner in winners]
    return float(np.mean([problem.worth[np.array(mask)].mean() for mask in gives]))


def _put_choice(found: MetricSet, name: str, problems: Sequence[LabelledGroup], reason: str) -> None:
    prompts = np.array([problem.prompt for problem in problems], dtype=int)
    picked = [chance_of_picks(problem.rewards, problem.worth) for problem in problems]
    rules = {
        "random": [float(problem.worth.mean()) for problem in problems],
        "longest_response": [chance_of_picks(problem.lengths, problem.worth) for problem in problems],
        "majority_vote": [majority_accuracy(problem) for problem in problems],
        "oracle": [float(problem.worth.any()) for problem in problems],
    }
    found.put_mean(name, picked, prompts, reason, rules, kind="fraction")


def _put_responses(found: MetricSet, problems: Sequence[LabelledGroup], cut: Threshold) -> None:
    """Put the metrics of single responses, and the rule of the threshold."""
    correct, rewards, lengths, prompts = response_rows(problems)
    right = correct.astype(bool)
    one_class = "all responses are correct" if right.all() else "no response is correct"
    why = one_class if len(right) else "no response was scored"
    found.put_auc("auc", rewards, right, prompts, why, longer_response=lengths)
    found.rules["threshold"] = cut.rule
    if not cut.is_known or not len(right):
        found.absent["accuracy"] = cut.rule if len(right) else why
        return
    rules = {"always_correct": correct, "always_wrong": 1.0 - correct}
    found.put_mean("accuracy", (rewards >= cut.value) == right, prompts, "no response was scored", rules)


def _details(
    items: Sequence[ItemScore], problems: Sequence[LabelledGroup], several: Sequence[LabelledGroup]
) -> dict[str, int]:
    sizes = [len(problem.worth) for problem in several]
    return {
        "responses": sum(len(problem.worth) for problem in problems),
        "correct_responses": int(sum(problem.worth.sum() for problem in problems)),
        "responses_of_unknown_outcome": unlabelled(items, [_outcomes(item) for item in items]),
        "groups_of_one": len(problems) - len(several),
        "groups_of_several": len(several),
        "decidable_groups": sum(problem.has_order for problem in several),
        "smallest_k": min(sizes, default=0),
        "largest_k": max(sizes, default=0),
        "responses_without_an_answer": sum(problem.answers.count(None) for problem in several),
        "groups_without_an_answer": sum(not any(problem.answers) for problem in several),
    }


def _outcomes(item: ItemScore) -> Labels:
    return item.outcomes or ()
