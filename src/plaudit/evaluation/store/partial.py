"""The file that a killed evaluation or probe leaves: a line that says of what, then each item as it was scored."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar, TypeVar

from plaudit.data.schema.group import Group
from plaudit.errors import DataError, OutputError
from plaudit.evaluation.metrics.answers import LAST_NUMBER
from plaudit.evaluation.store.items import prompt_hash, step_labels
from plaudit.records import ItemScore, Record, first_problem

Subject = TypeVar("Subject")


class PartialHeader(Record):
    """First line of ``items.partial.jsonl``: which evaluation the lines below it belong to."""

    task: ClassVar[str] = "evaluation"
    """What is unfinished, in a word."""

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

    def in_words(self) -> str:
        """Return what tells this from another one, in words."""
        parts = [f"{self.name!r} with model {self.model!r}"]
        if self.recipe_hash is not None:
            parts.append(f"recipe {self.recipe_hash}")
        if self.weights_hash is not None:
            parts.append(f"weights {self.weights_hash}")
        if self.data_fingerprint is not None:
            parts.append(f"data {self.data_fingerprint}")
        if self.answer_pattern != LAST_NUMBER:
            parts.append(f"answer pattern {self.answer_pattern}")
        return ", ".join(parts)


def scored_once(
    partial: Path,
    header: PartialHeader,
    subjects: Iterable[Subject],
    *,
    check: Callable[[Subject, ItemScore, str], None],
    score: Callable[[Iterator[Subject]], Iterator[tuple[Subject, ItemScore]]],
) -> Iterator[tuple[Subject, ItemScore]]:
    """Yield every subject with its item: those on file, then those ``score`` gives, written before they are yielded.

    ``check`` is handed each subject whose item is on file, the item, and its place, and raises where they do not
    belong together.

    Raises:
        DataError: when the file is of something else than ``header`` says, or holds more items than there are subjects.
        OutputError: when the file cannot be written.
    """
    known = _resume(partial, header)
    remaining = iter(subjects)
    first = list(itertools.islice(remaining, len(known)))
    if len(first) < len(known):
        raise DataError(
            f"{partial}: holds {len(known)} items but the data has only {len(first)}; "
            "it is of other data: delete it to start again"
        )
    for line, (subject, item) in enumerate(zip(first, known, strict=True), start=2):
        check(subject, item, f"{partial}:{line}")
        yield subject, item
    with partial.open("ab", buffering=0) as file:
        for subject, item in score(remaining):
            _append(file, item, partial)
            yield subject, item


def check_same(group: Group, item: ItemScore, place: str) -> None:
    """Raise DataError, naming ``place``, unless ``item`` may be that of ``group``: id, prompt, lengths and labels."""
    expected = {
        "id": group.id,
        "prompt_key": prompt_hash(group),
        "lengths": tuple(len(response) for response in group.responses),
        "preferences": tuple((preference.chosen, preference.rejected) for preference in group.preferences),
        "ranks": group.ranks,
        "ratings": dict(group.ratings),
        "outcomes": group.outcomes,
        "step_labels": step_labels(group),
    }
    if any(getattr(item, name) != value for name, value in expected.items()):
        raise DataError(
            f"{place}: item {item.id!r} is not group {group.id!r} of the data at this place (another id, "
            "prompt, length of a response or label); the file is of other data: delete it to start again"
        )


def _append(file: io.FileIO, item: ItemScore, partial: Path) -> None:
    left = memoryview((item.model_dump_json() + "\n").encode())
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise OutputError(f"cannot write {partial}: {error.strerror or error}") from error


def _resume(partial: Path, header: PartialHeader) -> list[ItemScore]:
    """Return the items on file, after cutting a torn last line off; start the file when there is none."""
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        data = partial.read_bytes() if partial.exists() else b""
        complete = data[: data.rfind(b"\n") + 1]
        if not complete:
            partial.write_text(header.model_dump_json() + "\n", encoding="utf-8")
            return []
        if len(complete) < len(data):
            os.truncate(partial, len(complete))
    except OSError as error:
        raise OutputError(f"cannot write {partial}: {error.strerror or error}") from error
    lines = complete.splitlines()
    found = _parse_header(partial, lines[0], type(header))
    if found != header:
        raise DataError(
            f"{partial}: was begun for {found.in_words()}, but this {header.task} is {header.in_words()}; "
            "delete it to start again, or choose another folder"
        )
    items = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            items.append(ItemScore.model_validate_json(line))
        except ValueError as error:
            raise DataError(f"{partial}:{number}: not an item of plaudit: {first_problem(error)}") from None
    return items


def _parse_header(partial: Path, line: bytes, kind: type[PartialHeader]) -> PartialHeader:
    try:
        return kind.model_validate_json(line)
    except ValueError as error:
        raise DataError(f"{partial}:1: not the start of an unfinished {kind.task}: {first_problem(error)}") from None
