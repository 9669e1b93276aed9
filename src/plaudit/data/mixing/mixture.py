"""Building a mixture: parts are read, pass their rules, are drawn, ordered and split; kept under a fingerprint."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import yaml

from plaudit.config import load_config
from plaudit.data.mixing.config import MixtureConfig, MixturePart, TeacherPrompts
from plaudit.data.mixing.draw import HELD_OUT, TRAIN, DrawnSet, augmented_set, drawn, order_of, split
from plaudit.data.mixing.report import AugmentReport, MixtureReport, PartReport, RuleReport, SplitReport
from plaudit.data.mixing.rules import apply_rules, written_tables
from plaudit.data.reading.cache import cache_folder, code_hash, fill_folder, synchronised
from plaudit.data.reading.options import DataFile, expand
from plaudit.data.reading.read import load_files
from plaudit.data.schema.columns import with_identity
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet, concatenate, repeated_id
from plaudit.data.schema.hash_rng import seed_of
from plaudit.data.schema.report import ReadReport, merge_reports
from plaudit.errors import DataError

REPORT_FILE = "mixture.json"


@final
@dataclass(frozen=True, slots=True)
class Mixture:
    """The sets of a mixture, by name: ``train``, and those split off; with the report of the building."""

    sets: Mapping[str, GroupSet]
    report: MixtureReport
    was_cached: bool


_Files = tuple[GroupSet, ...]
"""The files of one part as read, or those of the test set of a teacher split."""


def build_mixture(config: MixtureConfig, *, cache_dir: Path | None = None) -> Mixture:
    """Return the mixture that ``config`` describes; one that was built before, from the same content, is read again.

    Raises:
        DataError: see ``read_groups``; also where no group is left, or none of a split's side.
        OutputError: where the cache cannot be written.
    """
    tests = config.split.test if isinstance(config.split, TeacherPrompts) else ()
    read = [_loaded(files, cache_dir) for files in (*(part.files for part in config.parts), tests)]
    fingerprint = mixture_fingerprint(config, [[file.fingerprint for file in files] for files in read])
    key = hashlib.blake2b(f"{fingerprint} {code_hash()}".encode(), digest_size=16).hexdigest()
    folder = cache_folder(cache_dir) / f"mixture-{key}"
    report = _cached(folder)
    was_cached = report is not None
    if report is None:
        fill_folder(
            folder,
            lambda temporary: _build(config, read, fingerprint, temporary),
            is_whole=lambda each: _cached(each) is not None,
        )
        report = _cached(folder)
    if report is None:
        raise DataError(f"{folder}: the mixture was built, but cannot be read again")
    # Names and expected counts do not change the groups, and may differ from the config of the cached building.
    expected = {part.name: part.expected for part in config.parts}
    renamed = [part.model_copy(update={"expected": expected[part.name]}) for part in report.parts]
    report = report.model_copy(update={"name": config.name, "parts": tuple(renamed)})
    sets = {
        each.name: GroupSet.from_arrow_file(folder / f"{each.name}.arrow", read_report(report, each.name))
        for each in report.splits
    }
    return Mixture(sets, report, was_cached)


def _loaded(files: Sequence[DataFile], cache_dir: Path | None) -> _Files:
    return tuple(load_files([file], cache_dir) for file in files)


def mixture_config(mixture: MixtureConfig | str) -> MixtureConfig:
    """Return the config of a mixture that is given as one, or as the path of its YAML file."""
    return mixture if isinstance(mixture, MixtureConfig) else load_config(MixtureConfig, Path(expand(mixture)))


def is_mixture(path: Path) -> bool:
    """Return whether a YAML file is meant as a mixture: it has parts, or neither a model nor data to train on."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return False
    return isinstance(found, dict) and ("parts" in found or not found.keys() & {"model", "data"})


