"""``plaudit score``: rewards for every group of a file, streaming, in order, sharded and resumable."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from plaudit.batching.lengths import RESPONSE_TOKENS_CUT, RESPONSES_CUT, TOKENS_CUT, TRUNCATED, Truncation
from plaudit.data.reading.convert import OnError
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.models.checkpoint.recipe import QuantizationChoice
from plaudit.records import Record, check_target, first_problem, write_json
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.function import FunctionScorer
from plaudit.scoring.load import load_scorer
from plaudit.scoring.local.chunks import IDENTICAL_RESPONSES
from plaudit.scoring.local.engine import WINDOW
from plaudit.scoring.local.pairwise import PairwiseScorer
from plaudit.scoring.remote.scorer import RemoteScorer
from plaudit.scoring.scorer import GroupRewards, Scorer
from plaudit.scoring.settings import with_lengths
from plaudit.statistics.aggregation import Aggregation
from plaudit.statistics.position_bias import PositionBias

Progress = Callable[[int, int], None]

_WITHOUT_LIMIT = FunctionScorer | EnsembleScorer | RemoteScorer
"""Scorers that have no budget of tokens of their own."""


@dataclass(slots=True)
class ScoreReport:
    """What was scored: ``groups`` = ``scored`` + the sum of ``left_out``; ``resumed`` were scored by an earlier run.

    ``position_bias`` is that of a model that compares responses, over the comparisons of this run. ``cut`` counts what
    was cut of over-long conversations, as this run scored them.
    """

    groups: int = 0
    scored: int = 0
    resumed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    dropped_rows: dict[str, int] = field(default_factory=dict)
    position_bias: PositionBias | None = None
    cut: Counter[str] = field(default_factory=Counter)


def score_file(
    model: str,
    input_path: str,
    output: Path,
    *,
    format: FormatChoice = "auto",
    attributes: Sequence[str] = (),
    split: str = "train",
    step_separator: str = "\n",
    max_tokens: int | None = None,
    aggregation: Aggregation | None = None,
    quantization: QuantizationChoice | None = None,
    max_length: int | None = None,
    truncation: Truncation | None = None,
    shard: tuple[int, int] = (0, 1),
    on_error: OnError = "raise",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ScoreReport:
    """Write one JSON line per group, ``{"id", "rewards", …}``, in the order of the input, and return the counts.

    A line also holds ``attributes``, ``steps`` and ``uncertainty`` where the scorer gives them, and ``reason`` where a
    reward is null; ``read_rewards`` reads the file back.

    While it runs the lines go to ``OUTPUT.partial``; a later call with the same model, input and shard goes on after
    the last whole window of it, so that the file is the same as of an uninterrupted run. ``shard=(i, n)`` scores part
    i, from 0, of n equal parts of the rows. ``format``, ``attributes``, ``split`` and ``step_separator`` say how rows
    become groups, as ``read_groups`` takes them; ``max_length`` and ``truncation`` replace those of the scoring recipe.

    Raises:
        ConfigError: when the output exists, or its partial file is of another model, input or shard.
        DataError, ModelError, CheckpointError: about the input and the model.
        OutputError: when the output cannot be written.
    """
    _check(input_path, output, shard, overwrite=overwrite)
    groups = read_groups(
        input_path,
        format=format,
        attributes=attributes,
        split=split,
        step_separator=step_separator,
        on_error=on_error,
    )
    part = _shard(groups, shard)
    loaded = load_scorer(model, max_tokens=max_tokens, aggregation=aggregation, quantization=quantization)
    scorer = with_lengths(loaded, max_length, truncation, name=model)
    identity = {
        "model": model,
        "recipe_hash": scorer.recipe_hash,
        "head_hash": scorer.head_hash,
        "input": part.fingerprint,
        "shard": list(shard),
        "max_tokens": max_tokens if isinstance(scorer, _WITHOUT_LIMIT) else scorer.max_tokens,
    }
    report = ScoreReport(dropped_rows=dict(groups.report.dropped))
    report.position_bias = scorer.position_bias if isinstance(scorer, PairwiseScorer) else None
    _write(part, scorer, output, identity, report, progress)
    if not isinstance(scorer, _WITHOUT_LIMIT):
        report.cut += _of_lengths(scorer.report.changed)
    return report


def _write(
    groups: GroupSet,
    scorer: Scorer,
    output: Path,
    identity: dict[str, Any],
    report: ScoreReport,
    progress: Progress | None,
) -> None:
    """Write the lines of all groups, first to the partial file, which is taken away again where nothing was scored."""
    try:
        partial = _open_partial(output, identity)
        try:
            _score(groups, scorer, partial, report, progress)
        except Exception:
            if partial.stat().st_size == 0:
                partial.unlink()
                _identity_path(output).unlink()
            raise
        os.replace(partial, output)
        _identity_path(output).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from error


def _of_lengths(changed: Counter[str]) -> Counter[str]:
    """Return what of ``changed`` was done to make conversations fit, by names that count responses."""
    names = {TRUNCATED: "responses with a shorter prompt", TOKENS_CUT: TOKENS_CUT, RESPONSES_CUT: RESPONSES_CUT}
    names |= {RESPONSE_TOKENS_CUT: RESPONSE_TOKENS_CUT, IDENTICAL_RESPONSES: IDENTICAL_RESPONSES}
    return Counter({names[name]: count for name, count in changed.items() if name in names})


def _check(input_path: str, output: Path, shard: tuple[int, int], *, overwrite: bool) -> None:
    check_target(output)
    if output.exists() and Path(input_path).exists() and output.samefile(input_path):
        raise ConfigError(f"{output} is the input; its groups would be lost: choose another file")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists; add --overwrite, or choose another file")
    if not 0 <= shard[0] < shard[1]:
        raise ConfigError(f"shard {shard[0]}/{shard[1]} does not exist; shards are numbered from 0")


def _shard(groups: GroupSet, shard: tuple[int, int]) -> GroupSet:
    number, count = shard
    if count == 1:
        return groups
    first, last = len(groups) * number // count, len(groups) * (number + 1) // count
    return groups.select(range(first, last))


def _open_partial(output: Path, identity: dict[str, Any]) -> Path:
    """Return the partial file, which belongs to ``identity`` and holds whole windows only."""
    partial, record = output.with_name(f"{output.name}.partial"), _identity_path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    if partial.exists():
        check_target(partial)
        if _read_identity(record) != identity:
            raise ConfigError(f"{partial} was written by another model, input or shard; remove it to start again")
    else:
        write_json(record, identity)
        partial.touch()
    return partial


def _read_identity(record: Path) -> object:
    """Return what the partial file was begun for, or None where that cannot be told."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _identity_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.partial.json")


