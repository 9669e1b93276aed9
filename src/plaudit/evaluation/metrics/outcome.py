"""What rewards say about responses that are correct or not: telling them apart, and choosing the best of K."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from plaudit.evaluation.metrics.best_of_n import put_curve
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.measure import (
    ONLY_WITHIN_GROUPS,
    TIES,
    Findings,
    Status,
    decision,
    known,
    label_counts,
    prompt_numbers,
)
from plaudit.evaluation.metrics.order import LabelledGroup, put_pairwise, share_of_picks
from plaudit.records import ItemScore, Measure
from plaudit.statistics.agreement import TieRule
from plaudit.statistics.classification import auc_interval

_MAJORITY = (
    "the most frequent final answer, one drawn where several are; a response that gives it is drawn; "
    "without any answer, any response"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """The responses of one group with a known outcome: ``correct``, rewards, lengths and final answers; [response]."""

    correct: np.ndarray
    rewards: np.ndarray
    lengths: np.ndarray
    answers: tuple[str | None, ...]
    prompt: int

    @property
    def is_decidable(self) -> bool:
        """Return whether some response is correct and some is not, so that the choice matters."""
        return bool(self.correct.any() and not self.correct.all())


def outcome_status(item: ItemScore) -> Status:
    """Return what becomes of ``item``: failed where a response of known outcome has no reward."""
    known_ones = _labelled(item)
    if not known_ones:
        return "absent"
    return "failed" if any(item.rewards[k] is None for k in known_ones) else "scored"


def measure_outcome(
    items: Sequence[ItemScore], *, tie_rule: TieRule, estimate: Estimator, relative: bool = False
) -> Measure:
    """Return how well rewards tell correct responses from others, and what choosing by them is worth.

    - ``best_of_k`` (the main figure): expected accuracy of the response with the highest reward of its group, one
      being drawn where several share it, over groups of at least two responses; beside it a random choice, the
      longest response, the vote of the majority over final answers, and the oracle that is right wherever it can be;
    - ``best_of_k_decidable``: the same over the groups that hold correct and wrong responses, whose share is
      ``decidable_groups``;
    - ``auc``: probability that a correct response has a higher reward than a wrong one, over all responses;
    - ``pairwise_agreement``, ``pairwise_agreement_by_group``: the same within a group, ties by ``tie_rule``;
    - ``accuracy``: right or wrong by a threshold (see ``decision``), where one means something.

    ``best_of_n`` of the measure is the expected accuracy of the best of n (see ``best_of_n.curve_of_groups``).

    ``relative`` rewards are numbers of their group: ``auc`` and ``accuracy`` are then absent. Intervals are over
    prompts.
    """
    statuses = [outcome_status(item) for item in items]
    problems = [
        _problem(item, prompt)
        for item, status, prompt in zip(items, statuses, prompt_numbers(items), strict=True)
        if status == "scored"
    ]
    several = [problem for problem in problems if len(problem.correct) > 1]
    found = Findings()
    rules = {"ties": TIES[tie_rule], "majority_vote": _MAJORITY}
    _put_choice(found, "best_of_k", several, estimate, "no group has two responses of known outcome")
    decidable = [problem for problem in several if problem.is_decidable]
    _put_choice(found, "best_of_k_decidable", decidable, estimate, "no group holds correct and wrong responses")
    shares = np.array([float(problem.is_decidable) for problem in several])
    prompts = np.array([problem.prompt for problem in several], dtype=int)
    found.put("decidable_groups", estimate.share(shares, prompts), "no group has two responses of known outcome")
    if relative:
        found.absent |= dict.fromkeys(("auc", "accuracy"), ONLY_WITHIN_GROUPS)
    else:
        rules |= _put_responses(found, problems, estimate)
    ordered = [_as_order(problem) for problem in problems]
    ties = put_pairwise(found, [group for group in ordered if len(group.worth) > 1], tie_rule, estimate)
    curve = put_curve(found, ordered, estimate, is_share=True)
    return Measure(
        kind="outcome",
        headline="best_of_k" if several else "auc",
        counts=label_counts(statuses),
        details=_details(items, problems, several) | {"pairs_of_equal_rewards": ties},
        rules=rules,
        figures=found.figures,
        baselines=found.baselines,
        absent=found.absent,
        best_of_n=curve,
    )


def majority_accuracy(problem: Problem) -> float:
    """Return the expected accuracy of a vote over final answers; see ``measure_outcome`` for ties and no answer."""
    votes = Counter(answer for answer in problem.answers if answer is not None)
    if not votes:
        return float(problem.correct.mean())
    most = max(votes.values())
    winners = [answer for answer, count in votes.items() if count == most]
    gives = [[answer == winner for answer in problem.answers] for winner in winners]
    return float(np.mean([problem.correct[np.array(mask)].mean() for mask in gives]))


def _put_choice(found: Findings, name: str, problems: Sequence[Problem], estimate: Estimator, reason: str) -> None:
    prompts = np.array([problem.prompt for problem in problems], dtype=int)
    picked = [share_of_picks(problem.rewards, problem.correct) for problem in problems]
    rules = {
        "random": [float(problem.correct.mean()) for problem in problems],
        "longest_response": [share_of_picks(problem.lengths, problem.correct) for problem in problems],
        "majority_vote": [majority_accuracy(problem) for problem in problems],
        "oracle": [float(problem.correct.any()) for problem in problems],
    }
    found.put(name, estimate.mean_share(np.array(picked), prompts), reason)
    found.beside(name, **{rule: estimate.mean_share(np.array(values), prompts) for rule, values in rules.items()})


def _put_responses(found: Findings, problems: Sequence[Problem], estimate: Estimator) -> dict[str, str]:
    """Put what is over single responses, and return the rule of the threshold."""
    correct, rewards, lengths = (
        np.concatenate([np.zeros(0), *(getattr(problem, side) for problem in problems)])
        for side in ("correct", "rewards", "lengths")
    )
    right = correct.astype(bool)
    prompts = np.array([problem.prompt for problem in problems for _ in problem.correct], dtype=int)
    one_class = "all responses are correct" if right.all() else "no response is correct"
    area = auc_interval(rewards, right, prompts, confidence=estimate.confidence)
    found.put("auc", area, one_class if len(right) else "no response was scored")
    found.beside(
        "auc",
        longer_response=auc_interval(lengths, right, prompts, confidence=estimate.confidence),
        random=known(0.5, len(right), estimate) if area is not None else None,
    )
    cut = decision(rewards, name="reward")
    if cut.reason is not None or not len(right):
        found.absent["accuracy"] = cut.reason or "no response was scored"
        return {"threshold": cut.rule}
    agrees = ((rewards >= cut.threshold) == right).astype(float)
    found.put("accuracy", estimate.share(agrees, prompts), "no response was scored")
    found.beside(
        "accuracy",
        always_correct=estimate.share(correct, prompts),
        always_wrong=estimate.share(1.0 - correct, prompts),
    )
    return {"threshold": cut.rule}


def _details(items: Sequence[ItemScore], problems: Sequence[Problem], several: Sequence[Problem]) -> dict[str, int]:
    sizes = [len(problem.correct) for problem in several]
    return {
        "responses": sum(len(problem.correct) for problem in problems),
        "correct_responses": int(sum(problem.correct.sum() for problem in problems)),
        "responses_of_unknown_outcome": sum(
            len(item.rewards) - len(_labelled(item)) for item in items if _labelled(item)
        ),
        "groups_of_one": len(problems) - len(several),
        "groups_of_several": len(several),
        "decidable_groups": sum(problem.is_decidable for problem in several),
        "smallest_k": min(sizes, default=0),
        "largest_k": max(sizes, default=0),
        "responses_without_an_answer": sum(problem.answers.count(None) for problem in several),
        "groups_without_an_answer": sum(not any(problem.answers) for problem in several),
    }


def _labelled(item: ItemScore) -> list[int]:
    return [k for k, outcome in enumerate(item.outcomes or ()) if outcome is not None]


def _problem(item: ItemScore, prompt: int) -> Problem:
    chosen = _labelled(item)
    outcomes = item.outcomes or ()
    answers = item.answers or (None,) * len(item.rewards)
    return Problem(
        correct=np.array([outcomes[k] for k in chosen], dtype=float),
        rewards=np.array([item.rewards[k] for k in chosen], dtype=float),
        lengths=np.array([item.lengths[k] for k in chosen], dtype=float),
        answers=tuple(answers[k] for k in chosen),
        prompt=prompt,
    )


def _as_order(problem: Problem) -> LabelledGroup:
    return LabelledGroup(problem.correct, problem.rewards, problem.lengths, problem.prompt)
