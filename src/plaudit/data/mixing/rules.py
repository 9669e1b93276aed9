"""Groups through a list of rules: those of single groups in one pass over the text, those of sets by hashes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_never

import numpy as np
import pyarrow as pa

from plaudit.data.mixing.config import Distinct, GroupRule, PerPrompt, RuleConfig, Sample, SetRule, Slice
from plaudit.data.mixing.group_rules import NO_PAIR_LEFT, names_of, passed
from plaudit.data.mixing.report import RuleCounts, RuleReport
from plaudit.data.mixing.splits import drawn_positions
from plaudit.data.schema.columns import SCHEMA, batch_of, relabelled, row_hash, with_identity
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import BATCH_ROWS, GroupSet, features
from plaudit.data.schema.hash_rng import uniform


@dataclass(frozen=True, slots=True)
class Selection:
    """The groups that a rule lets pass, and those of them that keep only some of their pairs.

    ``positions`` are increasing; ``pairs`` maps a position to the indices of the preferences that stay.
    """

    positions: np.ndarray
    pairs: Mapping[int, np.ndarray] = field(default_factory=dict)


def selection(groups: GroupSet, rule: SetRule, seed: int, counts: RuleCounts) -> Selection:
    """Return the ``groups`` that pass ``rule``; ``counts`` gets the numbers."""
    num_pairs = groups.num_preferences()
    counts.groups_in, counts.pairs_in = len(groups), int(num_pairs.sum())
    match rule:
        case PerPrompt(max_pairs=most):
            found = _per_prompt(groups.prompt_hashes(), num_pairs, groups.row_hashes(), most, seed)
            reason, left_out = NO_PAIR_LEFT, f"more than {most} of the prompt"
        case Distinct(of=of):
            hashes = groups.prompt_hashes() if of == "prompt" else content_hashes(groups)
            found = Selection(np.sort(np.unique(hashes, return_index=True)[1]))
            reason = left_out = f"the {of} came before"
        case Sample():
            found = Selection(_sampled(groups, rule, seed))
            reason = left_out = "not drawn"
        case Slice(start=start, stop=stop):
            found = Selection(np.arange(len(groups))[start:stop])
            reason = left_out = "outside the slice"
        case _:
            assert_never(rule)
    kept_pairs = num_pairs[found.positions].copy()
    for position, pairs in found.pairs.items():
        kept_pairs[np.searchsorted(found.positions, position)] = len(pairs)
    counts.groups_out, counts.pairs_out = len(found.positions), int(kept_pairs.sum())
    counts.groups_left_out[reason] = counts.groups_in - counts.groups_out
    counts.pairs_left_out[left_out] = counts.pairs_in - counts.pairs_out
    return found


def _sampled(groups: GroupSet, rule: Sample, seed: int) -> np.ndarray:
    count = rule.groups if rule.groups is not None else int((rule.fraction or 0.0) * len(groups))
    if count == 0:
        return np.empty(0, np.int64)
    return drawn_positions(groups, count, seed)


def content_hashes(groups: GroupSet) -> np.ndarray:
    """Return a uint64 per group over its prompt, responses and labels, whatever its id and source; [group]."""
    rows = (row_hash(with_identity(group, "", "")) for group in groups)
    return np.fromiter(rows, np.uint64, len(groups))


def _per_prompt(prompts: np.ndarray, num_pairs: np.ndarray, rows: np.ndarray, most: int, seed: int) -> Selection:
    """Return a draw of at most ``most`` pairs of each prompt, every pair of a prompt as likely as another."""
    group = np.repeat(np.arange(len(prompts)), num_pairs)
    index = np.arange(len(group)) - np.repeat(np.cumsum(num_pairs) - num_pairs, num_pairs)
    place = uniform(rows[group] + index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15), seed)
    order = np.lexsort((place, prompts[group]))
    ordered = prompts[group][order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, np.int64)
    within = np.arange(len(ordered)) - np.repeat(starts, np.diff(np.r_[starts, len(ordered)]))
    kept = np.sort(order[within < most])
    positions, first, count = np.unique(group[kept], return_index=True, return_counts=True)
    partial = count < num_pairs[positions]
    pairs = {
        int(position): index[kept[start : start + size]]
        for position, start, size in zip(positions[partial], first[partial], count[partial], strict=True)
    }
    return Selection(positions, pairs)


def apply_rules(
    groups: GroupSet,
    rules: Sequence[RuleConfig],
    *,
    seed: int,
    folder: Path,
    named: Iterable[Group] | None = None,
) -> tuple[GroupSet, tuple[RuleReport, ...]]:
    """Return the groups that pass all ``rules``, as these leave them, and the report of each rule.

    Rewritten groups lie in Arrow files in ``folder``. ``named`` are the same groups under the ids that they are to
    have; None is those of ``groups``. The draws of the rule at position i follow from ``seed`` + i and the groups, ids
    included, not from their order.
    """
    reports: list[RuleReport] = []
    if named is not None and (not rules or isinstance(rules[0], SetRule)):
        groups = written(named, folder / "named.arrow", groups)
    numbered = [(seed + index, rule) for index, rule in enumerate(rules)]
    for is_single, run in itertools.groupby(numbered, key=lambda each: isinstance(each[1], GroupRule)):
        number = len(reports)
        if is_single:
            steps = [
                (rule, at, RuleCounts(rule_text(rule), not_found=names_of(rule)))
                for at, rule in run
                if isinstance(rule, GroupRule)
            ]
            origin = groups if number or named is None else named
            groups = written(_through(origin, steps), folder / f"rules-{number}.arrow", groups)
            reports.extend(counts.report() for _, _, counts in steps)
            continue
        for at, rule in run:
            if isinstance(rule, SetRule):
                counts = RuleCounts(rule_text(rule))
                groups = _selected(groups, selection(groups, rule, at, counts), folder, len(reports))
                reports.append(counts.report())
    return groups, tuple(reports)


def rule_text(rule: RuleConfig) -> str:
    """Return a rule in one line: its type and every field that is not its default."""
    fields = rule.model_dump(mode="json", exclude_defaults=True, exclude={"type"})
    return " ".join([rule.type, *(f"{name}={_value(value)}" for name, value in fields.items())])


def _value(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def written(groups: Iterable[Group], path: Path, origin: GroupSet) -> GroupSet:
    """Return ``groups`` as a set over the Arrow file ``path``, with the report of ``origin``."""
    return written_tables(map(_table, _batches(groups)), path, origin)


def written_tables(tables: Iterable[pa.Table], path: Path, origin: GroupSet) -> GroupSet:
    """Return the rows of ``tables`` as a set over the Arrow file ``path``, with the report of ``origin``."""
    schema = SCHEMA.with_metadata(features().arrow_schema.metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for table in tables:
            # Rows that were selected one by one come as one chunk each, and would be written as one batch each.
            writer.write_table(table.combine_chunks().replace_schema_metadata(schema.metadata))
    return GroupSet.from_arrow_file(path, origin.report)


def _batches(groups: Iterable[Group]) -> Iterator[list[Group]]:
    iterator = iter(groups)
    while chunk := list(itertools.islice(iterator, BATCH_ROWS)):
        yield chunk


def _table(groups: Sequence[Group]) -> pa.Table:
    return pa.Table.from_batches([batch_of(groups)])


def _through(groups: Iterable[Group], steps: Sequence[tuple[GroupRule, int, RuleCounts]]) -> Iterator[Group]:
    for group in groups:
        left = _after(group, steps)
        if left is not None:
            yield left


def _after(group: Group, steps: Sequence[tuple[GroupRule, int, RuleCounts]]) -> Group | None:
    for rule, seed, counts in steps:
        left = passed(group, rule, seed, counts)
        if left is None:
            return None
        group = left
    return group


def _selected(groups: GroupSet, found: Selection, folder: Path, number: int) -> GroupSet:
    chosen = groups.select(found.positions)
    if not found.pairs:
        return chosen
    return written(_with_pairs_of(chosen, found), folder / f"rules-{number}.arrow", groups)


def _with_pairs_of(chosen: GroupSet, found: Selection) -> Iterator[Group]:
    pairs: Mapping[int, np.ndarray] = found.pairs
    for position, group in zip(found.positions.tolist(), chosen, strict=True):
        kept = pairs.get(position)
        if kept is None:
            yield group
        else:
            yield relabelled(group, preferences=tuple(group.preferences[index] for index in kept))
