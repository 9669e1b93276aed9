"""``plaudit data relabel``: a file of groups under the labels of a gold scorer, resumable."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from plaudit.data.reading.read import read_groups
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.evaluation.store.items import scored_groups
from plaudit.labeling.pseudo_label import record_path
from plaudit.labeling.relabel import (
    Labels,
    PairsOf,
    RelabelCounts,
    RelabelRule,
    RelabelTally,
    check_names,
    relabelled_group,
    rewards_for,
)
from plaudit.provenance import git_state, package_versions
from plaudit.records import Record, check_target, write_json, write_record
from plaudit.scoring.files import read_rewards
from plaudit.scoring.load import load_scorer
from plaudit.scoring.local.engine import WINDOW
from plaudit.scoring.scorer import Identified, Scorer
from plaudit.statistics.aggregation import Aggregation

Progress = Callable[[int, int], None]


class RelabelRecord(Record):
    """What a relabelled file was made of and what was found; it stands beside the file."""

    identity: dict[str, Any]
    """The gold scorer as it was named, its hashes and that of the data, the part, and what else fixes the rewards."""
    labels: Labels
    """Whether preferences are hard, or carry their probability."""
    temperature: float
    """What reward differences were divided by."""
    pairs: PairsOf
    """Which pairs were labelled."""
    attribute: str
    """Rating that the rewards are."""
    keep_original: bool
    """Whether the data's own labels were kept as ratings."""
    counts: RelabelCounts
    """What was found."""
    resumed: int
    """Groups that an earlier run had scored."""
    dropped_rows: dict[str, int] = Field(default_factory=dict)
    """For each reason, the rows of the input that could not be used."""
    created: str
    """UTC time, ISO 8601."""
    commit: str | None = None
    """Commit of the working directory, or null outside a repository."""
    dirty: bool | None = None
    """Whether the working directory had uncommitted changes."""
    versions: dict[str, str]
    """Package versions."""