def _score(
    groups: GroupSet,
    scorer: Scorer,
    partial: Path,
    report: ScoreReport,
    progress: Progress | None,
) -> None:
    done = _keep_whole_windows(partial, groups, report)
    if progress is not None:
        progress(report.groups, len(groups))
    with partial.open("ab") as file:
        for window in _windows(groups, done):
            scored = list(scorer.score_groups(window))
            for each in scored:
                _count(each.reason, report)
            file.write("".join(_line(each) for each in scored).encode())
            file.flush()
            os.fsync(file.fileno())
            if progress is not None:
                progress(report.groups, len(groups))


def _windows(groups: GroupSet, done: int) -> Iterator[list[Group]]:
    remaining = iter(groups.select(range(done, len(groups))) if done else groups)
    while window := list(itertools.islice(remaining, WINDOW)):
        yield window


def _keep_whole_windows(partial: Path, groups: GroupSet, report: ScoreReport) -> int:
    """Cut the partial file after its last whole window, count what it holds, and return the groups done.

    Raises:
        DataError: naming the line, when it is not of the group at its place; the file is then left as it is.
    """
    total, keep, size = len(groups), 0, 0
    with partial.open("rb") as file:
        for window in _windows(groups, 0):
            lines = list(itertools.islice(file, len(window)))
            if len(lines) < len(window) or not lines[-1].endswith(b"\n"):
                break
            for number, (line, group) in enumerate(zip(lines, window, strict=True), start=keep + 1):
                _count(_reason_of(line, group, f"{partial}:{number}"), report)
            size += sum(map(len, lines))
            keep += len(window)
        if keep == total and file.readline():
            raise DataError(f"{partial}:{keep + 1}: there are more lines than the {total} groups of the input")
    os.truncate(partial, size)
    report.resumed = keep
    return keep


def _reason_of(line: bytes, group: Group, place: str) -> str | None:
    """Return why the group of a line that was written earlier has no rewards, or None.

    Raises:
        DataError: when the line is not one of plaudit, or of another group.
    """
    try:
        found = _parsed(line)
    except DataError:
        raise DataError(f"{place}: not a line of rewards; remove the file to start again") from None
    if found.id != group.id or len(found.rewards) != len(group.responses):
        raise DataError(
            f"{place}: these are not the rewards of group {group.id!r} with {len(group.responses)} responses; "
            "remove the file to start again"
        )
    return found.reason


def read_rewards(path: str | Path) -> Iterator[GroupRewards]:
    """Yield the rewards of each group in a file that ``plaudit score`` wrote, in order, as they were written.

    Raises:
        DataError: naming the file, and the line that is not one of rewards.
    """
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield _parsed(line)
                except DataError as error:
                    raise DataError(f"{path}:{number}: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def _parsed(line: bytes) -> GroupRewards:
    """Return the rewards that ``_line`` wrote.

    Raises:
        DataError: when it did not write this line.
    """
    try:
        return _Line.model_validate_json(line, strict=True).as_group_rewards()
    except ValidationError as error:
        raise DataError(f"not a line of rewards: {first_problem(error)}") from None


class _Line(Record):
    """One line of a file of rewards."""

    id: str
    rewards: tuple[float | None, ...]
    attributes: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    steps: tuple[tuple[float, ...] | None, ...] | None = None
    uncertainty: tuple[float | None, ...] | None = None
    reason: str | None = None

    @model_validator(mode="after")
    def _one_entry_per_response(self) -> Self:
        columns = [*self.attributes.values(), self.steps, self.uncertainty]
        if any(column is not None and len(column) != len(self.rewards) for column in columns):
            raise ValueError(f"every list must have an entry for each of the {len(self.rewards)} rewards")
        return self

    def as_group_rewards(self) -> GroupRewards:
        return GroupRewards(self.id, self.rewards, self.attributes, self.steps, self.uncertainty, self.reason)


def _count(reason: str | None, report: ScoreReport) -> None:
    report.groups += 1
    if reason is None:
        report.scored += 1
    else:
        report.left_out[reason.split(":")[0]] += 1


def _line(scored: GroupRewards) -> str:
    record: dict[str, Any] = {"id": scored.id, "rewards": list(scored.rewards)}
    if scored.attributes:
        record["attributes"] = {name: list(values) for name, values in scored.attributes.items()}
    if scored.steps is not None:
        record["steps"] = [None if each is None else list(each) for each in scored.steps]
    if scored.uncertainty is not None:
        record["uncertainty"] = list(scored.uncertainty)
    if scored.reason is not None:
        record["reason"] = scored.reason
    return json.dumps(record, ensure_ascii=False) + "\n"
