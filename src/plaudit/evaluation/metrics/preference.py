"""What a model's rewards say about preferences: accuracy with its baselines, calibration, length, by source.

A tie counts as ``loss`` by default, as in RewardBench, RM-Bench and RMB: a model that gives everything
one reward decides nothing and gets nothing for it. Ties are always counted in the result, and ``half`` is
there for those who want chance level for such a model. The baselines always count a tie as half: they
stand for a rule that tosses a coin where it sees no difference.

With σ the logistic function and m the margin, which is the reward of the preferred response less that of the other,
the figures are

- ``accuracy``: mean of [m > 0], ties by ``tie_rule``; also where the preferred response is the longer or
  the shorter one, and, where a group has several pairs, with every group weighing alike (``accuracy_by_group``);
- ``length_controlled_accuracy``, ``length_balanced_accuracy``: without the pull of length;
- ``prefers_longer``, ``chosen_longer``, ``verbosity``: how often model and label prefer the longer response;
- ``accuracy_surest_half``, ``excess_risk_coverage``: how much better it is where it is sure;
- ``chosen_reward``, ``rejected_reward``, ``margin``: means, in the units of the reward;
- ``brier``, ``expected_calibration_error``: of the probability σ(m), a soft label counting as its likelier side;
  ``temperature``, and the same two after it: see ``put_calibration``;
- ``reward_length_correlation``: Spearman's, over responses; ``margin_length_correlation``: over pairs,
  which sees differences within a prompt only.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import numpy as np

from plaudit.evaluation.metrics.calibration import ONE_PROMPT, put_calibration
from plaudit.evaluation.metrics.completeness import details, group_sizes, missing_reasons
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.evaluation.metrics.length_control import put_length_control, put_selective, put_verbosity
from plaudit.evaluation.metrics.measure import ONLY_WITHIN_GROUPS, Findings
from plaudit.evaluation.metrics.pairs import PairTable, has_label, labelled_pairs, pair_table
from plaudit.evaluation.metrics.reward_scale import UnitReading, is_relative, unit_reading
from plaudit.provenance import package_versions
from plaudit.records import Interval, ItemScore, Result
from plaudit.statistics.agreement import TieRule, length_only_accuracy, preference_accuracy
from plaudit.statistics.correlation import spearman
from plaudit.statistics.histograms import shared_histogram

DEFAULT_TIE_RULE: TieRule = "loss"
CONFIDENCE = 0.95
RESAMPLES = 1000

HISTOGRAM_BINS = 36
"""Bins of the histograms; an even number."""

Curves = dict[str, list[dict[str, float]]]


def evaluate_items(
    items: Sequence[ItemScore],
    *,
    name: str,
    model: str,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    recipe_hash: str | None = None,
    data_fingerprint: str | None = None,
    relative: bool = False,
) -> Result:
    """Return every figure of a preference evaluation, from the items alone.

    An item without a preference, or whose every label has probability ½, is unscored; else one with a
    missing reward is failed; else it is scored: n = scored + unscored + failed. Figures are over the
    preference pairs of the scored items, so ``Interval.n`` counts pairs.

    A figure without a value is in ``absent`` with the reason. ``relative``, or an item that says so, makes rewards
    numbers of their group: there is no correlation over responses to different prompts then.

    Intervals are over prompts, not pairs (see ``Estimator``); a share of pairs that are all of different prompts
    gets Wilson's. The calibration error has a basic interval. Resamples without a temperature or correlation are
    left out; where most are, the figure is too.
    """
    pairs = pair_table(items)
    unscored = sum(not has_label(item) for item in items)
    failed = sum(has_label(item) and None in item.rewards for item in items)
    estimate = Estimator(confidence=confidence, resamples=resamples, seed=seed)
    reading = unit_reading(items, np.concatenate([pairs.chosen_rewards, pairs.rejected_rewards]))
    found, curves = Findings(), Curves()
    if len(pairs):
        curves = _histograms(pairs) | {"group_sizes": group_sizes(items)}
        curves |= _put_figures(found, pairs, items, tie_rule, reading, estimate, relative=relative)
    elif failed:
        found.absent["accuracy"] = "every item with a preference lacks a reward"
    return Result(
        name=name,
        model=model,
        recipe_hash=recipe_hash,
        data_fingerprint=data_fingerprint,
        tie_rule=tie_rule,
        n=len(items),
        scored=len(items) - unscored - failed,
        unscored=unscored,
        failed=failed,
        ties=int(np.sum(pairs.margins == 0)),
        figures=found.figures,
        baselines=_baselines(pairs, estimate) if len(pairs) else {},
        slices=_slices(pairs, tie_rule, estimate) if len(pairs) else {},
        curves=curves,
        absent=found.absent,
        rules=_rules(reading) if len(pairs) else {},
        details=details(items, pairs),
        reasons=missing_reasons(items),
        versions=package_versions(),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _put_figures(
    found: Findings,
    pairs: PairTable,
    items: Sequence[ItemScore],
    tie_rule: TieRule,
    reading: UnitReading,
    estimate: Estimator,
    *,
    relative: bool,
) -> Curves:
    """Put every figure, in the order in which they are printed, and return the tables that belong to them."""
    _put_accuracies(found, pairs, tie_rule, estimate)
    put_length_control(found, pairs, tie_rule, estimate)
    put_verbosity(found, pairs, estimate)
    selective = put_selective(found, pairs, tie_rule, estimate)
    found.put("chosen_reward", estimate.mean(pairs.chosen_rewards, pairs.prompts), ONE_PROMPT)
    found.put("rejected_reward", estimate.mean(pairs.rejected_rewards, pairs.prompts), ONE_PROMPT)
    found.put("margin", estimate.mean(pairs.margins, pairs.prompts), ONE_PROMPT)
    reliability = put_calibration(found, pairs, reading, estimate)
    _put_length_correlations(found, pairs, items, estimate, relative=relative)
    return reliability | ({"selective": selective} if selective else {})


def _put_accuracies(found: Findings, pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> None:
    tied = "every pair is an exact tie, and these are left out"
    found.put("accuracy", _accuracy(pairs, tie_rule, estimate), tied)
    if len(np.unique(pairs.groups)) < len(pairs):
        found.put("accuracy_by_group", _accuracy_by_group(pairs, tie_rule, estimate), tied)
    for name, part in (
        ("longer", pairs.where(pairs.length_differences > 0)),
        ("shorter", pairs.where(pairs.length_differences < 0)),
    ):
        reason = tied if len(part) else f"the preferred response is never the {name} one"
        found.put(f"accuracy_chosen_{name}", _accuracy(part, tie_rule, estimate), reason)


def _accuracy_by_group(pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> Interval | None:
    agreement = preference_accuracy(pairs.margins, tie_rule=tie_rule)
    groups, first, index = np.unique(pairs.groups[agreement.scored], return_index=True, return_inverse=True)
    if not len(groups):
        return None
    shares = np.bincount(index, weights=agreement.correct) / np.bincount(index)
    return estimate.mean_share(shares, pairs.prompts[agreement.scored][first])


def _put_length_correlations(
    found: Findings, pairs: PairTable, items: Sequence[ItemScore], estimate: Estimator, *, relative: bool
) -> None:
    why = "rewards or lengths do not vary, or only within one prompt"
    if relative or is_relative(items):
        found.absent["reward_length_correlation"] = ONLY_WITHIN_GROUPS
    else:
        lengths, rewards, owners = _responses(items)
        over_responses = estimate.of_rows(lambda rows: spearman(lengths[rows], rewards[rows]), owners)
        found.put("reward_length_correlation", over_responses, why)
    over_pairs = estimate.of_rows(
        lambda rows: spearman(pairs.length_differences[rows], pairs.margins[rows]), pairs.prompts
    )
    found.put("margin_length_correlation", over_pairs, why.replace("rewards or lengths", "margins or their lengths"))


def _rules(reading: UnitReading) -> dict[str, str]:
    return {
        "rewards": reading.words,
        "after_temperature": "margins are divided by the temperature that fits the other half of the prompts best, "
        "the halves picked by a hash, so no pair is measured at a temperature that was fitted to it",
        "prefers_longer": "over the pairs of different length, an exact tie of rewards counting as half",
    }


def _accuracy(pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> Interval | None:
    agreement = preference_accuracy(pairs.margins, tie_rule=tie_rule)
    return estimate.share(agreement.correct, pairs.prompts[agreement.scored])


def _longer(pairs: PairTable, estimate: Estimator) -> Interval | None:
    agreement = length_only_accuracy(pairs.chosen_lengths, pairs.rejected_lengths, tie_rule="half")
    return estimate.share(agreement.correct, pairs.prompts)


def _baselines(pairs: PairTable, estimate: Estimator) -> dict[str, Interval]:
    """Return the accuracy of rules that see no content; a rule that sees no difference tosses a coin.

    ``first_response`` is there when the preferred response is not always on one side: else it says how the
    file was written, and nothing about the pairs.
    """
    found = {"longer_response": _longer(pairs, estimate)}
    if pairs.chosen_first.any() and not pairs.chosen_first.all():
        found["first_response"] = estimate.share(pairs.chosen_first.astype(float), pairs.prompts)
    return {name: interval for name, interval in found.items() if interval is not None}


def _slices(pairs: PairTable, tie_rule: TieRule, estimate: Estimator) -> dict[str, dict[str, Interval]]:
    slices = {}
    for source in sorted(set(pairs.sources)):
        part = pairs.where(pairs.sources == source)
        found = {"accuracy": _accuracy(part, tie_rule, estimate), "longer_response": _longer(part, estimate)}
        slices[source] = {name: interval for name, interval in found.items() if interval is not None}
    return slices


def _responses(items: Sequence[ItemScore]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return length, reward and prompt of every response of the items that have judged pairs."""
    numbers: dict[str, int] = {}
    lengths: list[float] = []
    rewards: list[float | None] = []
    prompts: list[int] = []
    for item in items:
        if labelled_pairs(item):
            lengths += item.lengths
            rewards += item.rewards
            prompts += [numbers.setdefault(item.prompt_key, len(numbers))] * len(item.rewards)
    return np.array(lengths, dtype=float), np.array(rewards, dtype=float), np.array(prompts, dtype=int)


def _histograms(pairs: PairTable) -> Curves:
    """Return the histograms ``rewards`` and ``margins``, which need no figure.

    The margins are counted together with their mirror image, so that an edge of the bins lies at zero and no
    bin holds rightly and wrongly ordered pairs.
    """
    mirrored = shared_histogram({"count": pairs.margins, "mirrored": -pairs.margins}, bins=HISTOGRAM_BINS)
    sides = {"chosen": pairs.chosen_rewards, "rejected": pairs.rejected_rewards}
    return {
        "rewards": shared_histogram(sides, bins=HISTOGRAM_BINS),
        "margins": [{key: row[key] for key in ("low", "high", "count")} for row in mirrored],
    }