def relabel_file(
    model: str,
    input_path: str,
    output: Path,
    *,
    rule: RelabelRule,
    format: FormatChoice = "auto",
    max_tokens: int | None = None,
    aggregation: Aggregation | None = None,
    shard: tuple[int, int] = (0, 1),
    on_error: str = "raise",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RelabelRecord:
    """Write every group of the input, in its order, under the labels of ``model``, and return the record beside it.

    While it runs the rewards go to ``OUTPUT.partial``, where ``read_rewards`` can read them. A later call with the same
    model, input and shard goes on after the last whole line of it; the file it writes is that of an uninterrupted run.
    Another rule may be given then; of it rewards depend only on whether a scorer of win rates makes soft labels.

    Raises:
        ConfigError: when the output exists or is the input, or its partial file is of another model, input or shard.
        DataError, ModelError, CheckpointError: about the input and the model.
        OutputError: when the output cannot be written, or does not end in .jsonl or .jsonl.gz.
    """
    _check(input_path, output, shard, overwrite=overwrite)
    groups = read_groups(input_path, format=format, on_error="skip" if on_error == "skip" else "raise")
    part = groups.select(range(len(groups) * shard[0] // shard[1], len(groups) * (shard[0] + 1) // shard[1]))
    for group in part:
        check_names(group, rule)
    named = load_scorer(model, max_tokens=max_tokens, aggregation=aggregation)
    scorer = rewards_for(named, rule.labels)
    identity = {
        "model": model,
        "recipe_hash": named.recipe_hash if isinstance(named, Identified) else None,
        "head_hash": named.head_hash if isinstance(named, Identified) else None,
        "data_fingerprint": part.fingerprint,
        "shard": list(shard),
        "aggregation": aggregation,
        "max_tokens": max_tokens,
        "in_log_odds": scorer is not named,
    }
    tally = RelabelTally()
    try:
        partial = _open_partial(output, identity)
        resumed = _keep_whole_lines(partial, part)
        _score_rest(part, scorer, partial, resumed, progress)
        record_path(output).unlink(missing_ok=True)
        write_groups(output, _joined(part, partial, rule, tally))
        record = _record(identity, rule, tally, resumed=resumed, dropped_rows=groups.report.dropped)
        write_record(record_path(output), record)
        partial.unlink()
        _identity_path(output).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error
    return record


def _record(
    identity: dict[str, Any],
    rule: RelabelRule,
    tally: RelabelTally,
    *,
    resumed: int,
    dropped_rows: Mapping[str, int],
) -> RelabelRecord:
    commit, dirty = git_state()
    return RelabelRecord(
        identity=identity,
        labels=rule.labels,
        temperature=rule.temperature,
        pairs=rule.pairs,
        attribute=rule.attribute,
        keep_original=rule.keep_original,
        counts=tally.counts(),
        resumed=resumed,
        dropped_rows=dict(dropped_rows),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        dirty=dirty,
        versions=package_versions(),
    )


def _check(input_path: str, output: Path, shard: tuple[int, int], *, overwrite: bool) -> None:
    """Refuse before the hours of scoring what would be refused after them."""
    if not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise OutputError(f"cannot write {output}: groups are written to .jsonl or .jsonl.gz")
    check_target(output)
    if output.exists() and Path(input_path).exists() and output.samefile(input_path):
        raise ConfigError(f"{output} is the input; its labels would be lost: choose another file")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists; add --overwrite, or choose another file")
    if not 0 <= shard[0] < shard[1]:
        raise ConfigError(f"shard {shard[0]}/{shard[1]} does not exist; shards are numbered from 0")


def _identity_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial.json")


def _open_partial(output: Path, identity: dict[str, Any]) -> Path:
    """Return the file of rewards so far, which belongs to ``identity``."""
    partial, record = output.with_name(f"{output.name}.partial"), _identity_path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    if not partial.exists():
        write_json(record, identity)
        partial.touch()
        return partial
    check_target(partial)
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        found = None
    if found != identity and partial.stat().st_size > 0:
        raise ConfigError(f"{partial} was written by another model, input or shard; remove it to start again")
    write_json(record, identity)
    return partial


def _keep_whole_lines(partial: Path, groups: GroupSet) -> int:
    """Cut what was written of a last line, and return how many groups have their rewards.

    Raises:
        DataError: naming the line, when it is not of the group at its place.
    """
    with partial.open("rb") as file:
        whole = sum(len(line) for line in file if line.endswith(b"\n"))
    os.truncate(partial, whole)
    done = sum(1 for _ in _with_rewards(groups, partial))
    return done


def _with_rewards(groups: GroupSet, partial: Path) -> Iterator[tuple[Group, tuple[float | None, ...], str | None]]:
    """Yield each group that has its rewards in ``partial``, with these and the reason where one is missing.

    Raises:
        DataError: naming the line, when it is not of the group at its place.
    """
    remaining = iter(groups)
    for number, found in enumerate(read_rewards(partial), start=1):
        group = next(remaining, None)
        if group is None or found.id != group.id or len(found.rewards) != len(group.responses):
            raise DataError(f"{partial}:{number}: not the rewards of the group at its place; remove it to start again")
        yield group, found.rewards, found.reason


def _score_rest(groups: GroupSet, scorer: Scorer, partial: Path, done: int, progress: Progress | None) -> None:
    """Append the rewards of the groups from position ``done`` on, a window at a time."""
    remaining = iter(groups.select(range(done, len(groups))) if done else groups)
    with partial.open("ab") as file:
        while window := list(itertools.islice(remaining, WINDOW)):
            lines = []
            for group, item in scored_groups(scorer, window):
                line: dict[str, Any] = {"id": group.id, "rewards": list(item.rewards)}
                lines.append(line if item.reason is None else line | {"reason": item.reason})
            file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
            done += len(window)
            if progress is not None:
                progress(done, len(groups))


def _joined(groups: GroupSet, partial: Path, rule: RelabelRule, tally: RelabelTally) -> Iterator[Group]:
    for group, rewards, reason in _with_rewards(groups, partial):
        yield relabelled_group(group, rewards, rule=rule, tally=tally, reason=reason)
