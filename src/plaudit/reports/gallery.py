"""Which plots a run and an evaluation get, each with the words that say how to read it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from plaudit.evaluation.metrics.best_of_n import BestOfN
from plaudit.evaluation.metrics.pairs import labelled_pairs
from plaudit.records import Measure
from plaudit.reports import plots
from plaudit.reports.inputs import Evaluation
from plaudit.reports.measures import figure_of
from plaudit.reports.slices import MAX_SLICES, slice_plot


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot with its words: ``key`` lists (colour name, label) pairs for the legend in the text."""

    svg: str
    title: str
    caption: str
    key: tuple[tuple[str, str], ...] = ()
    wide: bool = False


def training_plots(metrics: Sequence[dict[str, float]], key: str) -> list[Plot]:
    """Return the plots of a training run that its metrics have the numbers for."""
    found: list[tuple[str | None, str, str, tuple[tuple[str, str], ...]]] = []
    both = (("model", "training"), ("rejected", "evaluation"))
    for metric, title, percent in (("loss", "Loss", False), ("accuracy", "Accuracy", True)):
        train, evaluation = _series(metrics, f"train/rm/{metric}"), _series(metrics, f"eval/rm/{metric}")
        drawn = plots.training_curve(
            name=f"{key}-{metric}",
            title=f"{title} over training steps",
            train=train,
            evaluation=evaluation,
            percent=percent,
        )
        words = "Each logged value faint, their running average strong"
        words += "; dots are the held-out pairs." if evaluation[0] else "."
        found.append((drawn, title, words, both if evaluation[0] else both[:1]))
    steps, chosen = _series(metrics, "train/rm/chosen_rewards")
    rejected = _series(metrics, "train/rm/rejected_rewards")
    if steps and steps == rejected[0]:
        drawn = plots.reward_curve(name=f"{key}-rewards", steps=steps, chosen=chosen, rejected=rejected[1])
        words = "Mean reward of each side of the training pairs. The gap matters; the level does not."
        found.append((drawn, "Rewards", words, (("chosen", "chosen"), ("rejected", "rejected"))))
    steps, rates = _series(metrics, "train/rm/lr")
    drawn = plots.learning_rate_curve(name=f"{key}-lr", steps=steps, rates=rates)
    peak = f"Its largest value is {max(rates):.3g}." if rates else ""
    found.append((drawn, "Learning rate", peak, ()))
    return [Plot(svg, title, words, marks) for svg, title, words, marks in found if svg is not None]


def evaluation_plots(evaluation: Evaluation, key: str) -> list[Plot]:
    """Return the plots of an evaluation that it has the numbers for."""
    result = evaluation.result
    sides = (("chosen", "chosen"), ("rejected", "rejected"))
    found = []
    drawn = slice_plot(name=f"{key}-slices", slices=result.slices) if len(result.slices) > 1 else None
    if drawn is not None:
        words = "Each line is an interval. A slice whose diamond reaches its dot can be explained by length."
        words += _only_worst(len(result.slices))
        marks = (("model", "this model"), ("diamond", "longer response wins"), ("dash", "coin flip"))
        found.append(Plot(drawn, "Accuracy by source", words, marks, wide=True))
    drawn = plots.reward_histogram(name=f"{key}-rewards", rows=result.curves.get("rewards", []))
    if drawn is not None:
        words = "The further apart, the better; but only differences inside a prompt count."
        found.append(Plot(drawn, "Rewards", words, sides))
    drawn = plots.margin_histogram(name=f"{key}-margins", rows=result.curves.get("margins", []))
    if drawn is not None:
        words = "What lies left of zero is ordered wrongly; the further left, the more confidently."
        found.append(Plot(drawn, "Margins", words, (("chosen", "right"), ("rejected", "wrong"))))
    drawn = plots.reliability_diagram(name=f"{key}-reliability", rows=result.curves.get("reliability", []))
    if drawn is not None:
        words = "On the dashed line, 80% sure means right in 80% of the pairs; below it, it is too sure."
        found.append(Plot(drawn, "Can its confidence be trusted?", words))
    # Where no correlation over prompts has a meaning, as for rewards that say nothing across groups, no dots have one.
    across = "reward_length_correlation" not in result.absent
    drawn = plots.length_scatter(name=f"{key}-length", **_length_points(evaluation)) if across else None
    if drawn is not None:
        words = "One dot per response; the thick line is the median. Where it rises, length pays."
        found.append(Plot(drawn, "Reward against length", words, sides))
    return found


def official_plots(measure: Measure, key: str) -> list[Plot]:
    """Return the parts of a benchmark by its official headline, the worst on top; nothing where it is no share."""
    text, headline = figure_of(measure), measure.headline
    if text.kind != "share" or len(measure.slices) < 2:
        return []
    chance = measure.baselines.get(headline, {}).get("random")
    coin = chance is not None and chance.value == 0.5
    longer = any("longer_response" in figures for figures in measure.slices.values())
    drawn = slice_plot(name=key, slices=measure.slices, figure_name=headline, title=f"{text.label} by part", coin=coin)
    if drawn is None:
        return []
    words = "Each line is an interval; the worst part stands on top." + _only_worst(len(measure.slices))
    marks = (
        ("model", "this model"),
        *((("diamond", "longer response, by the official rule"),) if longer else ()),
        *((("dash", "random"),) if coin else ()),
    )
    return [Plot(drawn, f"{text.label} by part", words, marks, wide=True)]


def _only_worst(count: int) -> str:
    return f" The {MAX_SLICES} worst of {count:,}; the table has all." if count > MAX_SLICES else ""


def best_of_n_plot(table: BestOfN, key: str) -> Plot | None:
    """Return the best-of-n curve, or None for an empty table."""
    rows = [{"n": row.n, "chosen": row.chosen, "oracle": row.oracle, "mean": row.mean} for row in table.rows]
    drawn = plots.best_of_n_curve(name=f"{key}-bestofn", rows=rows)
    if drawn is None:
        return None
    words = "Of the response chosen among n; bands are intervals over prompts."
    marks = (("oracle-dash", "best possible"), ("model", "this model's choice"), ("dots", "random choice"))
    return Plot(drawn, "Gold reward of the choice", words, marks)


def _length_points(evaluation: Evaluation) -> dict[str, list[Any]]:
    lengths: list[int] = []
    rewards: list[float] = []
    chosen: list[bool] = []
    for item in evaluation.items:
        sides: dict[int, bool] = {}
        for pair in labelled_pairs(item):
            sides.setdefault(pair.chosen, True)
            sides[pair.rejected] = False
        for index, is_chosen in sides.items():
            reward = item.rewards[index]
            if reward is not None:
                lengths.append(item.lengths[index])
                rewards.append(reward)
                chosen.append(is_chosen)
    return {"lengths": lengths, "rewards": rewards, "chosen": chosen}


def _series(metrics: Sequence[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    rows = [(row["step"], row[name]) for row in metrics if name in row and math.isfinite(row[name])]
    return [step for step, _ in rows], [value for _, value in rows]
