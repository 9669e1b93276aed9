"""Groups and labels that come again: repeated rows, near prompts, contradicting labels, sides that are one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from plaudit.data.audit.duplicates import PromptClusters, numbered
from plaudit.data.audit.findings import Finding, fault, share_of
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.normalised import Int64Array, UInt64Array, batches, column
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
    is_repeat, first = _later(numbers)
    return table.fault(
        "repeats",
        "repeated groups",
        "copies",
        is_repeat,
        alarm=MANY,
        summary=f"{share_of(is_repeat)} groups repeat the prompt and the responses of an earlier one",
        counted="groups that repeat an earlier one, after normalisation, whatever their labels",
        examples=table.examples(np.flatnonzero(is_repeat), others=first),
    )


def repeated_prompts(table: AuditTable, prompts: Int64Array) -> Finding:
    """Return how many groups have the prompt of an earlier one: no fault, but splits must know it."""
    is_repeat, first = _later(prompts)
    rate, by_source = table.rate("copies", is_repeat)
    return Finding(
        check="repeats",
        name="repeated prompts",
        severity="ok",
        summary=f"{share_of(is_repeat)} groups have the prompt of an earlier group",
        rule="groups whose normalised prompt was met before; never more than told",
        count=int(is_repeat.sum()),
        rate=rate,
        by_source=by_source,
        examples=table.examples(np.flatnonzero(is_repeat), others=first),
    )


def near_prompts(table: AuditTable, clusters: PromptClusters) -> Finding:
    """Return the finding of different prompts that are nearly the same as an earlier one."""
    _, positions = np.unique(clusters.exact, return_index=True)
    places = np.sort(positions)
    is_near, first = _later(clusters.near[places])
    rate = wilson_interval(int(is_near.sum()), max(len(is_near), 1))
    assert rate is not None
    left = f"; candidates that were not compared: {clusters.uncompared:,}" if clusters.uncompared else ""
    return fault(
        "repeats",
        "near-duplicate prompts",
        count=int(is_near.sum()),
        rate=rate,
        alarm=MANY_NEAR,
        summary=f"{share_of(is_near)} different prompts are nearly the same as an earlier one{left}",
        counted=(
            f"different prompts in the cluster of an earlier one (Jaccard similarity of {clusters.words}-word n-grams "
            f"from {clusters.threshold:g}, as MinHash estimates it)"
        ),
        examples=table.examples(places[is_near], others=places[first]),
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
    own, other = _opposites(numbers, is_low, is_contradicted)
    return table.fault(
        "repeats",
        "contradictory pairs",
        "pairs",
        is_contradicted,
        alarm=MANY_CONTRADICTIONS,
        summary=(
            f"{share_of(is_contradicted)} pairs are contradicted: the same prompt and responses, preferred the other "
            f"way round ({int((low & high).sum()):,} different pairs of texts)"
        ),
        counted="pairs that another pair contradicts, after normalisation",
        examples=table.examples(table.pairs.group[own], others=table.pairs.group[other]),
    )


def contradictory_outcomes(table: AuditTable, prompts: Int64Array) -> Finding | None:
    """Return the finding of responses that are right in one place and wrong in another, to the same prompt; or None.

    None stands for data without outcomes. The texts must be equal to the letter: a reading of the answer may rest on
    its form.
    """
    read = [np.zeros(0)]
    for _, batch in batches(table.groups, ["outcomes", "responses"]):
        outcomes, sizes = column(batch, "outcomes"), column(batch, "responses").value_lengths().to_pylist()
        for each, size in zip(outcomes.to_pylist(), sizes, strict=True):
            read.append(np.array([np.nan] * size if each is None else each, np.float64))
    labels = np.concatenate(read)
    labelled = np.flatnonzero(~np.isnan(labels))
    if not len(labelled):
        return None
    group = table.responses.group
    numbers = numbered(_mixed(table.responses.text[labelled]) + _mixed(prompts[group[labelled]].astype(np.uint64)))
    is_right = labels[labelled] > 0
    right, wrong = (np.bincount(numbers, weights=each) > 0 for each in (is_right, ~is_right))
    is_found = np.zeros(len(labels), bool)
    is_found[labelled] = (right & wrong)[numbers]
    return table.fault(
        "repeats",
        "contradictory outcomes",
        "responses",
        is_found,
        alarm=MANY_CONTRADICTIONS,
        summary=(
            f"{share_of(is_found)} responses are right in one place and wrong in another, to the same prompt "
            f"({int((right & wrong).sum()):,} different texts)"
        ),
        counted="responses with an outcome whose text has the opposite one elsewhere, to the same prompt",
    )


def one_sided_pairs(table: AuditTable) -> Finding:
    """Return the finding of pairs whose two sides differ in case, spaces or marks only."""
    chosen, rejected = table.pairs.chosen, table.pairs.rejected
    is_one = table.responses.normal[chosen] == table.responses.normal[rejected]
    return table.fault(
        "repeats",
        "sides equal after normalisation",
        "pairs",
        is_one,
        alarm=MANY,
        summary=f"in {share_of(is_one)} pairs chosen and rejected differ in case, spaces or marks only",
        counted="pairs whose two normalised responses are equal",
    )


def _later(numbers: Int64Array) -> tuple[npt.NDArray[np.bool_], Int64Array]:
    """Return [item] whether its number was met before, and for each that was the first item of that number."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    earliest = first[inverse.reshape(-1)]
    is_later = earliest != np.arange(len(numbers))
    return is_later, earliest[is_later]


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
