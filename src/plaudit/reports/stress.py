"""Stress tests on a page: styles by the reward they move, transforms by the accuracy they cost, flipped pairs."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from plaudit.evaluation.stress.robustness import (
    ChangedText,
    FlippedPair,
    FlippedPairs,
    PositionEffect,
    StressReport,
    StyleEffect,
    TransformEffect,
)
from plaudit.records import Interval
from plaudit.reports.inputs import StressTest
from plaudit.reports.tables import (
    TIE_RULES,
    RowScale,
    date_text,
    number,
    scale_of,
    share,
    signed_text,
)

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_LEAST_KEPT = 0.4
"""Share of a text that must stay for marking the rest to be of use."""


def stress_section(test: StressTest, key: str) -> dict[str, Any]:
    """Return one stress test for the template; every id in it begins with ``key``."""
    report = test.report
    return {
        "id": key,
        "title": report.name,
        "model": report.model,
        "facts": _facts(report),
        "sentences": sentences(report),
        "counts": _counts(report),
        "alpha": f"{report.alpha:g}",
        "ties": TIE_RULES.get(report.tie_rule, report.tie_rule),
        "unit": _unit(report),
        "spread": None if report.spread is None else number(report.spread),
        "styles": style_rows(report),
        "transforms": transform_rows(report),
        "position": None if report.position is None else position_rows(report.position),
        "turned": [] if test.turned is None else _turned(test.turned, report),
        "cut": "" if test.turned is None else f"{test.turned.max_characters:,}",
        "missing": list(test.missing),
    }


def sentences(report: StressReport) -> list[str]:
    """Return in plain words the styles that move the reward and the transforms that cost accuracy."""
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
                f"{share(worst.before.value)} before, {share(worst.after.value)} after."
            )
        said += _most_turned(report)
    return said


def _most_turned(report: StressReport) -> list[str]:
    """Return which transform turns most rankings, for an accuracy can stay where every pair turns."""
    flips = [(each.flipped.value, each.name) for each in report.transforms if each.flipped is not None]
    most, name = max(flips, default=(0.0, ""))
    return [f"The most rankings turn under {name}: those of {share(most)} of the pairs."] if most > 0 else []


def _how_many(found: Sequence[object], of: Sequence[object], what: str, verb: str, one: str) -> str:
    if not found:
        return f"None of {len(of)} {what} was found to {verb}."
    return f"{len(found)} of {len(of)} {what} {one if len(found) == 1 else verb}."


def _worst_word(effect: TransformEffect) -> str:
    return "largest loss" if effect.difference is not None and effect.difference.value < 0 else "first of them"


def style_rows(report: StressReport) -> dict[str, Any]:
    """Return the styles, the largest shift first, on one scale around zero; empty where no style was tested."""
    shifts = [(each, shift_of(each, report)) for each in sorted(report.styles, key=_size, reverse=True)]
    known = [shift for _, shift in shifts if shift is not None]
    if not shifts:
        return {}
    scale = scale_of([0.0, *(end for each in known for end in (each.low, each.high))], signed=True, ticks=6)
    return {
        "ticks": scale.ticks,
        "zero": scale.place(0.0),
        "rows": [
            {"effect": effect, "shift": shift, "mark": None if shift is None else scale.span(shift)}
            for effect, shift in shifts
        ],
    }


def transform_rows(report: StressReport) -> dict[str, Any]:
    """Return the transforms, the largest loss first: accuracy before and after, the change, the share that turned."""
    if not report.transforms:
        return {}
    shares = [each.value for effect in report.transforms for each in (effect.before, effect.after) if each is not None]
    drops = [end for effect in report.transforms if (each := effect.difference) for end in (each.low, each.high)]
    accuracy, change = (
        scale_of([0.5, *shares], percent=True, ticks=3),
        scale_of([0.0, *drops], percent=True, signed=True, ticks=4),
    )
    flips = [effect.flipped.high for effect in report.transforms if effect.flipped is not None]
    most = max([0.05, *flips])
    return {
        "accuracy_ticks": accuracy.ticks,
        "change_ticks": change.ticks,
        "zero": change.place(0.0),
        "rows": [_transform_row(effect, accuracy, change, most) for effect in report.transforms],
    }


def _transform_row(effect: TransformEffect, accuracy: RowScale, change: RowScale, most: float) -> dict[str, Any]:
    before, after, difference, flipped = effect.before, effect.after, effect.difference, effect.flipped
    row: dict[str, Any] = {
        "effect": effect,
        "left_out": "; ".join(f"{reason} {count:,}" for reason, count in Counter(effect.left_out).most_common()) or "0",
    }
    if before is None or after is None or difference is None or flipped is None:
        return row | {"pair": None}
    one, other = accuracy.place(before.value), accuracy.place(after.value)
    return row | {
        "pair": {"before": one, "after": other, "low": min(one, other), "width": round(abs(one - other), 2)},
        "mark": change.span(difference),
        "turned_width": round(100 * flipped.value / most, 2),
    }


def shift_of(effect: StyleEffect, report: StressReport) -> Interval | None:
    """Return the effect of the style on the reward, in spreads, or in rewards where the model has no spread."""
    return effect.in_spreads if report.spread else effect.difference


def _unit(report: StressReport) -> str:
    return "spreads" if report.spread else "rewards"


def _size(effect: StyleEffect) -> float:
    return -1.0 if effect.difference is None else abs(effect.difference.value)


def _facts(report: StressReport) -> list[tuple[str, str]]:
    return [
        ("Model", report.model),
        ("Data", report.name),
        ("Date", date_text(report.created)),
        ("Scoring recipe", report.recipe_hash or ""),
        ("Data fingerprint", report.data_fingerprint or ""),
        ("Seed", str(report.seed)),
    ]


def _counts(report: StressReport) -> str:
    lost = sum(report.failures.values())
    said = f"{report.groups:,} groups were tested. "
    if not lost:
        return said + "No reward is missing."
    reasons = "; ".join(f"{reason} ({count:,})" for reason, count in report.failures.items())
    return said + f"{lost:,} scored item{'s' * (lost > 1)} lack{'s' * (lost == 1)} a reward: {reasons}."


def position_rows(effect: PositionEffect) -> dict[str, Any]:
    """Return how often the one named first is preferred, and how often the order decides, on a scale from 0 to 1."""
    found = (("Named first is preferred", effect.first), ("The order decides", effect.inconsistent))
    rows = [RowScale(0.0, 1.0).row(label, "model", interval) for label, interval in found]
    return {"rows": rows, "pairs": f"{effect.pairs:,}"}


def _turned(found: FlippedPairs, report: StressReport) -> list[dict[str, Any]]:
    """Return the clearest pair of each transform, the transforms as they are ranked, then the second and the third."""
    ranks = {effect.name: rank for rank, effect in enumerate(report.transforms)}
    seen = Counter[str]()
    ordered = []
    for pair in found.pairs:
        ordered.append((seen[pair.transform], ranks.get(pair.transform, len(ranks)), pair))
        seen[pair.transform] += 1
    return [_turned_pair(pair) for _, _, pair in sorted(ordered, key=lambda each: each[:2])]


def _turned_pair(pair: FlippedPair) -> dict[str, Any]:
    sides = [
        ("Preferred", "chosen", _marked(pair.chosen), pair.chosen_rewards),
        ("Not preferred", "rejected", _marked(pair.rejected), pair.rejected_rewards),
    ]
    before, after = (
        chosen - rejected for chosen, rejected in zip(pair.chosen_rewards, pair.rejected_rewards, strict=True)
    )
    return {"pair": pair, "before": before, "after": after, "prompt": _marked(pair.prompt), "sides": sides}


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
