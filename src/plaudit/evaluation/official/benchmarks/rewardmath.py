"""RewardMATH: one right solution of a problem against nine wrong ones, each by another model.

- ``accuracy``: share of problems whose lowest chosen reward is strictly above the highest rejected one;
- ``mrr``: mean of 1 ÷ rank of the best chosen solution, where a rejected one with the same reward stands above it;
- ``accuracy_ties_won``: the accuracy with "at least" in place of "strictly above", which the official code prints too.

Of a model that gives rewards to steps there are all three for every way to make one reward of them: ``accuracy_min``,
``mrr_min``, ``accuracy_ties_won_min`` and so on with ``max``, ``product``, ``geometric_mean``, ``mean``,
``mean_logit``, ``mean_odds`` and ``last``; without such an ending they are of the rewards that the model itself gives.

A judge that is shown pairs names the better one of the chosen and each rejected solution. As in the official code the
chosen one then has 1 + its wins as its reward, a rejected one 1 where it lost, and more than that where it won.

The authors publish results on math-prm of RewardBench as well, the same problems with one solution against one: read
as the subset ``math_prm``. Some published files hold a problem twice; like the official code, every row counts.

Source: Kim et al. (2024), arXiv 2410.01729, with the official code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from plaudit.data.reading.sources import fields
from plaudit.data.schema.group import Group, Step, conversation
from plaudit.errors import DataError, InvalidGroupError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    category_metrics,
    composite_of,
    mean_of_rows,
    subset_of,
    worst_first,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.error_location import joined
from plaudit.evaluation.official.files import Numbers, PlacedRow, recorded
from plaudit.evaluation.store.items import prompt_hash
from plaudit.records import ItemScore
from plaudit.statistics.steps import Aggregation, aggregate_steps

SUBSET = "math"
CHOSEN_BY = "human_to_GPT-4"
"""Name under which the official files have the chosen solution."""

AGGREGATIONS: Sequence[Aggregation] = ENTRIES["rewardmath"]["tables"]["aggregations"]
RESULT_AGGREGATION: Aggregation = "product"
"""Aggregation of step rewards into those of solutions, for published results that hold only steps."""

MATH_PRM = "math_prm"
"""The subset of RewardBench on which the authors publish results too: one solution against one."""

_MATH_PRM_REJECTED = "modified_with_GPT-4"
_SIDES = {SUBSET: (1, 9), MATH_PRM: (1, 1)}
"""Subset → usual numbers of chosen and of rejected solutions."""

_OF_PROBABILITIES = ("product", "geometric_mean", "mean_logit", "mean_odds")
_ROUNDING = 1e-3
"""Tolerance above 1 for a probability summed in half precision."""
_TYPES = ("rejected", "chosen")
_METRICS = {"accuracy": "accuracy", "mrr": "mrr"}


@dataclass(frozen=True, slots=True)
class _Solution:
    reference: str
    chosen: bool
    response: str
    steps: tuple[Step, ...]


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    """Add each problem as one group of its solutions, in the order of the rows."""
    by_problem: dict[str, list[_Solution]] = {}
    known: dict[str, tuple[str, object]] = {}
    for placed in rows:
        row = placed.row
        problem = str(fields.required(row, "problem_id"))
        texts = fields.required_texts(row, "eval_solution")
        kind = fields.place(fields.required(row, "solution_type"), "solution_type", _TYPES)
        reference = fields.required_text(row, "solution_reference")
        by_problem.setdefault(problem, []).append(_Solution(reference, bool(kind), *joined(texts, [None] * len(texts))))
        known[problem] = fields.required_text(row, "problem"), row.get("subject")
    for problem, own in by_problem.items():
        prompt, subject = known[problem]
        gathering.add(
            problem,
            subset=SUBSET,
            prompt=prompt,
            responses=[each.response for each in own],
            steps=[each.steps for each in own],
            outcomes=[each.chosen for each in own],
            preferences=[
                (better, worse)
                for better, one in enumerate(own)
                for worse, other in enumerate(own)
                if one.chosen and not other.chosen
            ],
            facts={
                "chosen": [each.chosen for each in own],
                "references": [each.reference for each in own],
                **({} if subject is None else {"subject": str(subject)}),
            },
        )


def _results(rows: Iterator[PlacedRow]) -> list[ItemScore]:
    """Return the items of an official file of results: per problem a reward, step rewards or a verdict per solution.

    Rows are ``{problem, solution_reference[], score[]}``. A judge's row has a ``chosen_position`` too, and of ``score``
    each entry is the position it preferred, or none. On math-prm, process models have a row per solution instead:
    ``{problem, problem_id, solution_type, output: {step_scores[]}}``.
    """
    found_rows: list[tuple[str, str, _Result]] = []
    solutions: dict[str, tuple[str, list[tuple[bool, object]]]] = {}
    for placed in rows:
        row = placed.row
        prompt = fields.required_text(row, "problem")
        if "solution_type" in row:
            kind = fields.place(fields.required(row, "solution_type"), "solution_type", _TYPES)
            output = fields.mapping(fields.required(row, "output"), "output")
            given = fields.items(fields.required(output, "step_scores", "output."), "output.step_scores")
            name = f"{MATH_PRM}/{fields.required(row, 'problem_id')}"
            solutions.setdefault(name, (prompt, []))[1].append((bool(kind), given))
            _prompt_key(prompt)
            _steps([given])
            continue
        references = fields.required_texts(row, "solution_reference")
        scores = fields.required_list(row, "score")
        fields.same_length(scores, len(references), "score", "solutions in solution_reference")
        judged = row.get("chosen_position")
        made = _scored(references, scores) if judged is None else _judged(references, scores, judged)
        _prompt_key(prompt)
        found_rows.append((str(placed.number - 1), prompt, made))
    for name, (prompt, own) in solutions.items():
        facts: dict[str, JsonValue] = {"chosen": [chosen for chosen, _ in own]}
        found_rows.append((name, prompt, _stepwise([given for _, given in own], facts | {"subset": MATH_PRM})))
    seen: set[str] = set()
    return [_result_item(name, prompt, made, seen) for name, prompt, made in found_rows]


def _prompt_key(prompt: str) -> str:
    try:
        # The results hold no solutions; the problem itself stands in for one, as only its prompt is asked for.
        return prompt_hash(Group(conversation(prompt), (prompt,)))
    except InvalidGroupError as error:
        raise DataError(str(error)) from None


def _result_item(name: str, prompt: str, made: _Result, seen: set[str]) -> ItemScore:
    key = _prompt_key(prompt)
    subset = str(made.facts.get("subset", SUBSET))
    again = {"repeats": 1} if f"{subset}/{key}" in seen else {}
    seen.add(f"{subset}/{key}")
    return ItemScore(
        id=f"rewardmath/{name}",
        source=subset,
        prompt_key=key,
        rewards=made.rewards,
        lengths=(),
        reason=made.reason,
        steps=made.steps,
        metadata={"subset": subset, **made.facts, **again},
    )


@dataclass(frozen=True, slots=True)
class _Result:
    """Rewards and facts of the solutions in one row of results."""

    rewards: Numbers
    facts: dict[str, JsonValue]
    steps: tuple[Numbers | None, ...] | None = None
    reason: str | None = None


def _scored(references: Sequence[str], scores: Sequence[object]) -> _Result:
    """Return the result of a model that gives a reward to each solution, or to each of its steps."""
    subset = MATH_PRM if set(references) == {CHOSEN_BY, _MATH_PRM_REJECTED} else SUBSET
    facts: dict[str, JsonValue] = {
        "subset": subset,
        "chosen": [name == CHOSEN_BY for name in references],
        "references": list(references),
    }
    if any(fields.is_list(score) for score in scores):
        return _stepwise(scores, facts)
    rewards, reason = recorded(scores, "score")
    return _Result(rewards, facts, reason=reason)


def _stepwise(scores: Sequence[object], facts: dict[str, JsonValue]) -> _Result:
    steps, reason = _steps(scores)
    rewards = tuple(_aggregated(each, RESULT_AGGREGATION) for each in steps)
    return _Result(rewards, facts | {"rewards_are": f"the {RESULT_AGGREGATION} of those of steps"}, steps, reason)


def _steps(scores: Sequence[object]) -> tuple[tuple[Numbers | None, ...], str | None]:
    """Return the step rewards of each solution, and why a solution lacks its reward; None where none does."""
    steps: list[Numbers | None] = []
    reasons: list[str] = []
    for k, score in enumerate(scores):
        own = None if score is None else fields.items(score, f"score[{k}]")
        numbers, why = (None, f"score[{k}] is null") if own is None else recorded(own, f"score[{k}]")
        steps.append(numbers)
        reasons += [why or f"score[{k}] has no steps"] if why is not None or not numbers else []
    return tuple(steps), "; ".join(reasons) or None


def _judged(references: Sequence[str], scores: Sequence[object], positions: object) -> _Result:
    """Return the result of a judge that compared the chosen solution with each rejected one."""
    places = fields.items(positions, "chosen_position")
    fields.same_length(places, len(references), "chosen_position", "solutions in solution_reference")
    won = []
    for index, (score, own) in enumerate(zip(scores, places, strict=True)):
        fields.place(own, f"chosen_position[{index}]", ("A", "B"))
        if score not in ("A", "B", None, "None"):
            raise DataError(f"score[{index}] is {fields.found(score)}; of a judge it must be A, B or null")
        won.append(score == own)
    above = float(len(won) + 2)
    return _Result(
        (1.0 + sum(won), *(1.0 if each else above for each in won)),
        {
            "chosen": [True, *([False] * len(won))],
            "references": [CHOSEN_BY, *references],
            "verdicts": [each in ("A", "B") for each in scores],
        },
    )


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return two comparisons of ``item``: whether every chosen solution is first, and 1 ÷ the best rank of one."""
    chosen, rejected = _sides(item)
    total, wanted = len(chosen) + len(rejected), len(chosen)
    # The best of the chosen is at rank j of a random order with the chance C(n − j, c − 1) ÷ C(n, c).
    ranks = range(1, total - wanted + 2)
    chances = [math.comb(total - rank, wanted - 1) / math.comb(total, wanted) for rank in ranks]
    chance_mrr = sum(chance / rank for rank, chance in zip(ranks, chances, strict=True))
    whole = None not in item.rewards
    own = [-math.inf if reward is None else reward for reward in chosen]
    others = [math.inf if reward is None else reward for reward in rejected]
    above, tied = sum(reward > max(own) for reward in others), sum(reward == max(own) for reward in others)
    low, high = own.count(min(own)), others.count(min(own))
    is_tied = whole and min(own) == max(others)
    first = float(whole and min(own) > max(others))
    shared = 1 / math.comb(low + high, low) if is_tied else first
    shared_mrr = _shared_rank(above, own.count(max(own)), tied)
    key = item.prompt_key
    return [
        ComparisonOutcome(
            "accuracy", key, first, shared if whole else None, float(is_tied), 1 / math.comb(total, wanted)
        ),
        ComparisonOutcome(
            "mrr", key, 1 / (1 + above + tied), shared_mrr if whole else None, float(tied > 0), chance_mrr
        ),
    ]


