"""Surface features that one side shows more often than the other: style, traces of how sides were written, order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from plaudit.data.audit.findings import NUM_EXAMPLES, Example, Finding, by_gap, gap_rule
from plaudit.data.audit.table import FORMAT, STYLE, AuditTable
from plaudit.data.schema.normalised import UInt64Array, batches, column, normalised
from plaudit.records import Interval
from plaudit.statistics.intervals import proportion_interval
from plaudit.statistics.paired_tests import holm, sign_test

LARGE_STYLE = 0.1
"""Difference between chosen and rejected from which a style, a first word or a last character is an alarm."""
LARGE_FORMAT = 0.03
"""Difference between chosen and rejected from which a feature of format is an alarm: it should be none."""
LARGE_ORDER = 0.1
"""Distance from one half from which the place of the chosen response is an alarm."""
MOST_COMMON = 25
"""First words and last characters that are tested, the most common ones of all responses."""


_Reads = Callable[[AuditTable, npt.NDArray[np.int64]], list[str]]
"""Returns the texts of some responses, one for each."""


@final
@dataclass(frozen=True, slots=True)
class _Feature:
    name: str
    chosen: npt.NDArray[np.bool_]
    rejected: npt.NDArray[np.bool_]

    @property
    def difference(self) -> npt.NDArray[np.float64]:
        return self.chosen.astype(np.float64) - self.rejected


def style_bias(table: AuditTable) -> list[Finding]:
    """Return one finding for each feature of style: its rate on chosen and on rejected responses, and the test."""
    features = _flagged(table, STYLE, table.responses.style)
    return _findings(table, "style", features, [LARGE_STYLE] * len(features))


def format_leaks(table: AuditTable) -> list[Finding]:
    """Return one finding for each feature of format, and for each common first word and last character that leaks.

    Of the common ones only those that differ are told: all of them are in the family of the tests.
    """
    fixed = _flagged(table, FORMAT, table.responses.format)
    common = _common(table, "opens with the word", table.responses.first_word, _first_word)
    common += _common(table, "ends in", table.responses.last_character, _last_character)
    limits = [LARGE_FORMAT] * len(fixed) + [LARGE_STYLE] * len(common)
    findings = _findings(table, "leaks", [*fixed, *common], limits)
    return [finding for place, finding in enumerate(findings) if place < len(fixed) or finding.severity != "ok"]


def response_order(table: AuditTable) -> Finding | None:
    """Return how often the chosen response stands before the rejected one in its group; None without pairs.

    Files of chosen and rejected texts become groups whose first response is the chosen one: then it always does, and
    that says nothing of the labels. Models that read both responses must see them in both orders.
    """
    if not len(table.pairs):
        return None
    is_first = (table.pairs.chosen < table.pairs.rejected).astype(np.float64)
    rate, by_source = table.rate("pairs", is_first)
    p_value = sign_test(2.0 * is_first - 1.0, table.clusters)
    by_construction = bool(is_first.all()) or not is_first.any()
    how = (
        ", as the format of the file puts it; show pairs in both orders to models that read both"
        if by_construction
        else ""
    )
    return Finding(
        check="leaks",
        name="chosen response first",
        severity="ok" if by_construction else by_gap(p_value, rate.value - 0.5, alarm=LARGE_ORDER),
        summary=f"the chosen response stands first in {rate.value:.1%} of {rate.n:,} pairs{how}",
        rule=(
            "sign test over prompts: a notice below p = 0.01, an alarm if the share is also 10 points from one half, "
            "none or all is neither: then the format of the file, not the labels, puts it there"
        ),
        count=int(is_first.sum()),
        rate=rate,
        p_value=p_value,
        by_source=by_source,
    )


def _flagged(table: AuditTable, names: Mapping[str, str], found: npt.NDArray[np.bool_]) -> list[_Feature]:
    chosen, rejected = found[table.pairs.chosen], found[table.pairs.rejected]
    return [_Feature(name, chosen[:, position], rejected[:, position]) for position, name in enumerate(names)]


def _common(table: AuditTable, what: str, hashes: UInt64Array, read: _Reads) -> list[_Feature]:
    """Return a feature for each of the most common values of ``hashes[response]``."""
    values, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_COMMON]
    sides = hashes[table.pairs.chosen], hashes[table.pairs.rejected]
    shown = read(table, first[order])
    return [
        _Feature(f"{what} {text!r}", sides[0] == values[position], sides[1] == values[position])
        for position, text in zip(order.tolist(), shown, strict=True)
    ]


def _findings(table: AuditTable, check: str, features: Sequence[_Feature], limits: Sequence[float]) -> list[Finding]:
    if not len(table.pairs):
        return []
    p_values = holm([sign_test(feature.difference, table.clusters) for feature in features])
    return [_finding(table, check, *each) for each in zip(features, p_values, limits, strict=True)]


def _finding(table: AuditTable, check: str, feature: _Feature, p_value: float, alarm: float) -> Finding:
    sides = {"on chosen": feature.chosen, "on rejected": feature.rejected}
    figures: dict[str, Interval] = {}
    for name, values in sides.items():
        found = proportion_interval(values.astype(np.float64), table.clusters)
        assert found is not None
        figures[name] = found
    is_one_sided = feature.chosen != feature.rejected
    decided = proportion_interval(feature.chosen[is_one_sided].astype(np.float64), table.clusters[is_one_sided])
    if decided is not None:
        figures["chosen, where one side has it"] = decided
    rate, by_source = table.rate("pairs", is_one_sided)
    on_chosen, on_rejected = figures["on chosen"].value, figures["on rejected"].value
    severity = by_gap(p_value, on_chosen - on_rejected, alarm=alarm)
    more = feature.chosen if on_chosen >= on_rejected else feature.rejected
    rows = table.pairs.group[is_one_sided & more][:NUM_EXAMPLES]
    examples: tuple[Example, ...] = () if severity == "ok" else table.examples(rows)
    return Finding(
        check=check,
        name=feature.name,
        severity=severity,
        summary=f"{feature.name}: {on_chosen:.2%} of chosen and {on_rejected:.2%} of rejected responses",
        rule=gap_rule("share of pairs of which one side only has it", alarm),
        count=int(is_one_sided.sum()),
        rate=rate,
        figures=figures,
        p_value=p_value,
        by_source=by_source,
        examples=examples,
    )


def _texts(table: AuditTable, responses: npt.NDArray[np.int64]) -> list[str]:
    groups = table.responses.group[responses]
    found = []
    for response, group in zip(responses.tolist(), groups.tolist(), strict=True):
        _, batch = next(batches(table.groups.select([group]), ["responses"]))
        first = int(np.searchsorted(table.responses.group, group))
        found.append(column(batch, "responses").flatten()[response - first].as_py())
    return found


def _first_word(table: AuditTable, responses: npt.NDArray[np.int64]) -> list[str]:
    plain = normalised(pa.array(_texts(table, responses), pa.string())).to_pylist()
    return [next(iter(text.split()), "") for text in plain]


def _last_character(table: AuditTable, responses: npt.NDArray[np.int64]) -> list[str]:
    return [text[-1:] for text in _texts(table, responses)]
