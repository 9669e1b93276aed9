"""Groups through a list of rules: one pass over the text for every run of rules that see single groups."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from plaudit.data.mixing.rules.config import GroupRule, RuleConfig, SetRule
from plaudit.data.mixing.rules.counts import RuleCounts, RuleReport
from plaudit.data.mixing.rules.group_rules import names_of, passed
from plaudit.data.mixing.rules.set_rules import Selection, selection
from plaudit.data.schema.columns import SCHEMA, batch_of, relabelled
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import BATCH_ROWS, GroupSet, features


def apply_rules(
    groups: GroupSet,
    rules: Sequence[RuleConfig],
    *,
    seed: int,
    folder: Path,
    named: Iterable[Group] | None = None,
) -> tuple[GroupSet, tuple[RuleReport, ...]]:
    """Return the groups that pass all ``rules``, as these leave them, and what each rule did.

    What is written anew lies in Arrow files in ``folder``. ``named`` are the same groups under the ids that they are to
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
