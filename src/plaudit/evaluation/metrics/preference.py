"""Metrics of preferences: accuracy with its baselines, length, confidence and calibration; by source too.

A tie counts as ``loss`` by default, as in RewardBench, RM-Bench and RMB: a model that gives everything
one reward decides nothing and gets nothing for it. Ties are always counted in the result, and ``half`` is
there for those who want chance level for such a model. The baselines always count a tie as half: they
stand for a rule that tosses a coin where it sees no difference.

With σ the logistic function and m the margin, which is the reward of the preferred response less that of the other,
the metrics are

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

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial

import numpy as np

from plaudit.evaluation.metrics.metric_set import (
    ONE_PROMPT,
    ONLY_WITHIN_GROUPS,
    CurveRows,
    MetricSet,
    Status,
    in_first_half,
    label_counts,
    mean_by_group,
)
from plaudit.evaluation.metrics.reward_scale import UnitReading, is_relative, unit_reading
from plaudit.records import Interval, ItemScore, LabelCounts
from plaudit.statistics import calibration
from plaudit.statistics.agreement import (
    LengthControlled,
    TieRule,
    length_balanced_accuracy,
    length_controlled_accuracy,
    length_only_accuracy,
    preference_accuracy,
)
from plaudit.statistics.correlation import spearman
from plaudit.statistics.metric import Exact, Metric, RowMean, RowStatistic

DEFAULT_TIE_RULE: TieRule = "loss"

HISTOGRAM_BINS = 36
"""Bins of the histograms; an even number."""

CONFIDENCE = 0.95
RESAMPLES = 1000

LENGTH_METRICS = ("length_controlled_accuracy", "length_balanced_accuracy")
"""Accuracy without the pull of length, by regression and by both directions alike."""
SUREST_HALF = "accuracy_surest_half"
"""Accuracy on the half of the pairs that the model is surest of."""

BINS = 10
"""Reliability bins, of equal numbers of pairs."""

_COVERAGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_NO_PAIRS = "no pair is left to judge by this rule of ties"
ALL_TIE = "all pairs tie: the model gives both responses of every pair one reward"
_FEW = "most resamples of the prompts have none, so it says nothing about other prompts"


def preference_metrics(items: Sequence[ItemScore], *, tie_rule: TieRule, relative: bool = False) -> MetricSet:
    """Return every metric of preferences, from the items alone.

    Metrics are over the preference pairs of the scored items (see ``_statuses``), so ``Interval.n`` counts
    pairs. A metric without a value is in ``absent`` with the reason. ``relative``, or an item that says so, makes
    rewards numbers of their group: there is no correlation over responses to different prompts then.

    Intervals are over prompts, not pairs; a proportion of pairs that are all of different prompts gets Wilson's.
    """
    pairs = pair_table(items)
    statuses = _statuses(items)
    found = MetricSet("preference", "accuracy", label_counts(statuses), statuses=statuses)
    found.details = pair_counts(items, pairs)
    if not len(pairs):
        if found.counts.failed:
            found.absent["accuracy"] = "every item with a preference lacks a reward"
        return found
    reading = unit_reading(items, np.concatenate([pairs.chosen_rewards, pairs.rejected_rewards]))
    found.rules = _rules(reading)
    _put_histograms(found, pairs, items)
    _put_accuracies(found, pairs, tie_rule)
    put_length_control(found, pairs, tie_rule)
    put_verbosity(found, pairs)
    put_selective(found, pairs, tie_rule)
    for name in ("chosen_reward", "rejected_reward", "margin"):
        found.put_mean(name, getattr(pairs, f"{name}s"), pairs.prompts, ONE_PROMPT, kind="number")
    _put_calibration(found, pairs, reading)
    _put_length_correlations(found, pairs, items, relative=relative)
    # The responses of a benchmark stand in the order in which its rows were put together, the better one first in many.
    found.beside("accuracy", **_baselines(pairs, in_order=not any(item.metadata for item in items)))
    for source in sorted(set(pairs.sources)):
        part = pairs.where(pairs.sources == source)
        found.slices[source] = {"accuracy": _accuracy(part, tie_rule), "longer_response": _longer(part)}
    return found


def _statuses(items: Sequence[ItemScore]) -> list[Status]:
    """Return the status of each item for preferences.

    One without a preference is absent; one whose every label has probability ½ is unscored; else one with a missing
    reward has failed; else it is scored.
    """
    statuses: list[Status] = []
    for item in items:
        if not item.preferences:
            statuses.append("absent")
        elif not judged_pairs(item):
            statuses.append("unscored")
        else:
            statuses.append("failed" if None in item.rewards else "scored")
    return statuses


def _put_accuracies(found: MetricSet, pairs: PairTable, tie_rule: TieRule) -> None:
    tied = "every pair is an exact tie, and these are left out"
    found.put("accuracy", _accuracy(pairs, tie_rule), tied)
    if len(np.unique(pairs.groups)) < len(pairs):
        found.put("accuracy_by_group", _accuracy_by_group(pairs, tie_rule), tied)
    for name, part in (
        ("longer", pairs.where(pairs.length_differences > 0)),
        ("shorter", pairs.where(pairs.length_differences < 0)),
    ):
        reason = tied if len(part) else f"the preferred response is never the {name} one"
        found.put(f"accuracy_chosen_{name}", _accuracy(part, tie_rule), reason)


def _accuracy_by_group(pairs: PairTable, tie_rule: TieRule) -> Metric | None:
    kept, correct = _counted(pairs, tie_rule)
    return mean_by_group(correct, kept.groups, kept.prompts)


def _put_length_correlations(found: MetricSet, pairs: PairTable, items: Sequence[ItemScore], *, relative: bool) -> None:
    why = "rewards or lengths do not vary, or only within one prompt"
    if relative or is_relative(items):
        found.absent["reward_length_correlation"] = ONLY_WITHIN_GROUPS
    else:
        lengths, rewards, owners = _responses(items)
        over_responses = RowStatistic(lambda rows: spearman(lengths[rows], rewards[rows]), owners, "fisher")
        found.put("reward_length_correlation", over_responses, why)
    over_pairs = RowStatistic(
        lambda rows: spearman(pairs.length_differences[rows], pairs.margins[rows]), pairs.prompts, "fisher"
    )
    found.put("margin_length_correlation", over_pairs, why.replace("rewards or lengths", "margins or their lengths"))


def _rules(reading: UnitReading) -> dict[str, str]:
    return {
        "rewards": reading.words,
        "after_temperature": "margins are divided by the temperature that fits the other half of the prompts best, "
        "the halves picked by a hash, so no pair is measured at a temperature that was fitted to it",
        "prefers_longer": "over the pairs of different length, an exact tie of rewards counting as half",
    }


def _accuracy(pairs: PairTable, tie_rule: TieRule) -> RowMean:
    kept, correct = _counted(pairs, tie_rule)
    return RowMean(correct, kept.prompts)


def _longer(pairs: PairTable) -> RowMean:
    agreement = length_only_accuracy(pairs.chosen_lengths, pairs.rejected_lengths, tie_rule="half")
    return RowMean(agreement.correct, pairs.prompts)


def _baselines(pairs: PairTable, *, in_order: bool) -> dict[str, Metric]:
    """Return the accuracy of rules that see no content; a rule that sees no difference tosses a coin.

    ``first_response`` is there where the responses stand ``in_order``, that of the data, and the preferred one is not
    always on one side: else it says how the file was written, and nothing about the pairs.
    """
    found: dict[str, Metric] = {"longer_response": _longer(pairs)}
    if in_order and pairs.chosen_first.any() and not pairs.chosen_first.all():
        found["first_response"] = RowMean(pairs.chosen_first.astype(float), pairs.prompts)
    return found


def _put_histograms(found: MetricSet, pairs: PairTable, items: Sequence[ItemScore]) -> None:
    """Put the tables ``rewards``, ``margins`` and ``group_sizes``, which need no metric.

    The margins are counted together with their mirror image, so that an edge of the bins lies at zero and no
    bin holds rightly and wrongly ordered pairs.
    """

    def rewards(_: float) -> CurveRows:
        sides = {"chosen": pairs.chosen_rewards, "rejected": pairs.rejected_rewards}
        return calibration.shared_histogram(sides, bins=HISTOGRAM_BINS)

    def margins(_: float) -> CurveRows:
        both = {"count": pairs.margins, "mirrored": -pairs.margins}
        mirrored = calibration.shared_histogram(both, bins=HISTOGRAM_BINS)
        return [{key: row[key] for key in ("low", "high", "count")} for row in mirrored]

    found.curves |= {"rewards": rewards, "margins": margins, "group_sizes": lambda _: group_sizes(items)}


def control_metrics(pairs: PairTable, tie_rule: TieRule) -> MetricSet:
    """Return the control metrics of an accuracy: ``LENGTH_METRICS``, and accuracy where the model is sure."""
    found = MetricSet("preference", LENGTH_METRICS[0], LabelCounts(n=0, scored=0, unscored=0, failed=0))
    put_length_control(found, pairs, tie_rule)
    put_selective(found, pairs, tie_rule)
    return found


def put_length_control(found: MetricSet, pairs: PairTable, tie_rule: TieRule) -> None:
    """Put ``LENGTH_METRICS`` over the pairs that count under ``tie_rule``."""
    kept, correct = _counted(pairs, tie_rule)
    for name, control in zip(LENGTH_METRICS, (length_controlled_accuracy, length_balanced_accuracy), strict=True):
        metric, reason = _length_metric(control, correct, kept)
        found.put(name, metric, reason)


def _length_metric(
    control: Callable[..., LengthControlled], correct: np.ndarray, pairs: PairTable
) -> tuple[RowStatistic | None, str]:
    """Return an accuracy under length control, or the reason why there is none."""
    whole = lru_cache(partial(control, correct, pairs.length_differences, pairs.prompts))

    def statistic(rows: np.ndarray) -> float | None:
        made = control(correct[rows], pairs.length_differences[rows], pairs.prompts[rows]).interval
        return None if made is None else made.value

    reason = whole(confidence=CONFIDENCE).reason
    if reason is not None:
        return None, reason
    analytic = RowStatistic(statistic, pairs.prompts, analytic=lambda level: whole(confidence=level).interval)
    return analytic, ""


def put_verbosity(found: MetricSet, pairs: PairTable) -> None:
    """Put how often the model, and the label, prefer the longer of two responses of different length.

    ``prefers_longer`` is the proportion of pairs whose longer response has the higher reward, an exact tie counting as
    half; ``chosen_longer`` that whose longer response is the chosen one; ``verbosity`` the first less the second,
    above 0 where the model is drawn to length more than the label is. All three are over the same pairs.
    """
    names = ("prefers_longer", "chosen_longer", "verbosity")
    parted = pairs.where(pairs.length_differences != 0)
    if not len(parted):
        found.absent |= dict.fromkeys(names, "the two responses of every pair are equally long")
        return
    is_longer = (parted.length_differences > 0).astype(float)
    by_model = np.where(parted.margins == 0, 0.5, (np.sign(parted.margins) == np.sign(parted.length_differences)))
    found.put_mean("prefers_longer", by_model, parted.prompts, ONE_PROMPT)
    found.put_mean("chosen_longer", is_longer, parted.prompts, ONE_PROMPT)
    found.put_mean("verbosity", by_model - is_longer, parted.prompts, ONE_PROMPT, kind="signed")


def put_selective(found: MetricSet, pairs: PairTable, tie_rule: TieRule) -> None:
    """Put the accuracy on the surest half of the pairs, how well confidence ranks errors, and accuracy by coverage.

    A model is the surer of a pair, the larger its absolute margin: that needs no unit. ``excess_risk_coverage`` is 0
    where every error comes behind every right pair, see ``statistics.calibration``. A row of the table ``selective``
    holds the ``coverage`` (proportion of pairs), the least absolute margin in it (``threshold``), and the ``accuracy``
    from ``low`` to ``high`` over ``n`` pairs.
    """
    kept, correct = _counted(pairs, tie_rule)
    if not len(kept):
        found.absent |= dict.fromkeys((SUREST_HALF, "excess_risk_coverage"), _NO_PAIRS)
        return
    sure, prompts = np.abs(kept.margins), kept.prompts
    surest = calibration.most_confident(sure, 0.5)
    found.put(SUREST_HALF, RowMean(correct[surest], prompts[surest]), _NO_PAIRS)
    if not sure.any():
        found.absent["excess_risk_coverage"] = ALL_TIE
        return
    excess = RowStatistic(lambda rows: calibration.excess_risk_coverage(sure[rows], correct[rows]), prompts, "logit")
    found.put("excess_risk_coverage", excess, ONE_PROMPT)

    def selective(confidence: float) -> CurveRows:
        return calibration.selective_accuracy(sure, correct, prompts, coverages=_COVERAGES, level=confidence)

    found.curves["selective"] = selective


def _counted(pairs: PairTable, tie_rule: TieRule) -> tuple[PairTable, np.ndarray]:
    """Return the pairs that count under ``tie_rule``, and for each 1 right, 0 wrong, ½ for half."""
    agreement = preference_accuracy(pairs.margins, tie_rule=tie_rule)
    return pairs.where(agreement.scored), agreement.correct


def _put_calibration(found: MetricSet, pairs: PairTable, reading: UnitReading) -> None:
    """Put every metric of calibration, and the tables of the reliability diagrams.

    ``brier`` and ``expected_calibration_error`` are of σ(margin) as the model gives it: they are absent where the
    rewards are no log-odds. ``temperature`` is the best divisor of margins. The metrics that end in
    ``_after_temperature`` are of margins so divided, each by the temperature that was fitted on the other half of the
    prompts; they compare models whatever the units of their rewards are. The two temperatures are held fixed in their
    intervals.
    """
    if reading.log_odds and not pairs.margins.any():
        _put_brier(found, "", pairs.margins, pairs.prompts)
        found.absent["expected_calibration_error"] = ALL_TIE
    elif reading.log_odds:
        _put_calibration_of(found, "", pairs.margins, pairs.prompts)
    else:
        found.absent |= dict.fromkeys(("brier", "expected_calibration_error"), reading.words)
    _put_temperature(found, pairs)
    held_out = calibration.held_out_margins(pairs.margins, pairs.first_half)
    if held_out is None:
        names = ("brier_after_temperature", "expected_calibration_error_after_temperature")
        found.absent |= dict.fromkeys(names, f"in a half of the prompts, {why_no_temperature(pairs, by_half=True)}")
    else:
        _put_calibration_of(found, "_after_temperature", held_out, pairs.prompts)


def why_no_temperature(pairs: PairTable, *, by_half: bool = False) -> str:
    """Return why no temperature is best for the margins, or for those of a half of the prompts."""
    halves = (pairs.first_half, ~pairs.first_half) if by_half else (np.ones(len(pairs), dtype=bool),)
    margins = next(
        (part for half in halves if calibration.finite_temperature(part := pairs.margins[half]) is None), pairs.margins
    )
    if not len(margins):
        return "there is no pair"
    if not margins.any():
        return ALL_TIE
    if not (margins < 0).any():
        return "no pair is ordered wrongly, so no temperature is the best one"
    if not (margins > 0).any():
        return "no pair is ordered rightly, so no temperature is the best one"
    return "the margins are no better than chance, so no temperature is the best one"


def _put_brier(found: MetricSet, ending: str, margins: np.ndarray, prompts: np.ndarray) -> None:
    found.put_mean(f"brier{ending}", calibration.brier_scores(margins), prompts, ONE_PROMPT, kind="fraction")


def _put_calibration_of(found: MetricSet, ending: str, margins: np.ndarray, prompts: np.ndarray) -> None:
    _put_brier(found, ending, margins, prompts)

    def error(rows: np.ndarray) -> float | None:
        return calibration.expected_calibration_error(margins[rows], bins=BINS)

    def ends(confidence: float) -> Interval | None:
        return calibration.calibration_error_interval(margins, prompts, bins=BINS, confidence=confidence)

    name = f"expected_calibration_error{ending}"
    found.put(name, RowStatistic(error, prompts, analytic=ends), ONE_PROMPT)
    by_chance = calibration.error_of_calibrated(margins, bins=BINS)
    found.beside(name, calibrated_model=None if by_chance is None else Exact(by_chance, len(margins)))
    found.curves[f"reliability{ending}"] = lambda confidence: calibration.reliability_bins(
        margins, bins=BINS, confidence=confidence
    )


def _put_temperature(found: MetricSet, pairs: PairTable) -> None:
    """Put the best temperature; resamples in which there is none are left out."""
    if calibration.finite_temperature(pairs.margins) is None:
        found.absent["temperature"] = why_no_temperature(pairs)
        return
    margins, prompts = pairs.margins, pairs.prompts
    best = RowStatistic(
        lambda rows: calibration.finite_temperature(margins[rows]),
        prompts,
        analytic=lambda confidence: calibration.temperature_interval(margins, prompts, confidence=confidence),
    )
    found.put("temperature", best, ONE_PROMPT if len(np.unique(pairs.prompts)) == 1 else _FEW)


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


def group_sizes(items: Sequence[ItemScore]) -> list[dict[str, float]]:
    """Return how many groups have how many responses, the smallest first: rows of ``responses`` and ``groups``."""
    found = Counter(len(item.rewards) for item in items)
    return [{"responses": float(size), "groups": float(found[size])} for size in sorted(found)]


def pair_counts(items: Sequence[ItemScore], pairs: PairTable) -> dict[str, int]:
    """Return the counts that metrics of the preferences of ``items`` rest on.

    ``ties`` are pairs of equal rewards. ``contradictory_pairs``, where there are any, counts the pairs of responses
    that an item prefers both ways, of which a model gets one wrong.
    """
    better = [{(chosen, rejected) for chosen, rejected in judged_pairs(item)} for item in items]
    contradictory = sum((rejected, chosen) in own for own in better for chosen, rejected in own) // 2
    return {
        "pairs": len(pairs),
        "pairs_of_equal_length": int((pairs.length_differences == 0).sum()),
        "ties": int(np.sum(pairs.margins == 0)),
        **({"contradictory_pairs": contradictory} if contradictory else {}),
    }


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """One scored preference, turned so that ``chosen`` is the response that the label holds to be better."""

    chosen: int
    """Index of the preferred response."""
    rejected: int
    """Index of the other response."""
    margin: float
    """Reward of chosen − reward of rejected."""


def labelled_pairs(item: ItemScore) -> list[LabelledPair]:
    """Return the preferences of ``item`` that can be judged: none when a reward is missing (see ``judged_pairs``)."""
    rewards = [reward for reward in item.rewards if reward is not None]
    if len(rewards) < len(item.rewards):
        return []
    return [
        LabelledPair(chosen, rejected, rewards[chosen] - rewards[rejected]) for chosen, rejected in judged_pairs(item)
    ]


def judged_pairs(item: ItemScore) -> list[tuple[int, int]]:
    """Return the preferences of ``item`` whose label has a winner: the better response, then the other.

    A label probability below ½ turns the preference round; one of exactly ½ says nothing: it is left out.
    """
    labels = item.probabilities or (None,) * len(item.preferences)
    return [
        (rejected, chosen) if label is not None and label < 0.5 else (chosen, rejected)
        for (chosen, rejected), label in zip(item.preferences, labels, strict=True)
        if label != 0.5
    ]


@dataclass(frozen=True, slots=True)
class PairTable:
    """Every judged pair of a data set, one array entry per pair; ``prompts`` and ``groups`` are numbered from 0."""

    margins: np.ndarray
    chosen_rewards: np.ndarray
    chosen_lengths: np.ndarray
    rejected_rewards: np.ndarray
    rejected_lengths: np.ndarray
    chosen_first: np.ndarray
    prompts: np.ndarray
    groups: np.ndarray
    first_half: np.ndarray
    """[row] True where the prompt is in the first of the two halves that cross-fitting swaps."""
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.margins)

    @property
    def length_differences(self) -> np.ndarray:
        """Return [pair] characters of chosen − characters of rejected."""
        return self.chosen_lengths - self.rejected_lengths

    def where(self, mask: np.ndarray) -> PairTable:
        """Return the pairs at which ``mask`` is true."""
        return PairTable(**{column.name: getattr(self, column.name)[mask] for column in fields(self)})


def pair_table(items: Sequence[ItemScore]) -> PairTable:
    """Return the judged pairs of ``items``, in order."""
    numbers: dict[str, int] = {}
    rows = []
    for group, item in enumerate(items):
        prompt = numbers.setdefault(item.prompt_key, len(numbers))
        half = in_first_half(item.prompt_key)
        for pair in labelled_pairs(item):
            sides = [(item.rewards[k], item.lengths[k]) for k in (pair.chosen, pair.rejected)]
            rows.append(
                (pair.margin, *sides[0], *sides[1], pair.chosen < pair.rejected, prompt, group, half, item.source)
            )
    kinds = (float, float, float, float, float, bool, int, int, bool, object)
    columns = zip(*rows, strict=True) if rows else ((),) * len(kinds)
    return PairTable(*(np.array(column, dtype=kind) for column, kind in zip(columns, kinds, strict=True)))
