"""Groups and labels that come again: repeated rows, near prompts, contradicting labels, sides that are one."""

from __future__ import annotations

import numpy as np

from plaudit.data.audit.duplicates import PromptClusters, numbered
from plaudit.data.audit.findings import Finding, by_share, share_rule
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.normalised import Int64Array, UInt64Array
from plaudit.statistics.intervals import wilson_interval

MANY = 0.01
"""Share of repeated groups, or of sides that are one, from which it is an alarm."""
MANY_NEAR = 0.2
"""Share of prompts that are near another from which it is an alarm."""
MANY_CONTRADICTIONS = 0.005
"""Share of pairs that another label contradicts from which it is an alarm."""
_BASE = np.uint64(0xD6E8FEB86659FD93)


def repeated_groups(table: AuditTable, prompts: Int64Array) -> Finding:
    """Return the finding of groups whose prompt and responses are those of an earlier one, after normalisation.

    ``prompts[group]`` numbers the normalised prompts. The order of the responses and the labels do not count.
    """
    # A sum does not depend on the order; the hashes are random, so sums of different sets differ.
    responses = np.zeros(len(table.groups), np.uint64)
    np.add.at(responses, table.responses.group, _mixed(table.responses.normal))
    numbers = numbered(_mixed(responses) ^ prompts.astype(np.uint64))
    repeats, first = _later(numbers)
    is_repeat = np.zeros(len(numbers), bool)
    is_repeat[repeats] = True
    rate, by_source = table.counted_rate(is_repeat)
    return Finding(
        check="repeats",
        name="repeated groups",
        severity=by_share(len(repeats), rate, alarm=MANY),
        summary=f"{len(repeats):,} of {len(numbers):,} groups repeat the prompt and the responses of an earlier one",
        rule=share_rule("groups that repeat an earlier one, after normalisation, whatever their labels", MANY),
        count=len(repeats),
        rate=rate,
        by_source=by_source,
        examples=table.examples(repeats, others=first),
    )


def repeated_prompts(table: AuditTable, prompts: Int64Array) -> Finding:
    """Return how many groups have the prompt of an earlier one: no fault, but splits must know it."""
    repeats, first = _later(prompts)
    is_repeat = np.zeros(len(prompts), bool)
    is_repeat[repeats] = True
    rate, by_source = table.counted_rate(is_repeat)
    return Finding(
        check="repeats",
        name="repeated prompts",
        severity="ok",
        summary=f"{len(repeats):,} of {len(prompts):,} groups have the prompt of an earlier group",
        rule="groups whose normalised prompt was met before; never more than told",
        count=len(repeats),
        rate=rate,
        by_source=by_source,
        examples=table.examples(repeats, others=first),
    )


def near_prompts(table: AuditTable, clusters: PromptClusters) -> Finding:
    """Return the finding of different prompts that are nearly the same as an earlier one."""
    _, positions = np.unique(clusters.exact, return_index=True)
    near = clusters.near[np.sort(positions)]
    places = np.sort(positions)
    repeats, first = _later(near)
    rate = wilson_interval(len(repeats), max(len(near), 1))
    assert rate is not None
    left = f"; candidates that were not compared: {clusters.uncompared:,}" if clusters.uncompared else ""
    return Finding(
        check="repeats",
        name="near-duplicate prompts",
        severity=by_share(len(repeats), rate, alarm=MANY_NEAR),
        summary=f"{len(repeats):,} of {len(near):,} different prompts are nearly the same as an earlier one{left}",
        rule=share_rule(
            f"different prompts in the cluster of an earlier one (Jaccard similarity of {clusters.words}-word n-grams "
            f"from {clusters.threshold:g}, as MinHash estimates it)",
            MANY_NEAR,
        ),
        count=len(repeats),
        rate=rate,
        examples=table.examples(places[repeats], others=places[first]),
    )


def pair_numbers(table: AuditTable, prompts: Int64Array) -> tuple[Int64Array, np.ndarray]:
    """Return [pair] a number for its prompt and two texts in any order, and whether the lower hash is chosen."""
    chosen, rejected = (table.responses.normal[side] for side in (table.pairs.chosen, table.pairs.rejected))
    low, high = np.minimum(chosen, rejected), np.maximum(chosen, rejected)
    keys = _mixed(_mixed(low) + high) + _mixed(prompts[table.pairs.group].astype(np.uint64))
    return numbered(keys), chosen < rejected


def contradictions(table: AuditTable, prompts: Int64Array) -> Finding:
    """Return the finding of pairs whose two responses to one prompt are also preferred the other way round."""
    numbers, is_low = pair_numbers(table, prompts)
    is_distinct = table.responses.normal[table.pairs.chosen] != table.responses.normal[table.pairs.rejected]
    size = int(numbers.max(initial=-1)) + 1
    low = np.bincount(numbers, weights=is_low & is_distinct, minlength=size) > 0
    high = np.bincount(numbers, weights=~is_low & is_distinct, minlength=size) > 0
    is_contradicted = (low & high)[numbers] & is_distinct
    rate, by_source = table.pair_rate(is_contradicted.astype(np.float64))
    count = int(is_contradicted.sum())
    own, other = _opposites(numbers, is_low, is_contradicted)
    return Finding(
        check="repeats",
        name="contradictory pairs",
        severity=by_share(count, rate, alarm=MANY_CONTRADICTIONS),
        summary=(
            f"{count:,} of {len(numbers):,} pairs are contradicted: the same prompt and responses, preferred the other "
            f"way round ({int((low & high).sum()):,} different pairs of texts)"
        ),
        rule=share_rule("pairs that another pair contradicts, after normalisation", MANY_CONTRADICTIONS),
        count=count,
        rate=rate,
        by_source=by_source,
        examples=table.examples(table.pairs.group[own], others=table.pairs.group[other]),
    )


def one_sided_pairs(table: AuditTable) -> Finding:
    """Return the finding of pairs whose two sides differ in case, spaces or marks only."""
    chosen, rejected = table.pairs.chosen, table.pairs.rejected
    is_one = table.responses.normal[chosen] == table.responses.normal[rejected]
    rate, by_source = table.pair_rate(is_one.astype(np.float64))
    count = int(is_one.sum())
    return Finding(
        check="repeats",
        name="sides equal after normalisation",
        severity=by_share(count, rate, alarm=MANY),
        summary=f"in {count:,} of {len(is_one):,} pairs chosen and rejected differ in case, spaces or marks only",
        rule=share_rule("pairs whose two normalised responses are equal", MANY),
        count=count,
        rate=rate,
        by_source=by_source,
        examples=table.examples(table.pairs.group[is_one]),
    )


def _later(numbers: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return the items whose number was met before, ascending, and for each the first item of that number."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    earliest = first[inverse.reshape(-1)]
    later = np.flatnonzero(earliest != np.arange(len(numbers)))
    return later, earliest[later]


def _opposites(numbers: Int64Array, is_low: np.ndarray, is_contradicted: np.ndarray) -> tuple[Int64Array, Int64Array]:
    """Return one pair of each contradiction and one that contradicts it."""
    ways = []
    for way in (is_low, ~is_low):
        members = np.flatnonzero(is_contradicted & way)
        _, first = np.unique(numbers[members], return_index=True)
        ways.append(members[first])
    return ways[0], ways[1]


def _mixed(values: UInt64Array) -> UInt64Array:
    values = (values ^ (values >> np.uint64(32))) * _BASE
    return values ^ (values >> np.uint64(29))