def _shared_rank(above: int, own: int, tied: int) -> float:
    """Return the mean of 1 ÷ rank of the first of ``own``, over all orders with ``tied`` others, behind ``above``."""
    total = own + tied
    ways = math.comb(total, own)
    return sum(math.comb(total - rank, own - 1) / ways / (above + rank) for rank in range(1, tied + 2))


def _sides(item: ItemScore) -> tuple[list[float | None], list[float | None]]:
    marks = fields.items(item.metadata["chosen"], "chosen")
    chosen, rejected = (
        [reward for reward, mark in zip(item.rewards, marks, strict=True) if mark is side] for side in (True, False)
    )
    return chosen, rejected


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``, and of a model of steps those of every aggregation."""
    unusable = [item for item in items if not all(_sides(item))]
    kept = [item for item in items if all(_sides(item))]
    verdicts = [read for item in kept for read in fields.items(item.metadata.get("verdicts", []), "verdicts")]
    usual = sum(tuple(map(len, _sides(item))) == _SIDES[subset_of(item)] for item in items)
    details = {"problems_without_a_side_left_out": len(unusable), "problems_not_of_1_and_9": len(items) - usual}
    if verdicts:
        details |= {"verdicts": len(verdicts), "verdicts_unreadable": verdicts.count(False)}
    found_here = category_metrics(kept, decide, _METRICS, details=details)
    _put_ties_won(found_here, kept, "accuracy_ties_won")
    if any(item.steps is not None and any(item.steps) for item in kept):
        for how in AGGREGATIONS:
            _put_aggregation(found_here, kept, how)
    # Baselines read no step, so on the same problems they are equal under every aggregation.
    for name in found_here.metrics:
        of = name.split("_")[0]
        if of in _METRICS:
            found_here.baselines[name] = found_here.baselines.get(of, {})
    made_of = sorted({str(item.metadata["rewards_are"]) for item in kept if "rewards_are" in item.metadata})
    if made_of:
        found_here.rules["rewards_of_solutions"] = "; ".join(made_of)
    found_here.slices = worst_first(kept, lambda item: decide(item)[:1], "accuracy", slice_of=_subject)
    return found_here


def _put_aggregation(found_here: MetricSet, items: Sequence[ItemScore], how: Aggregation) -> None:
    """Put accuracy and MRR of the rewards that ``how`` makes of those of steps, or why there are none."""
    given = (reward for item in items for steps in item.steps or () for reward in steps or ())
    if how in _OF_PROBABILITIES and not all(reward is None or 0.0 <= reward <= 1.0 + _ROUNDING for reward in given):
        why = "a step reward is no probability: outside 0 to 1"
        found_here.absent |= dict.fromkeys((f"{name}_{how}" for name in (*_METRICS, "accuracy_ties_won")), why)
        return
    made = [_with_steps(item, how) for item in items]
    rows = [row for item in made for row in decide(item)]
    for name in _METRICS:
        metric = composite_of([row for row in rows if row.category == name], name)
        if metric is not None:
            found_here.put(f"{name}_{how}", metric, "")
    _put_ties_won(found_here, made, f"accuracy_ties_won_{how}")


def _put_ties_won(found_here: MetricSet, items: Sequence[ItemScore], name: str) -> None:
    won = [float(None not in item.rewards and _at_least(item)) for item in items]
    metric = mean_of_rows(won, [item.prompt_key for item in items])
    if metric is not None:
        found_here.put(name, metric, "")


def _subject(item: ItemScore) -> str:
    return str(item.metadata.get("subject", item.metadata["subset"]))


def _at_least(item: ItemScore) -> bool:
    chosen, rejected = _sides(item)
    highest = max(reward for reward in rejected if reward is not None)
    return all(reward is not None and reward >= highest for reward in chosen)


def _with_steps(item: ItemScore, how: Aggregation) -> ItemScore:
    steps = item.steps or (None,) * len(item.rewards)
    return item.model_copy(update={"rewards": tuple(_aggregated(each, how) for each in steps)})


def _aggregated(steps: Sequence[float | None] | None, how: Aggregation) -> float | None:
    """Return the reward of a solution; None where a step has none."""
    values = [reward for reward in steps or () if reward is not None]
    return aggregate_steps(values, how) if values and len(values) == len(steps or ()) else None


REWARDMATH = declared("rewardmath", read=_read, compute=metrics, results=_results)
