"""Rules of augmentation applied to groups, one after the other, every one of them counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import assert_never

from plaudit.data.mixing.config import Augmentation, Counterfactual, Restyle, Shuffle, Truncation
from plaudit.data.mixing.counterfactual import with_counterfactuals
from plaudit.data.mixing.edits import with_restyled, with_shuffled_responses, with_truncated
from plaudit.data.mixing.report import AugmentReport, AugmentTally
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError
from plaudit.provenance import stamp
from plaudit.records import Record, write_record


class AugmentRecord(Record):
    """Origin and counts of a file of augmented groups; it stands beside the file."""

    data_fingerprint: str
    """Hash of the groups that were given."""
    seed: int
    """The seed everything was drawn from."""
    groups_in: int
    """Groups given."""
    groups_out: int
    """Groups written."""
    rules: tuple[AugmentReport, ...]
    """The rules in their order, with their counts."""
    versions: dict[str, str]
    """Package versions."""
    created: str
    """UTC time, ISO 8601."""


def augmented(
    groups: GroupSet | Iterable[Group], rule: Augmentation, *, seed: int, tally: AugmentTally
) -> Iterator[Group]:
    """Yield ``groups`` as augmented by ``rule``, streaming; ``tally`` is complete once all were taken.

    The same groups, rule and seed give the same output. The counterfactual rule reads at random: groups that are not a
    ``GroupSet`` are collected in memory for it, as Arrow.
    """
    match rule:
        case Counterfactual():
            collected = groups if isinstance(groups, GroupSet) else GroupSet.from_groups(groups)
            return with_counterfactuals(collected, rule, seed=seed, tally=tally)
        case Shuffle():
            return with_shuffled_responses(groups, seed=seed, tally=tally)
        case Restyle():
            return with_restyled(groups, rule, tally=tally)
        case Truncation():
            return with_truncated(groups, rule, seed=seed, tally=tally)
        case _:
            assert_never(rule)


def write_augmented(path: str | Path, groups: GroupSet, rules: Sequence[Augmentation], *, seed: int) -> AugmentRecord:
    """Write ``groups`` as augmented by the rules, one after the other, and return the record.

    The record stands beside the file, ``a.record.json`` beside ``a.jsonl``, and is written last.

    Raises:
        ConfigError: where there is no rule, or one kind comes twice: its groups would have the same ids again.
        OutputError: when a file cannot be written.
    """
    kinds = [rule.type for rule in rules]
    if not kinds or len(set(kinds)) < len(kinds):
        raise ConfigError(f"rules are {', '.join(kinds) or 'none'}; there must be one at least, and each kind once")
    target = Path(path)
    record_file = target.with_name(f"{target.name.removesuffix('.gz').removesuffix('.jsonl')}.record.json")
    record_file.unlink(missing_ok=True)
    tallies = [AugmentTally() for _ in rules]
    stream: GroupSet | Iterable[Group] = groups
    for rule, tally in zip(rules, tallies, strict=True):
        stream = augmented(stream, rule, seed=seed, tally=tally)
    written = write_groups(target, stream)
    record = AugmentRecord(
        data_fingerprint=groups.fingerprint,
        seed=seed,
        groups_in=len(groups),
        groups_out=written,
        rules=tuple(tally.report(rule) for rule, tally in zip(rules, tallies, strict=True)),
        **stamp(),
    )
    write_record(record_file, record)
    return record
