"""What a page says of probes: styles by the reward they move, transforms by the accuracy they cost, pairs that turn."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from plaudit.evaluation.stress.flipped_pairs import ChangedText, TurnedPair, TurnedPairs
from plaudit.evaluation.stress.robustness import PositionEffect, ProbeReport, StyleEffect, TransformEffect
from plaudit.records import Interval
from plaudit.reports import tables
from plaudit.reports.axis import Axis, axis, p_value_text, signed_interval, signed_number, signed_text
from plaudit.reports.inputs import Probe

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_LEAST_KEPT = 0.4
"""Where less of a text stays than this, marking the rest says nothing."""


def probe_section(probe: Probe, key: str) -> dict[str, Any]:
    """Return what the template needs about one probe; every id in it begins with ``key``."""
    report = probe.report
    return {
        "id": key,
        "title": report.name,
        "model": report.model,
        "facts": _facts(report),
        "sentences": sentences(report),
        "counts": _counts(report),
        "alpha": f"{report.alpha:g}",
        "ties": tables.TIE_RULES.get(report.tie_rule, report.tie_rule),
        "unit": _unit(report),
        "spread": None if report.spread is None else tables.number(report.spread),
        "styles": style_rows(report),
        "transforms": transform_rows(report),
        "position": None if report.position is None else position_rows(report.position),
        "turned": [] if probe.turned is None else _turned(probe.turned, report),
        "cut": "" if probe.turned is None else f"{probe.turned.max_characters:,}",
        "missing": list(probe.missing),
    }


def sentences(report: ProbeReport) -> list[str]:
    """Return in plain words what moves the reward, what costs accuracy, and what was not found."""
    said = []
    if report.styles:
        moved = [each for each in report.styles if each.verdict == "found"]
        said.append(_how_many(moved, report.styles, "styles", "move the reward", "moves the reward"))
        strongest = max(moved, key=_size, default=None)
        shift = None if strongest is None else shift_of(strongest, report)
        if strongest is not None and shift is not None:
            verb = "raises" if shift.value > 0 else "lowers"
            amount = signed_text(abs(shift.value), 2, plus=False)
            said.append(f"The strongest, {strongest.name} ({strongest.about}), {verb} it by {amount} {_unit(report)}.")
    if report.transforms:
        changed = [each for each in report.transforms if each.verdict == "found"]
        said.append(
            _how_many(
                changed,
                report.transforms,
                "transforms that must not matter",
                "change the accuracy",
                "changes the accuracy",
            )
        )
        worst = next(iter(changed), None)
        if worst is not None and worst.before is not None and worst.after is not None:
            said.append(
                f"The {_worst_word(worst)}, {worst.name} ({worst.about}): "
                f"{tables.share(worst.before.value)} before, {tables.share(worst.after.value)} after."
            )
        said += _most_turned(report)
    return said


def _most_turned(report: ProbeReport) -> list[str]:
    """Return which transform turns most rankings, for an accuracy can stay where every pair turns."""
    flips = [(each.flipped.value, each.name) for each in report.transforms if each.flipped is not None]
    share, name = max(flips, default=(0.0, ""))
    return [f"The most rankings turn under {name}: those of {tables.share(share)} of the pairs."] if share > 0 else []


def _how_many(found: Sequence[object], of: Sequence[object], what: str, verb: str, one: str) -> str:
    if not found:
        return f"None of {len(of)} {what} was found to {verb}."
    return f"{len(found)} of {len(of)} {what} {one if len(found) == 1 else verb}."


def _worst_word(effect: TransformEffect) -> str:
    return "largest loss" if effect.difference is not None and effect.difference.value < 0 else "first of them"


def style_rows(report: ProbeReport) -> dict[str, Any]:
    """Return the styles, the largest shift first, on one scale around zero; empty where no style was probed."""
    shifts = [(each, shift_of(each, report)) for each in sorted(report.styles, key=_size, reverse=True)]
    known = [shift for _, shift in shifts if shift is not None]
    if not shifts:
        return {}
    scale = axis([0.0, *(end for each in known for end in (each.low, each.high))], signed=True, ticks=6)
    return {
        "ticks": scale.ticks,
        "zero": scale.place(0.0),
        "rows": [
            {
                **_named(effect),
                "mark": None if shift is None else scale.span(shift),
                "value": "–" if shift is None else signed_text(shift.value, 2),
                "interval": "" if shift is None else signed_interval(shift, 2),
                "reward": "–" if effect.difference is None else signed_number(effect.difference.value),
                "raised": "–" if effect.raised is None else tables.share(effect.raised.value),
                "raised_interval": "" if effect.raised is None else tables.interval_text(effect.raised, "share"),
                "n": f"{effect.changed:,}",
                "of": f"{effect.responses:,}",
                "left_out": f"{effect.left_out:,}",
            }
            for effect, shift in shifts
        ],
    }


def transform_rows(report: ProbeReport) -> dict[str, Any]:
    """Return the transforms, the largest loss first: accuracy before and after, the change, the share that turned."""
    if not report.transforms:
        return {}
    shares = [each.value for effect in report.transforms for each in (effect.before, effect.after) if each is not None]
    drops = [end for effect in report.transforms if (each := effect.difference) for end in (each.low, each.high)]
    accuracy, change = (
        axis([0.5, *shares], percent=True, ticks=3),
        axis([0.0, *drops], percent=True, signed=True, ticks=4),
    )
    flips = [effect.flipped.high for effect in report.transforms if effect.flipped is not None]
    most = max([0.05, *flips])
    return {
        "accuracy_ticks": accuracy.ticks,
        "change_ticks": change.ticks,
        "zero": change.place(0.0),
        "rows": [_transform_row(effect, accuracy, change, most) for effect in report.transforms],
    }


def _transform_row(effect: TransformEffect, accuracy: Axis, change: Axis, most: float) -> dict[str, Any]:
    before, after, difference, flipped = effect.before, effect.after, effect.difference, effect.flipped
    row = {
        **_named(effect),
        "groups": f"{effect.changed:,}",
        "of": f"{effect.groups:,}",
        "n": "0" if flipped is None else f"{flipped.n:,}",
        "ties": f"{effect.ties_before:,} / {effect.ties_after:,}",
        "left_out": "; ".join(f"{reason} {count:,}" for reason, count in Counter(effect.left_out).most_common()) or "0",
    }
    if before is None or after is None or difference is None or flipped is None:
        return row | {"pair": None}
    one, other = accuracy.place(before.value), accuracy.place(after.value)
    return row | {
        "pair": {"before": one, "after": other, "low": min(one, other), "width": round(abs(one - other), 2)},
        "before": tables.share(before.value),
        "after": tables.share(after.value),
        "before_interval": tables.interval_text(before, "share"),
        "after_interval": tables.interval_text(after, "share"),
        "mark": change.span(difference),
        "value": signed_text(100 * difference.value, 1),
        "interval": signed_interval(difference, 1, scale=100),
        "turned": tables.share(flipped.value),
        "turned_interval": tables.interval_text(flipped, "share"),
        "turned_width": round(100 * flipped.value / most, 2),
    }


def _named(effect: StyleEffect | TransformEffect) -> dict[str, Any]:
    return {
        "label": effect.name,
        "about": effect.about,
        "found": effect.verdict == "found",
        "p": p_value_text(effect.p_value),
        "failed": f"{effect.failed:,}",
    }


def shift_of(effect: StyleEffect, report: ProbeReport) -> Interval | None:
    """Return what the style adds to the reward, in spreads, or in rewards where the model has no spread."""
    return effect.in_spreads if report.spread else effect.difference


def _unit(report: ProbeReport) -> str:
    return "spreads" if report.spread else "rewards"


def _size(effect: StyleEffect) -> float:
    return -1.0 if effect.difference is None else abs(effect.difference.value)


def _facts(report: ProbeReport) -> list[tuple[str, str]]:
    date = f"{report.created[:16].replace('T', ' ')} UTC" if report.created else ""
    facts = [
        ("Model", report.model),
        ("Data", report.name),
        ("Date", date),
        ("Scoring recipe", report.recipe_hash or ""),
        ("Data fingerprint", report.data_fingerprint or ""),
        ("Seed", str(report.seed)),
    ]
    return [(label, value) for label, value in facts if value]


def _counts(report: ProbeReport) -> str:
    lost = sum(report.failures.values())
    said = f"{report.groups:,} groups were probed. "
    if not lost:
        return said + "No reward is missing."
    reasons = "; ".join(f"{reason} ({count:,})" for reason, count in report.failures.items())
    return said + f"{lost:,} scored item{'s' * (lost > 1)} lack{'s' * (lost == 1)} a reward: {reasons}."


def position_rows(effect: PositionEffect) -> dict[str, Any]:
    """Return how often the one named first is preferred, and how often the order decides, on a scale from 0 to 1."""
    rows = []
    for label, interval in (("Named first is preferred", effect.first), ("The order decides", effect.inconsistent)):
        low, high = 100 * interval.low, 100 * interval.high
        span = {"at": round(100 * interval.value, 2), "low": round(low, 2), "width": round(high - low, 2)}
        rows.append(
            {
                "label": label,
                **span,
                "value": tables.share(interval.value),
                "interval": tables.interval_text(interval, "share"),
            }
        )
    return {"rows": rows, "pairs": f"{effect.pairs:,}"}


def _turned(found: TurnedPairs, report: ProbeReport) -> list[dict[str, Any]]:
    """Return the clearest pair of each transform, the transforms as they are ranked, then the second and the third."""
    ranks = {effect.name: rank for rank, effect in enumerate(report.transforms)}
    seen = Counter[str]()
    ordered = []
    for pair in found.pairs:
        ordered.append((seen[pair.transform], ranks.get(pair.transform, len(ranks)), pair))
        seen[pair.transform] += 1
    return [_turned_pair(pair) for _, _, pair in sorted(ordered, key=lambda each: each[:2])]


def _turned_pair(pair: TurnedPair) -> dict[str, Any]:
    before = pair.chosen_rewards[0] - pair.rejected_rewards[0]
    after = pair.chosen_rewards[1] - pair.rejected_rewards[1]
    sides = (("Preferred", "chosen", pair.chosen, pair.chosen_rewards),)
    sides += (("Not preferred", "rejected", pair.rejected, pair.rejected_rewards),)
    return {
        "id": pair.id,
        "source": pair.source,
        "transform": pair.transform,
        "direction": "right → wrong" if before > 0 else "wrong → right",
        "margins": f"{signed_number(before)} → {signed_number(after)}",
        "line": pair.prompt.before,
        "turns": pair.turns,
        "prompt": _marked(pair.prompt),
        "sides": [
            {
                "label": label,
                "colour": colour,
                "text": _marked(text),
                "before": tables.number(rewards[0]),
                "after": tables.number(rewards[1]),
            }
            for label, colour, text, rewards in sides
        ],
    }


def _marked(text: ChangedText) -> dict[str, Any]:
    """Return the text before, and after in parts (part, whether it is new); None after where nothing changes."""
    if text.before == text.after:
        return {"before": text.before, "after": None}
    one, other = _TOKEN.findall(text.before), _TOKEN.findall(text.after)
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
    parts = [("".join(other[low:high]), tag != "equal") for tag, _, _, low, high in blocks if high > low]
    if sum(len(part) for part, is_new in parts if not is_new) < _LEAST_KEPT * len(text.before):
        parts = [(text.after, False)]
    return {"before": text.before, "after": parts}
