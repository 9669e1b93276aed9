"""Files of rewards, one JSON line per group, in order: written by ``score_file``, resumable, and read back."""

from __future__ import annotations

import json
import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from plaudit.data.reading.sources.fields import Row, found, is_list, mapping, required, text
from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError, ModelError
from plaudit.jobs import Progress, fill, merge, shard_of
from plaudit.journal import Header, check_new, locked
from plaudit.scoring.scorer import GroupRewards, Scorer, info_of
from plaudit.statistics.position_bias import PositionBias

_FIELDS = ("id", "rewards", "attributes", "steps", "uncertainty", "reason", "version")


@dataclass(slots=True)
class ScoreReport:
    """Counts of a scored file: ``groups`` = ``scored`` + the sum of ``left_out``; an earlier run scored ``resumed``.

    ``position_bias`` is over the comparisons of this run, None where there were none. ``truncated`` counts the
    truncation of over-long conversations in this run.
    """

    groups: int = 0
    scored: int = 0
    resumed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    dropped_rows: dict[str, int] = field(default_factory=dict)
    position_bias: PositionBias | None = None
    truncated: Counter[str] = field(default_factory=Counter)

    def count(self, rewards: GroupRewards) -> None:
        """Count one group."""
        self.groups += 1
        if rewards.reason is None:
            self.scored += 1
        else:
            self.left_out[rewards.reason.split(":")[0]] += 1
        if rewards.comparisons:
            self.position_bias = self.position_bias or PositionBias()
            self.position_bias.add(rewards.comparisons)
        if rewards.truncation is not None:
            tokens = [lost for lost in rewards.truncation.tokens if lost]
            self.truncated["responses"] += len(tokens)
            self.truncated["tokens"] += sum(tokens)
            self.truncated["responses identical to another then"] += rewards.truncation.identical


class ScoringWorker:
    """Maps groups to lines of rewards, for ``plaudit.jobs``."""

    def __init__(
        self,
        scorer: Scorer,
        groups: GroupSet,
        *,
        model: str,
        in_log_odds: bool = False,
        options: dict[str, JsonValue] | None = None,
    ) -> None:
        """Score ``groups`` with ``scorer``, which was named ``model``.

        ``in_log_odds`` writes the strengths of a scorer that gives them beside win rates; ``options`` are further
        fields of the identity of the work.
        """
        info = info_of(scorer)
        self._scorer = scorer
        self._groups = groups
        self._in_log_odds = in_log_odds
        identity: dict[str, JsonValue] = {
            "model": model,
            "recipe_hash": info.recipe_hash,
            "weights_hash": info.weights_hash,
            "max_tokens": info.max_tokens,
            **(options or {}),
        }
        self.header = Header(
            journal="rewards", identity=identity, settings=dict(info.settings), data=groups.fingerprint
        )
        self.window = info.window
        self.report = ScoreReport(dropped_rows=dict(groups.report.dropped))

    @property
    def total(self) -> int:
        """Number of groups."""
        return len(self._groups)

    def rows(self, first: int, last: int) -> GroupSet:
        """Return the groups from ``first`` to before ``last``."""
        return self._groups if (first, last) == (0, self.total) else self._groups.select(range(first, last))

    def lines(self, rows: Iterable[Group]) -> Iterator[str]:
        """Yield the line of each group."""
        waiting = deque[Group]()

        def feed() -> Iterator[Group]:
            for group in rows:
                waiting.append(group)
                yield group

        for each in self._scorer.score_groups(feed()):
            group = waiting.popleft() if waiting else None
            if group is None or each.id != group.id or len(each.rewards) != len(group.responses):
                raise ModelError(
                    f"the scorer gave {len(each.rewards)} rewards of group {each.id!r} where "
                    + ("no group was left" if group is None else f"{len(group.responses)} of {group.id!r} were due")
                )
            rewards = each.in_log_odds() if self._in_log_odds else each
            self.report.count(rewards)
            yield rewards_line(rewards)
        if waiting:
            raise ModelError(f"the scorer gave no rewards of group {waiting[0].id!r}")

    def resumed(self, row: Group, line: bytes, place: str) -> None:
        """Count the line of a group that an earlier run scored.

        Raises:
            DataError: naming ``place``, when it is not one of rewards, or of another group.
        """
        try:
            rewards = parse_rewards(line)
        except DataError as error:
            raise DataError(f"{place}: {error}; remove the file to start again") from None
        check_rewards_of(row, rewards, place)
        self.report.count(rewards)

    def summary(self) -> dict[str, Any]:
        """Return the report as JSON; of the position bias the sums of its groups."""
        report = self.report
        return {
            "groups": report.groups,
            "scored": report.scored,
            "left_out": dict(report.left_out),
            "truncated": dict(report.truncated),
            "dropped_rows": report.dropped_rows,
            "position_bias": None if report.position_bias is None else report.position_bias.sums,
        }


