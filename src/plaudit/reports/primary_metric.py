"""The primary metric of an evaluation: its value, interval, baselines, words and caveats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plaudit.evaluation.result import OTHER_REASONS, missing_reasons
from plaudit.records import Interval, Measure, Result
from plaudit.reports.inputs import Evaluation
from plaudit.reports.names import Kind, baseline_words, data_title, measure_title, metric_text
from plaudit.reports.tables import RowScale, interval_text, scale_of, share, show

_LENGTH_RULES = ("longer_response", "longest_response", "length")
"""Rules that read nothing but length; a metric has one of them at most."""

LOUD = 0.05
"""Share of comparisons without a reward from which the page says so loudly."""
_NAMED = 3
"""Subsets that are named one by one; the others are counted."""
_COUNTED = (
    ("comparisons", "comparisons_without_a_reward"),
    ("solutions", "solutions_without_a_prediction"),
    ("solutions", "solutions_without_a_judgement"),
)
"""Units that official metrics count, and the count of those among them without a reward."""


@dataclass(frozen=True, slots=True)
class PrimaryMetric:
    """The metric that stands first, largest."""

    label: str
    value: str
    interval: str
    confidence: str
    scale: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class OverviewRow:
    """One primary metric in the table of several results."""

    metric: str
    value: str
    interval: str
    longer: str
    random: str
    n: str
    failed: str


def primary_metric(result: Result) -> PrimaryMetric | None:
    """Return the first primary metric that has a value; None where none has.

    Measures stand in the order official, preferences, other labels.
    """
    measure = next((each for each in result.measures if each.primary in each.metrics), None)
    if measure is None:
        return None
    found, kind = measure.metrics[measure.primary], metric_text(measure).kind
    rivals = dict(_beside(measure))
    if measure.kind == "preference":
        rivals["coin flip"] = Interval(value=0.5, low=0.5, high=0.5, method="exact", n=found.n)
    return PrimaryMetric(
        label=_label(measure),
        value=show(found.value, kind),
        interval=interval_text(found, kind),
        confidence=f"{100 * found.confidence:g}%",
        scale=scale_rows(found, rivals, kind),
    )


def _label(measure: Measure) -> str:
    """Return the primary metric's label, with the kind of label where the metric does not say it."""
    label = metric_text(measure).label
    return label if measure.kind in ("benchmark", "preference") else f"{measure_title(measure)}: {label}"


def _beside(measure: Measure) -> Mapping[str, Interval]:
    return measure.baselines.get(measure.primary, {})


def official_measure(result: Result) -> Measure | None:
    """Return the measure of a benchmark whose primary metric has a value, if ``result`` has one."""
    measure = result.measure("benchmark")
    return measure if measure is not None and measure.primary in measure.metrics else None


def verdict(result: Result) -> list[str]:
    """Return how good the model is in plain sentences, as the page and the terminal print them first.

    Of a benchmark they are about its official primary metric; of other data about that of every kind of label: its
    value, that of the baselines on the same rows, and whether the interval lies above the best of them.
    """
    official = official_measure(result)
    if official is not None:
        return official_sentences(result.name, official)
    return [*preference_sentences(result), *measure_sentences(result)]


def overview_rows(result: Result) -> list[OverviewRow]:
    """Return a row for the primary metric of a benchmark; of other data one for each kind of label."""
    official = result.measure("benchmark")
    rows = []
    for measure in result.measures if official is None else (official,):
        found, kind = measure.metrics.get(measure.primary), metric_text(measure).kind
        missing, count, _ = without_rewards(measure)
        rivals = _beside(measure)
        longer = next((rivals[rule] for rule in _LENGTH_RULES if rule in rivals), None)
        rows.append(
            OverviewRow(
                metric=_label(measure),
                value=_or_dash(found, kind),
                interval="–" if found is None else interval_text(found, kind),
                longer=_or_dash(longer, kind),
                random=_or_dash(rivals.get("random"), kind),
                n="0" if found is None else f"{found.n:,}",
                failed=f"{missing:,} of {count:,}" if missing else "0",
            )
        )
    return rows or [OverviewRow("Accuracy", "–", "–", "–", "–", "0", f"{result.failed:,}")]


def _or_dash(found: Interval | None, kind: Kind) -> str:
    return "–" if found is None else show(found.value, kind)


