"""The folder of an evaluation: its finished result, checked before it is replaced, and the files of a new one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import AliasChoices, Field, JsonValue

from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.metrics.answers import LAST_NUMBER
from plaudit.evaluation.store.confident_errors import ConfidentErrors
from plaudit.evaluation.store.items import check_same
from plaudit.journal import Header, Journal, differing, in_words
from plaudit.records import ItemScore, Record, Result, first_problem, read_items, write_json_lines, write_record
from plaudit.scoring.scorer import ResponseTruncation

ITEMS_NAME = "items.jsonl"
RESULT_NAME = "result.json"
SCORING_NAME = "scoring.json"
CONFIDENT_ERRORS_NAME = "confident_errors.json"
PARTIAL_NAME = "items.partial.jsonl"
OLD_CONFIDENT_ERRORS_NAME = "surprising.json"
"""Name of ``confident_errors.json`` in results of plaudit 0.1."""
_OLD_NAMES = (OLD_CONFIDENT_ERRORS_NAME, "cuts.partial.jsonl")

Replace = Literal["finished", "nothing", "all"]
"""Earlier work that an evaluation may replace in its folder. ``finished``: its result, but nothing unfinished of
another evaluation. ``nothing``: a result only by one of the same rewards, which are then taken as they are. ``all``:
whatever is there."""

AnyRecord = TypeVar("AnyRecord", bound=Record)


class EvaluationIdentity(Record):
    """Names and hashes of the model and the data of an evaluation."""

    name: str
    """Benchmark or file."""
    model: str
    """The model as it was named."""
    recipe_hash: str | None = None
    """Hash of the model's scoring recipe."""
    weights_hash: str | None = None
    """Hash of weights of the model: tells models of one recipe apart."""
    data_fingerprint: str | None = None
    """Hash of the evaluated data."""
    answer_pattern: str = LAST_NUMBER
    """Pattern of the final answer in a response."""

    def of_rewards(self) -> EvaluationIdentity:
        """Return the identity of the rewards alone: how answers are found changes none of them."""
        return self.model_copy(update={"answer_pattern": LAST_NUMBER})

    def header(self, settings: Mapping[str, JsonValue]) -> Header:
        """Return the header of the unfinished items of this evaluation."""
        identity = self.model_dump(mode="json", exclude={"version", "data_fingerprint"})
        return Header(journal="evaluation", identity=identity, settings=dict(settings), data=self.data_fingerprint)


class GroupTruncation(Record):
    """Tokens that the responses of one group were scored without."""

    place: int
    """Place of the group in the data, from 0."""
    id: str
    """Id of the group."""
    tokens: tuple[int, ...]
    """Tokens that each response was scored without."""
    identical: int
    """Responses that the truncation made identical to another one."""

    @classmethod
    def of(cls, place: int, group: Group, truncation: ResponseTruncation | None) -> Self | None:
        """Return the truncation of the group at ``place``; None where nothing was truncated."""
        if truncation is None:
            return None
        return cls(place=place, id=group.id, tokens=truncation.tokens, identical=truncation.identical)


class Truncated(Record):
    """Counts of responses that were longer than the model takes, and were truncated as its recipe says."""

    groups: int
    """Groups with such a response."""
    responses: int
    """Responses that lost tokens, of their prompt or of their end."""
    tokens: int
    """Tokens that they lost."""
    identical: int
    """Responses that the truncation made identical to another one of their group."""

    @classmethod
    def of(cls, truncations: Sequence[GroupTruncation]) -> Truncated:
        """Return the sums over ``truncations``."""
        tokens = [lost for each in truncations for lost in each.tokens if lost]
        identical = sum(each.identical for each in truncations)
        return cls(groups=len(truncations), responses=len(tokens), tokens=sum(tokens), identical=identical)

    def as_details(self) -> dict[str, int]:
        """Return the counts as a result states them; none where nothing was truncated."""
        if not self.groups:
            return {}
        return {
            "truncated_groups": self.groups,
            "truncated_responses": self.responses,
            "truncated_tokens": self.tokens,
            "identical_after_truncation": self.identical,
        }


class ScoringRecord(Record):
    """Content of ``scoring.json``: how the rewards of a result were made."""

    evaluation: EvaluationIdentity
    """The model and the data, by names and hashes."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """The scoring recipe in full, of several models each one's; empty of a Python function or a server."""
    truncated: Truncated
    """Counts of truncated responses."""
    truncations: tuple[GroupTruncation, ...] = Field(default=(), validation_alias=AliasChoices("truncations", "cuts"))
    """Truncation of each group that lost tokens; named ``cuts`` in plaudit 0.1."""

    @classmethod
    def made(
        cls,
        evaluation: EvaluationIdentity,
        settings: Mapping[str, JsonValue],
        truncations: Sequence[GroupTruncation],
    ) -> ScoringRecord:
        """Return the record of one evaluation."""
        return cls(
            evaluation=evaluation.of_rewards(),
            settings=dict(settings),
            truncated=Truncated.of(truncations),
            truncations=tuple(truncations),
        )


class ScoredItem(Record):
    """A line of unfinished items."""

    item: ItemScore
    """The item."""
    truncation: GroupTruncation | None = None
    """Truncation of its group; null where nothing was truncated."""


