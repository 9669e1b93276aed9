"""What a reader has to know of a figure: what could not be scored and how that moves it, what data are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from plaudit.evaluation.metrics.completeness import OTHER_REASONS, missing_reasons
from plaudit.records import Interval, Measure, Result
from plaudit.reports.inputs import Evaluation
from plaudit.reports.measures import figure_of
from plaudit.reports.tables import interval_text, share, show

LOUD = 0.05
"""From this share of comparisons without a reward on, the page says so loudly."""
_NAMED = 3
"""Subsets that are named one by one; the others are counted."""
_COUNTED = (
    ("comparisons", "comparisons_without_a_reward"),
    ("solutions", "solutions_without_a_prediction"),
    ("solutions", "solutions_without_a_judgement"),
)
"""What the official figures of a benchmark count, and the count of those among them without a reward."""


@dataclass(frozen=True, slots=True)
class Caveat:
    """One thing to know: ``lead`` in a few words, then what it means for the figure."""

    lead: str
    words: str
    loud: bool


def caveats(evaluation: Evaluation) -> list[Caveat]:
    """Return what limits the headline of ``evaluation``, the loud ones first; nothing where nothing does."""
    result = evaluation.result
    official = next((measure for measure in result.measures if measure.kind == "benchmark"), None)
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
    """Return how many of what ``measure`` counts have no reward, of how many, and the word for them."""
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
    text, headline = figure_of(measure), measure.headline
    whole, others = measure.figures.get(headline), _of_scored(measure)
    lead, moves = f"{missing:,} of {count:,} {word} {'has' if missing == 1 else 'have'} no reward", False
    if others is not None and whole is not None:
        value = show(others.value, text.kind)
        moves = not others.low <= whole.value <= others.high
        if moves:
            lead += f": over the others alone the figure would be {value}, not {show(whole.value, text.kind)}"
        ties = measure.figures.get("tie_rate")
        by_rule = f"{headline}_scored" in measure.figures or ties is None or ties.value == 0
        shared = "" if by_rule else ", ties shared,"
        said.append(
            f"Over the {count - missing:,} scored {word} the same rule{shared} gives {value} "
            f"({interval_text(others, text.kind)})."
        )
    return [Caveat(f"{lead}.", " ".join(said), moves or missing >= LOUD * count)]


def _of_scored(measure: Measure) -> Interval | None:
    """Return the headline over what has every reward, where ``measure`` has it."""
    names = (f"{measure.headline}_scored", f"{measure.headline}_ties_shared")
    return next((measure.figures[name] for name in names if name in measure.figures), None)


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
    words = f"They are in no figure that needs their rewards ({share(result.failed / labelled)} of what is labelled)."
    lead = f"{result.failed:,} of {labelled:,} items could not be scored."
    return [Caveat(lead, words + why, result.failed >= LOUD * labelled)]


def _cut(result: Result) -> list[Caveat]:
    """Return what was not read of the conversations, for being longer than the model takes."""
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