def official_sentences(name: str, measure: Measure) -> list[str]:
    """Return the official metric in plain words, with baselines that read no response, worst and best part."""
    found, text = measure.metrics[measure.primary], metric_text(measure)
    label = text.label[:1].lower() + text.label[1:] if text.label.startswith("Official") else text.label
    said = [
        f"The {label} of {data_title(name)} is {show(found.value, text.kind)}, over {found.n:,} "
        f"{text.unit or without_rewards(measure)[2]}."
    ]
    rivals = _beside(measure)
    if rivals:
        best, top = max(rivals.items(), key=lambda pair: pair[1].value)
        side = "above" if found.low > top.value else "below" if found.high < top.value else ""
        verb = f"lies {side}" if side else "does not exclude"
        said.append(
            f"The interval {verb} the best baseline that reads no response: {baseline_words(best)}, "
            f"{show(top.value, text.kind)} by the same official rule."
        )
    tuned = measure.metrics.get(f"{measure.primary}_tuned")
    if tuned is not None:
        said.append(
            f"At a threshold chosen on labelled data it would be {show(tuned.value, text.kind)}, which is no official "
            "metric."
        )
    parts = [(label, each[measure.primary]) for label, each in measure.slices.items() if measure.primary in each]
    if len(parts) > 1:
        worst, best_part = (pick(parts, key=lambda pair: pair[1].value) for pick in (min, max))
        low, high = show(worst[1].value, text.kind), show(best_part[1].value, text.kind)
        said.append(f"Of {len(parts)} parts the worst is {worst[0]} ({low}), the best {best_part[0]} ({high}).")
    return said


def preference_sentences(result: Result) -> list[str]:
    """Return the accuracy of preferences in plain words: its value, its interval, and that of length alone.

    Nothing where the groups carry other labels and no preferences.
    """
    measure = result.preference
    if measure is None and result.measures:
        return []
    if measure is None or "accuracy" not in measure.metrics:
        return ["No preference pair could be scored, so there is no accuracy to report."]
    accuracy, baseline = measure.metrics["accuracy"], _beside(measure).get("longer_response")
    ties = measure.details.get("ties", 0)
    pairs = "pairs without a tie" if result.tie_rule == "exclude" and ties else "pairs"
    shared = ", a tie counting as half" if result.tie_rule == "half" and ties else ""
    found = f"In {share(accuracy.value)} of {accuracy.n:,} {pairs}"
    said = [f"{found}, the model gives the preferred response the higher reward{shared}."]
    if baseline is None:
        return said
    said.append(f"Always taking the longer response would be right in {share(baseline.value)}.")
    chance = max(baseline.value, 1 - baseline.value, 0.5)
    verb = "lies above" if accuracy.low > chance else "lies below" if accuracy.high < chance else "does not exclude"
    said.append(f"The interval {verb} {share(chance)}, the best of length alone and a coin.")
    return [*said, *_length_sentences(measure)]


def _length_sentences(measure: Measure) -> list[str]:
    """Return the accuracy without the pull of length, and who prefers the longer response, where they are known."""
    controlled = measure.metrics.get("length_controlled_accuracy")
    by_model, by_label = measure.metrics.get("prefers_longer"), measure.metrics.get("chosen_longer")
    said = []
    if controlled is not None:
        said.append(f"With the pull of length taken out, it would be right in {share(controlled.value)}.")
    if by_model is not None and by_label is not None:
        said.append(
            f"Of two responses of different length it prefers the longer one in {share(by_model.value)}, "
            f"the label in {share(by_label.value)}."
        )
    return said


def measure_sentences(result: Result) -> list[str]:
    """Return the primary metric of each measure but that of preferences in words, beside its baselines."""
    said = []
    for measure in result.measures:
        if measure.kind == "preference":
            continue
        found, text = measure.metrics.get(measure.primary), metric_text(measure)
        if found is None:
            why = measure.absent.get(measure.primary)
            reason = f": {why}" if why else ""
            said.append(f"{measure_title(measure)}: {text.label} has no value{reason}.")
            continue
        beside = ", ".join(
            f"{baseline_words(rule)} {show(each.value, text.kind)}" for rule, each in _beside(measure).items()
        )
        words = f"{measure_title(measure)}: {text.label} {show(found.value, text.kind)}"
        said.append(f"{words} ({beside})." if beside else f"{words}.")
    return said


def scale_rows(found: Interval, rivals: Mapping[str, Interval], kind: Kind) -> list[dict[str, Any]]:
    """Return the model and its rivals on one scale: of shares it ends at 100%, of other numbers where they do.

    A rival that is known without data, as a coin is, stands as a line, and behind the others.
    """
    every = [found, *rivals.values()]
    if kind == "share":
        scale = RowScale(math.floor(10 * min(0.4, *(each.low for each in every))) / 10, 1.0)
    else:
        scale = scale_of(end for each in every for end in (each.low, each.high))

    rows = [scale.row("This model", "model", found, kind)]
    for rule, each in sorted(rivals.items(), key=lambda pair: pair[1].method == "exact"):
        words = baseline_words(rule)
        mark = "coin" if each.method == "exact" else "baseline"
        rows.append(scale.row(words[:1].upper() + words[1:], mark, each, kind))
    return rows


@dataclass(frozen=True, slots=True)
class Caveat:
    """One thing to know: ``lead`` in a few words, then its meaning for the metric."""

    lead: str
    words: str
    loud: bool


