"""What stands in a folder of results, so that none is replaced, or gone on with, by another model unseen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, JsonValue

from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.evaluation.store.partial import PartialHeader
from plaudit.records import ItemScore, Record, Result, first_problem, read_items

ITEMS_NAME = "items.jsonl"
RESULT_NAME = "result.json"
SCORING_NAME = "scoring.json"

Replace = Literal["finished", "nothing", "all"]
"""What of an earlier run in its folder an evaluation may replace. ``finished``: its result, but nothing unfinished of
another evaluation. ``nothing``: a result only by one of the same rewards, which are then taken as they are. ``all``:
whatever is there."""

AnyRecord = TypeVar("AnyRecord", bound=Record)


class GroupCut(Record):
    """What was cut of one group."""

    place: int
    """Place of the group in the data, from 0."""
    id: str
    """Id of the group."""
    tokens: tuple[int, ...]
    """Tokens that each response was scored without."""
    identical: int
    """Responses that the cut made identical to another one."""


class Truncated(Record):
    """How much was cut of responses that were longer than the model takes, by the truncation of its recipe."""

    groups: int
    """Groups with such a response."""
    responses: int
    """Responses that lost tokens, of their prompt or of their end."""
    tokens: int
    """Tokens that they lost."""
    identical: int
    """Responses that the cut made identical to another one of their group."""

    @classmethod
    def of(cls, cuts: Sequence[GroupCut]) -> Truncated:
        """Return the sums over ``cuts``."""
        tokens = [lost for cut in cuts for lost in cut.tokens if lost]
        return cls(
            groups=len(cuts), responses=len(tokens), tokens=sum(tokens), identical=sum(cut.identical for cut in cuts)
        )

    def as_details(self) -> dict[str, int]:
        """Return the counts as a result states them; none where nothing was cut."""
        if not self.groups:
            return {}
        return {
            "truncated_groups": self.groups,
            "truncated_responses": self.responses,
            "truncated_tokens": self.tokens,
            "identical_after_truncation": self.identical,
        }


class ScoringRecord(Record):
    """What ``scoring.json`` holds: how the rewards of a result were made."""

    evaluation: PartialHeader
    """What was evaluated: the model and the data, by names and hashes."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """The scoring recipe in full, of several models each one's; empty of what has none, as a Python function."""
    truncated: Truncated
    """How much was cut."""
    cuts: tuple[GroupCut, ...] = ()
    """What was cut of each group."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A finished result and, unless it is older than such files, how its rewards were made."""

    folder: Path
    result: Result
    scoring: ScoringRecord | None

    def is_of(self, header: PartialHeader) -> bool:
        """Return whether its rewards are those of the evaluation that ``header`` names."""
        return self.scoring is not None and self.scoring.evaluation == without_answers(header)

    def items(self, refused: int) -> list[ItemScore]:
        """Return its items but for the last ``refused``, the rows that could not be scored.

        Raises:
            DataError: when they cannot be read.
        """
        found = read_items(self.folder / ITEMS_NAME)
        return found[: len(found) - refused]

    def check_model(self, model: str) -> None:
        """Raise ConfigError, naming what is here, when it is of another model than ``model``."""
        if self.result.model != model:
            raise self._error(f"and this is {model!r}")

    def check(self, header: PartialHeader, settings: Mapping[str, JsonValue]) -> None:
        """Raise ConfigError, naming what is here, when it is not of the evaluation that ``header`` names."""
        self.check_model(header.model)
        known = self.result if self.scoring is None else self.scoring.evaluation
        if known.name != header.name or known.data_fingerprint != header.data_fingerprint:
            raise self._error("on other data")
        if known.recipe_hash != header.recipe_hash:
            raise self._error(self._other_settings(settings))
        if self.scoring is not None and self.scoring.evaluation.weights_hash != header.weights_hash:
            raise self._error("with other weights")

    def _other_settings(self, settings: Mapping[str, JsonValue]) -> str:
        there = {} if self.scoring is None else dict(_flat(self.scoring.settings))
        here = dict(_flat(settings))
        if not there or not here:
            return "with another scoring recipe"
        differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
        listed = [f"{name} {_short(there.get(name))} there and {_short(here.get(name))} here" for name in differing]
        return f"with other settings ({', '.join(listed)})"

    def _error(self, difference: str) -> ConfigError:
        date = self.result.created[:16].replace("T", " ") or "an unknown date"
        return ConfigError(
            f"{self.folder} holds the result of model {self.result.model!r} of {date}, {difference}; give another "
            "folder with -o, or --overwrite to replace it"
        )


def standing_in(folder: Path) -> Standing | None:
    """Return the finished result in ``folder``, or None where there is none.

    Raises:
        DataError: when its ``result.json`` or ``scoring.json`` is no record of plaudit.
    """
    result = _read(folder / RESULT_NAME, Result)
    if result is None:
        return None
    scoring = _read(folder / SCORING_NAME, ScoringRecord)
    if scoring is not None and not _belongs(scoring.evaluation, result):
        scoring = None
    return Standing(folder, result, scoring)


def without_answers(header: PartialHeader) -> PartialHeader:
    """Return what ``scoring.json`` says of an evaluation: all but how answers were found, which changes no reward."""
    return header.model_copy(update={"answer_pattern": PartialHeader.model_fields["answer_pattern"].default})


def drop_unfinished(partial: Path, header: PartialHeader, *, with_items: bool, recorded: bool = False) -> None:
    """Remove an unfinished evaluation of something else than ``header`` names; one ``with_items`` only where told to.

    One that stopped before its first item keeps nothing, so nothing is lost with it; nor is anything with that of
    ``recorded`` rewards of the same name, which are on file, and may have been mended since.

    Raises:
        OutputError: when it cannot be removed.
    """
    try:
        if not partial.exists():
            return
        with partial.open("rb") as file:
            first, second = file.readline(), file.readline()
        found = _header(first, type(header))
        mended = recorded and found is not None and found.model == header.model
        empty = found is not None and not second.endswith(b"\n")
        if found != header and (with_items or mended or empty):
            partial.unlink()
    except OSError as error:
        raise OutputError(f"cannot write {partial}: {error.strerror or error}") from error


def keep_whole_windows(partial: Path, header: PartialHeader, window: int, *, total: int | None) -> None:
    """Cut unfinished items of ``header`` after the last whole window of ``window`` items; all ``total`` of them stay.

    Those of another evaluation are left as they are.

    Raises:
        OutputError: when the file cannot be cut.
    """
    try:
        if window == 1 or not partial.exists():
            return
        lines = partial.read_bytes().split(b"\n")[:-1]
        items = max(0, len(lines) - 1)
        if items and _header(lines[0], type(header)) != header:
            return
        if items != total and items % window:
            os.truncate(partial, sum(len(line) + 1 for line in lines[: 1 + items - items % window]))
    except OSError as error:
        raise OutputError(f"cannot write {partial}: {error.strerror or error}") from error


def _header(line: bytes, kind: type[PartialHeader]) -> PartialHeader | None:
    try:
        return kind.model_validate_json(line)
    except ValueError:
        return None


def _belongs(header: PartialHeader, result: Result) -> bool:
    names = ("name", "model", "recipe_hash", "data_fingerprint")
    return all(getattr(header, name) == getattr(result, name) for name in names)


def _read(path: Path, kind: type[AnyRecord]) -> AnyRecord | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is no record of plaudit: {first_problem(error)}; remove it, or give -o") from None


def _flat(settings: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, JsonValue]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _short(value: JsonValue) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