@dataclass(frozen=True, slots=True)
class ExistingResult:
    """A finished result and, unless it is older than such files, how its rewards were made."""

    folder: Path
    result: Result
    scoring: ScoringRecord | None

    def has_rewards_of(self, evaluation: EvaluationIdentity) -> bool:
        """Return whether its rewards are those of ``evaluation``."""
        return self.scoring is not None and self.scoring.evaluation == evaluation.of_rewards()

    def matched(self, groups: Iterable[Group], refused: int) -> Iterator[tuple[Group, ScoredItem]]:
        """Yield every group with its item; the last ``refused`` items are of rows that could not be scored.

        Raises:
            DataError: when the items cannot be read, or are of other groups.
        """
        path = self.folder / ITEMS_NAME
        found, listed = read_items(path), list(groups)
        items = found[: len(found) - refused]
        if len(items) != len(listed):
            raise DataError(
                f"{path}: holds {len(items)} items for {len(listed)} groups; add --overwrite to score again"
            )
        truncations = () if self.scoring is None else self.scoring.truncations
        by_place = {each.place: each for each in truncations}
        for place, (group, item) in enumerate(zip(listed, items, strict=True)):
            check_same(group, item, f"{path}:{place + 1}")
            yield group, ScoredItem(item=item, truncation=by_place.get(place))

    def check_model(self, model: str) -> None:
        """Raise ConfigError, naming the result, when it is of another model than ``model``."""
        if self.result.model != model:
            raise self._error(f"and this is {model!r}")

    def check(self, evaluation: EvaluationIdentity, settings: Mapping[str, JsonValue]) -> None:
        """Raise ConfigError, naming the result, when it is not of ``evaluation``."""
        self.check_model(evaluation.model)
        known = self.result if self.scoring is None else self.scoring.evaluation
        if known.name != evaluation.name or known.data_fingerprint != evaluation.data_fingerprint:
            raise self._error("on other data")
        if known.recipe_hash != evaluation.recipe_hash:
            there = None if self.scoring is None else self.scoring.settings
            differences = in_words(differing(there, settings)) if there and settings else ""
            raise self._error(f"with other settings ({differences})" if differences else "with another scoring recipe")
        if self.scoring is not None and self.scoring.evaluation.weights_hash != evaluation.weights_hash:
            raise self._error("with other weights")

    def _error(self, difference: str) -> ConfigError:
        date = self.result.created[:16].replace("T", " ") or "an unknown date"
        return ConfigError(
            f"{self.folder} holds the result of model {self.result.model!r} of {date}, {difference}; give another "
            "folder with -o, or --overwrite to replace it"
        )


def existing_result(folder: Path) -> ExistingResult | None:
    """Return the finished result in ``folder``, or None where there is none.

    Raises:
        DataError: when its ``result.json`` or ``scoring.json`` is no record of plaudit.
    """
    result = read_record(folder / RESULT_NAME, Result)
    if result is None:
        return None
    scoring = read_record(folder / SCORING_NAME, ScoringRecord)
    if scoring is not None and not _belongs(scoring.evaluation, result):
        scoring = None
    return ExistingResult(folder, result, scoring)


def read_scoring(folder: Path) -> ScoringRecord | None:
    """Return the ``scoring.json`` of ``folder``, or None where there is none.

    Raises:
        DataError: when it is no record of plaudit.
    """
    return read_record(folder / SCORING_NAME, ScoringRecord)


def parse_line(kind: type[AnyRecord], line: bytes) -> AnyRecord:
    """Return the item in a line of a journal.

    Raises:
        DataError: when it is none.
    """
    try:
        return kind.model_validate_json(line)
    except ValueError as error:
        raise DataError(f"not an item of plaudit: {first_problem(error)}") from None


def write_result(
    journal: Journal,
    folder: Path,
    result: Result,
    items: Sequence[ItemScore] | None,
    *,
    scoring: ScoringRecord | None = None,
    confident_errors: ConfidentErrors | None = None,
) -> None:
    """Replace the files of ``folder`` together; the unfinished items in ``journal`` go then. None keeps its items.

    Raises:
        OutputError: when a file cannot be written; all files are then as they were.
    """
    with journal.commit() as files:
        if items is not None:
            write_json_lines(files.stage(folder / ITEMS_NAME), items)
        for name, record in ((CONFIDENT_ERRORS_NAME, confident_errors), (SCORING_NAME, scoring)):
            if record is None:
                files.remove(folder / name)
            else:
                write_record(files.stage(folder / name), record)
        for name in _OLD_NAMES:
            files.remove(folder / name)
        write_record(files.stage(folder / RESULT_NAME), result)


def confident_errors_path(folder: Path) -> Path:
    """Return the file of the most confidently wrong pairs in ``folder``, of plaudit 0.1 under its old name."""
    old = folder / OLD_CONFIDENT_ERRORS_NAME
    return old if old.exists() and not (folder / CONFIDENT_ERRORS_NAME).exists() else folder / CONFIDENT_ERRORS_NAME


def read_confident_errors(folder: Path) -> ConfidentErrors | None:
    """Return the most confidently wrong pairs of the result in ``folder``; None where they are not on file.

    Raises:
        DataError: when the file is no record of plaudit.
    """
    return read_record(confident_errors_path(folder), ConfidentErrors)


def _belongs(evaluation: EvaluationIdentity, result: Result) -> bool:
    names = ("name", "model", "recipe_hash", "data_fingerprint")
    return all(getattr(evaluation, name) == getattr(result, name) for name in names)


def read_record(path: Path, kind: type[AnyRecord]) -> AnyRecord | None:
    """Return the record in ``path``; None where there is no such file.

    Raises:
        DataError: when it cannot be read, or is no such record.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is no record of plaudit: {first_problem(error)}; remove it, or give -o") from None