def caveats(evaluation: Evaluation) -> list[Caveat]:
    """Return the caveats on the primary metric of ``evaluation``, the loud ones first."""
    result = evaluation.result
    official = result.measure("benchmark")
    reasons = failure_reasons(evaluation)
    if official is None:
        found = _unscored(result, reasons)
    else:
        found = [*_without_rewards(official, reasons), *_not_whole(official)]
    found += _cut(result)
    return sorted(found, key=lambda each: not each.loud)


def failure_reasons(evaluation: Evaluation) -> list[str]:
    """Return why rewards are missing, the most frequent reason first, at most four and the rest's count.

    A result from before it held the reasons has them in its items.
    """
    counted = evaluation.result.reasons or missing_reasons(evaluation.items)
    named = sorted(((why, count) for why, count in counted.items() if why != OTHER_REASONS), key=lambda each: -each[1])
    shown = [f"{reason} ({count:,})" for reason, count in named[:4]]
    rest = sum(counted.values()) - sum(count for _, count in named[:4])
    return [*shown, f"{OTHER_REASONS} ({rest:,})"] if rest else shown


def without_rewards(measure: Measure) -> tuple[int, int, str]:
    """Return the number without a reward among those that ``measure`` counts, their number, and the word for them."""
    details = measure.details
    for word, missing in _COUNTED:
        if word in details and missing in details:
            return details[missing], details[word], word
    return measure.counts.failed, measure.counts.n, "items"


def _without_rewards(measure: Measure, reasons: Sequence[str]) -> list[Caveat]:
    missing, count, word = without_rewards(measure)
    if not missing:
        return []
    said = [f"Why: {_joined(reasons)}."] if reasons else []
    if rule := measure.rules.get("missing_rewards"):
        said.append(f"The official rule: {rule}.")
    text, primary = metric_text(measure), measure.primary
    whole, others = measure.metrics.get(primary), _of_scored(measure)
    lead, moves = f"{missing:,} of {count:,} {word} {'has' if missing == 1 else 'have'} no reward", False
    if others is not None and whole is not None:
        value = show(others.value, text.kind)
        moves = not others.low <= whole.value <= others.high
        if moves:
            lead += f": over the others alone the metric would be {value}, not {show(whole.value, text.kind)}"
        ties = measure.metrics.get("tie_rate")
        by_rule = f"{primary}_scored" in measure.metrics or ties is None or ties.value == 0
        shared = "" if by_rule else ", ties shared,"
        said.append(
            f"Over the {count - missing:,} scored {word} the same rule{shared} gives {value} "
            f"({interval_text(others, text.kind)})."
        )
    return [Caveat(f"{lead}.", " ".join(said), moves or missing >= LOUD * count)]


def _of_scored(measure: Measure) -> Interval | None:
    """Return the primary metric over items with every reward, where ``measure`` has it."""
    names = (f"{measure.primary}_scored", f"{measure.primary}_ties_shared")
    return next((measure.metrics[name] for name in names if name in measure.metrics), None)


def _not_whole(measure: Measure) -> list[Caveat]:
    if not measure.missing:
        return []
    named = [f"{subset}: {what}" for subset, what in list(measure.missing.items())[:_NAMED]]
    rest = len(measure.missing) - len(named)
    listed = _joined(named) + (f"; and {rest:,} more" if rest else "")
    words = f"Missing, in part or new: {listed}. Do not set the figure beside published ones."
    return [Caveat("This is not the whole official set.", words, loud=True)]


def _unscored(result: Result, reasons: Sequence[str]) -> list[Caveat]:
    if not result.failed:
        return []
    labelled = result.n - result.unscored
    why = f" Why rewards are missing: {_joined(reasons)}." if reasons else ""
    words = f"They are in no metric that needs their rewards ({share(result.failed / labelled)} of the labelled items)."
    lead = f"{result.failed:,} of {labelled:,} items could not be scored."
    return [Caveat(lead, words + why, result.failed >= LOUD * labelled)]


def _cut(result: Result) -> list[Caveat]:
    """Return the caveat on conversations longer than the model's limit, which were truncated."""
    counts = result.details
    cut, responses = counts.get("truncated_responses", 0), counts.get("responses", 0)
    if not cut:
        return []
    of_all = f" of {responses:,}" if responses else ""
    said = [f"They, or their prompts, are longer than the model takes: {counts['truncated_tokens']:,} tokens were cut."]
    if alike := counts.get("identical_after_truncation", 0):
        said.append(f"{alike:,} of them cannot be told from another response behind the cut.")
    return [Caveat(f"{cut:,}{of_all} responses were read in part.", " ".join(said), cut >= LOUD * max(responses, 1))]


def _joined(parts: Sequence[str]) -> str:
    return "; ".join(parts)