def score_file(
    scorer: Scorer,
    groups: GroupSet,
    output: Path,
    *,
    model: str,
    shard: tuple[int, int] = (0, 1),
    options: dict[str, JsonValue] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    replaces: bool = True,
) -> ScoreReport:
    """Write one JSON line per group, ``{"id", "rewards", …}``, in the order of the input, and return the counts.

    A line also holds ``attributes``, ``steps`` and ``uncertainty`` where the scorer gives them, and ``reason`` where a
    reward is null; ``read_rewards`` reads the file back. ``model`` is the scorer as it was named, ``options`` further
    fields of the identity of the work.

    While it runs the lines go to ``OUTPUT.partial``; a later call with the same scorer, groups and shard goes on after
    the last whole window of it, so that the file is the same as of an uninterrupted run. ``shard=(i, n)`` scores part
    i, from 0, of n parts of whole windows of groups. ``overwrite`` lets an unfinished file of other work go. Without
    ``replaces`` a finished file that is there under the lock is refused, as another process may have written it.

    Raises:
        ConfigError: when the unfinished file is of another model, input or shard; for a shard that does not exist;
            without ``replaces``, when the output is there.
        DataError, ModelError: about a line on file and the scorer.
        OutputError: when the output cannot be written, or another process is writing it.
    """
    worker = ScoringWorker(scorer, groups, model=model, options=options)
    part = shard_of(worker, *shard)
    # Shards keep their unfinished lines apart, but write one output: two at a time would replace each other's.
    with locked(output), part.journal(output, worker.header, worker.window) as journal:
        check_new(output, overwrite=replaces)
        worker.report.resumed = fill(journal, worker, part, progress, overwrite=overwrite)
        merge([(part, journal)], output)
    return worker.report


def check_rewards_of(group: Group, rewards: GroupRewards, place: str) -> None:
    """Raise DataError, naming ``place``, unless ``rewards`` may be those of ``group``."""
    if rewards.id != group.id or len(rewards.rewards) != len(group.responses):
        raise DataError(
            f"{place}: these are not the rewards of group {group.id!r} with {len(group.responses)} responses; "
            "remove the file to start again"
        )


# ------------------------------------------------------------------------------------------------ lines of rewards


def rewards_line(rewards: GroupRewards) -> str:
    """Return the JSON line of one group."""
    record: dict[str, Any] = {"id": rewards.id, "rewards": list(rewards.rewards)}
    if rewards.attributes:
        record["attributes"] = {name: list(values) for name, values in rewards.attributes.items()}
    if rewards.steps is not None:
        record["steps"] = [None if each is None else list(each) for each in rewards.steps]
    if rewards.uncertainty is not None:
        record["uncertainty"] = list(rewards.uncertainty)
    if rewards.reason is not None:
        record["reason"] = rewards.reason
    return json.dumps(record, ensure_ascii=False)


def read_rewards(path: str | Path) -> Iterator[GroupRewards]:
    """Yield the rewards of each group in a file that ``plaudit score`` wrote, or is writing, in order.

    Raises:
        DataError: naming the file, and the line that is not one of rewards.
    """
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 and line.startswith(b'{"journal":'):
                    continue
                try:
                    yield parse_rewards(line)
                except DataError as error:
                    raise DataError(f"{path}:{number}: {error}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def parse_rewards(line: bytes) -> GroupRewards:
    """Return the rewards in a JSON line.

    Raises:
        DataError: when it is not one of rewards.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise DataError("not a line of rewards: it is no JSON") from None
    if not isinstance(row, dict):
        raise DataError(f"not a line of rewards: it is {found(row)}")
    try:
        return rewards_of_row(row)
    except DataError as error:
        raise DataError(f"not a line of rewards: {error}") from None


def is_rewards_row(row: Row) -> bool:
    """Return whether ``row`` is one of a file of rewards, rather than of published results in another layout."""
    return "id" in row and "rewards" in row


def rewards_of_row(row: Row) -> GroupRewards:
    """Return the rewards that a row holds; NaN and infinities stay as they are.

    Raises:
        DataError: naming the field, when the row is of another form.
    """
    id, values = text(required(row, "id"), "id"), _numbers(required(row, "rewards"), "rewards")
    unknown = [name for name in row if name not in _FIELDS]
    if unknown:
        raise DataError(f"{unknown[0]} is not a field of a row of rewards; allowed: {', '.join(_FIELDS)}")
    if row.get("version", 1) != 1:
        raise DataError(f"version is {found(row['version'])}; this plaudit reads version 1")
    attributes = mapping(row.get("attributes") or {}, "attributes")
    steps, uncertainty, reason = row.get("steps"), row.get("uncertainty"), row.get("reason")
    rewards = GroupRewards(
        id=id,
        rewards=values,
        attributes={name: _numbers(each, f"attributes[{name!r}]") for name, each in attributes.items()},
        steps=None if steps is None else _steps(steps),
        uncertainty=None if uncertainty is None else _numbers(uncertainty, "uncertainty"),
        reason=None if reason is None else text(reason, "reason"),
    )
    columns = {f"attributes[{name!r}]": each for name, each in rewards.attributes.items()}
    columns |= {"steps": rewards.steps, "uncertainty": rewards.uncertainty}
    for name, column in columns.items():
        if column is not None and len(column) != len(values):
            raise DataError(f"{name} has {len(column)} entries for {len(values)} rewards")
    return rewards


def _numbers(value: object, name: str) -> tuple[float | None, ...]:
    if not is_list(value):
        raise DataError(f"{name} is {found(value)}; it must be a list of numbers")
    return tuple(_number(each, f"{name}[{index}]") for index, each in enumerate(value))


def _number(value: object, name: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{name} is {found(value)}; it must be a number or null")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _steps(value: object) -> tuple[tuple[float, ...] | None, ...]:
    if not is_list(value):
        raise DataError(f"steps is {found(value)}; it must be a list, with a list of numbers or null per response")
    return tuple(
        None
        if each is None
        else tuple(math.nan if step is None else step for step in _numbers(each, f"steps[{index}]"))
        for index, each in enumerate(value)
    )