def mixture_fingerprint(config: MixtureConfig, content: Sequence[Sequence[str]]) -> str:
    """Return a hash over the content of every file, the rules, the draw, the order, the split and the seed.

    ``content[part][file]`` is the fingerprint of a file as read; the files of a test set come after the last part.
    The paths of files, the name of the mixture and the expected counts do not matter.
    """
    said = config.model_dump(mode="json", exclude={"name": True, "parts": {"__all__": {"files", "expected"}}})
    if config.split is not None:
        said["split"].pop("test", None)
    text = json.dumps([said, [list(each) for each in content]], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _cached(folder: Path) -> MixtureReport | None:
    """Return the report of the mixture in ``folder``, or None where there is no whole one."""
    try:
        report = MixtureReport.model_validate_json((folder / REPORT_FILE).read_text(encoding="utf-8"))
        is_whole = all((folder / f"{each.name}.arrow").stat().st_size == each.size for each in report.splits)
    except (OSError, ValueError):
        return None
    return report if is_whole else None


def _build(config: MixtureConfig, read: Sequence[_Files], fingerprint: str, folder: Path) -> None:
    """Write the mixture of the files of each part, and last those of the test, with its report into ``folder``."""
    work = folder / "work"
    *parts, test_files = read
    made = [
        _part(part, files, config.seed, work / f"part-{number}")
        for number, (part, files) in enumerate(zip(config.parts, parts, strict=True))
    ]
    whole, rules = apply_rules(
        concatenate([groups for groups, _ in made]),
        config.rules,
        seed=seed_of(config.seed, "rules of all parts"),
        folder=work / "whole",
    )
    if len(whole) == 0:
        raise DataError(f"mixture {config.name}: no group passed the rules of all parts; {_losses((), rules)}")
    positions, copies, draws = drawn(config, whole)
    test = concatenate(test_files) if test_files else None
    found = split(config, whole.select(positions), copies, test, work)
    sets = dict(found.by_name)
    augmented: tuple[AugmentReport, ...] = ()
    if config.augment:
        sets[TRAIN], augmented = augmented_set(config, sets[TRAIN], work / "augmented")
    splits = [_finished(config, name, part, folder / f"{name}.arrow") for name, part in sets.items()]
    report = MixtureReport(
        name=config.name,
        fingerprint=fingerprint,
        seed=config.seed,
        parts=tuple(report for _, report in made),
        rules=rules,
        draws=draws,
        augmented=augmented,
        test=tuple(each.report for each in test_files),
        left_out={reason: count for reason, count in found.left_out.items() if count},
        splits=tuple(splits),
    )
    shutil.rmtree(work)
    (folder / REPORT_FILE).write_text(report.model_dump_json(indent=1), encoding="utf-8")


def _part(config: MixturePart, files: _Files, seed: int, work: Path) -> tuple[GroupSet, PartReport]:
    """Return the groups of one part after its rules, under ids that begin with its name, and the counts."""
    groups, rules = apply_rules(
        concatenate(files),
        config.rules,
        seed=seed_of(seed, "rules of one part"),
        folder=work,
        named=_named(config.name, files),
    )
    if len(groups) == 0:
        reads = [file.report for file in files]
        raise DataError(f"part {config.name}: no group passed its rules; {_losses(reads, rules)}")
    return groups, PartReport(
        name=config.name,
        reads=tuple(each.report for each in files),
        rules=rules,
        expected=config.expected,
        groups=len(groups),
        pairs=int(groups.num_preferences().sum()),
    )


def _named(name: str, files: _Files) -> Iterator[Group]:
    """Yield the groups of a part under ids that begin with its name, and the file's number where two share an id."""
    is_numbered = repeated_id(files) is not None
    for number, file in enumerate(files, start=1):
        prefix = f"{name}/{number}/" if is_numbered else f"{name}/"
        for group in file:
            yield with_identity(group, prefix + group.id, group.source)


def _finished(config: MixtureConfig, name: str, part: DrawnSet, path: Path) -> SplitReport:
    """Write one set in its order, and return its counts."""
    ordered = part.at(order_of(config, part))
    final = written_tables(ordered.tables(), path, part.groups)
    twice = repeated_id([final])
    if twice is not None:
        raise DataError(f"mixture {config.name}: two groups of {name} have the id {twice!r}; ids must be unique")
    return SplitReport(
        name=name,
        groups=len(final),
        pairs=int(final.num_preferences().sum()),
        prompts=len(np.unique(final.prompt_hashes())),
        fingerprint=final.fingerprint,
        size=synchronised(path),
    )


def _losses(reads: Sequence[ReadReport], rules: Sequence[RuleReport]) -> str:
    """Return where all rows and groups went, for an error."""
    rows = Counter({reason: count for read in reads for reason, count in read.dropped.items()})
    lost = Counter(
        {f"{rule.rule}: {reason}": count for rule in rules for reason, count in rule.groups_left_out.items() if count}
    )
    said = [f"{count} rows: {reason}" for reason, count in rows.most_common(5)]
    said += [f"{count} groups: {reason}" for reason, count in lost.most_common(5)]
    for rule in rules:
        if rule.not_found:
            said.append(f"no group has {', '.join(rule.not_found)}, but: {', '.join(rule.found) or 'none'}")
    return "; ".join(said) or "none was read"


def read_report(report: MixtureReport, name: str) -> ReadReport:
    """Return the building of one set as a report of reading: rows, its groups, and why the other rows are not in it.

    The rows, and the groups that were added by repetition or augmentation, are its groups and those left out; see
    ``ReadReport``. A test set that was given has read nothing but its own files.
    """
    sizes = {each.name: each.groups for each in report.splits}
    said = {"path": report.name, "mixture": report.fingerprint, "groups": sizes[name]}
    if name == HELD_OUT and report.test:
        return merge_reports(report.test).model_copy(update=said)
    reads = merge_reports([read for part in report.parts for read in part.reads])
    dropped = Counter(reads.dropped)
    for where, rules in [*((part.name, part.rules) for part in report.parts), ("all parts", report.rules)]:
        for rule in rules:
            for reason, count in rule.groups_left_out.items():
                dropped[f"{where}: {reason}"] += count
    dropped["not drawn"] += sum(max(each.available - each.drawn, 0) for each in report.draws)
    dropped.update(report.left_out)
    for other, size in sizes.items():
        if other != name and not (other == HELD_OUT and report.test):
            added = sum(rule.groups_added for rule in report.augmented) if other == TRAIN else 0
            dropped[f"in {other}"] += size - added
    return reads.model_copy(update=said | {"dropped": {reason: count for reason, count in dropped.items() if count}})
