"""Prompts that are elsewhere, too: in the other split, or in a benchmark."""

from __future__ import annotations

from collections import Counter

import numpy as np

from plaudit.data.audit.contamination import Contamination
from plaudit.data.audit.duplicates import similar_prompts
from plaudit.data.audit.findings import NUM_EXAMPLES, Example, Finding, fault, share_of
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.group_set import GroupSet, concatenate
from plaudit.data.schema.normalised import Int64Array
from plaudit.statistics.intervals import wilson_interval

MANY_NEAR = 0.01
"""Share of the other split's groups with a near prompt in this one from which it is an alarm."""


def shared_prompts(groups: GroupSet, against: GroupSet, *, threshold: float, seed: int) -> list[Finding]:
    """Return the prompts that ``groups`` shares with ``against``, the other split: equal ones, and near duplicates."""
    clusters = similar_prompts(concatenate([groups, against]), threshold=threshold, seed=seed)
    exact = _shared(clusters.exact, len(groups))
    near = _shared(clusters.near, len(groups))
    only_near = {row: other for row, other in near.items() if row not in exact}
    found = (
        ("equal prompts in the other split", exact, 0.0, "normalised prompt is also in the audited set"),
        (
            "near prompts in the other split",
            only_near,
            MANY_NEAR,
            f"prompt is only nearly one of the audited set (Jaccard similarity from {threshold:g})",
        ),
    )
    return [_split_finding(groups, against, *each) for each in found]


def contaminated_groups(table: AuditTable, contamination: Contamination) -> Finding:
    """Return the finding of groups that hold a benchmark's prompt, with both places."""
    is_hit = np.zeros(len(table.groups), bool)
    is_hit[contamination.rows] = True
    counts = Counter(match.benchmark for match in contamination.matches)
    some = contamination.below > 0
    names = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    return table.fault(
        "leakage",
        "prompts of benchmarks",
        "groups",
        is_hit,
        alarm=0.0,
        summary=(
            f"{share_of(is_hit)} groups hold one of {contamination.prompts:,} benchmark prompts"
            + (f" (matches: {names})" if names else "")
            + (f"; {contamination.below:,} others share a {contamination.words}-word run with one" if some else "")
        ),
        counted=(
            f"groups whose prompt equals a benchmark's, or holds {contamination.min_share:.0%} of its "
            f"{contamination.words}-word n-grams, runs common to several of its prompts left out"
        ),
        examples=tuple(
            Example(
                row=match.row,
                id=match.id,
                place=f"{match.benchmark}, {match.place}",
                note=match.kind if match.kind == "equal" else f"{match.share:.0%} contained",
            )
            for match in contamination.matches[:NUM_EXAMPLES]
        ),
    )


def _shared(numbers: Int64Array, count: int) -> dict[int, int]:
    """Return, for each item after the first ``count`` whose number one of those has, the first such item."""
    values, first = np.unique(numbers[:count], return_index=True)
    others = numbers[count:]
    place = np.minimum(np.searchsorted(values, others), max(len(values) - 1, 0))
    hit = np.flatnonzero(values[place] == others) if len(values) else np.zeros(0, np.int64)
    return dict(zip(hit.tolist(), first[place[hit]].tolist(), strict=True))


def _split_finding(
    groups: GroupSet, against: GroupSet, name: str, found: dict[int, int], alarm: float, what: str
) -> Finding:
    rate = wilson_interval(len(found), max(len(against), 1))
    assert rate is not None
    shown = list(found.items())[:NUM_EXAMPLES]
    examples = tuple(
        Example(row=row, id=groups[row].id, place=against[other].id, note=against.report.path) for other, row in shown
    )
    return fault(
        "leakage",
        name,
        count=len(found),
        rate=rate,
        alarm=alarm,
        summary=f"{len(found):,} of {len(against):,} groups of {against.report.path}: their {what}",
        counted="groups of the other split",
        examples=examples,
    )
