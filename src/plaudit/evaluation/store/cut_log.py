"""What was cut of each group while an evaluation ran: beside its unfinished items, so that a killed run counts all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from plaudit.data.schema.group import Group
from plaudit.errors import DataError, OutputError
from plaudit.evaluation.store.existing import GroupCut
from plaudit.records import first_problem, write_text
from plaudit.scoring.scorer import GroupRewards, ResponseTruncation, Scorer


class CutWatch:
    """A scorer that passes on the rewards of another one, and remembers what was cut of each group."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._seen: deque[ResponseTruncation | None] = deque()

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the rewards of each group, in order."""
        for rewards in self._scorer.score_groups(groups):
            self._seen.append(rewards.truncation)
            yield rewards

    def next_cut(self) -> ResponseTruncation | None:
        """Return what was cut of the next group in order, None where nothing was."""
        return self._seen.popleft()


class CutLog:
    """The cuts of an unfinished evaluation: a line per group that lost tokens, written before the group's item."""

    def __init__(self, path: Path, partial: Path) -> None:
        """Go on with the file at ``path`` where the items in ``partial`` stop.

        Raises:
            DataError: naming the line that is not one of cuts.
            OutputError: when the file cannot be written.
        """
        self._path = path
        try:
            done = max(0, partial.read_bytes().count(b"\n") - 1) if partial.exists() else 0
            lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
        cuts = [self._parsed(line, number) for number, line in enumerate(lines, start=1)]
        self._cuts = [cut for cut in cuts if cut.place < done]
        if path.exists():
            write_text(path, "".join(f"{cut.model_dump_json()}\n" for cut in self._cuts))

    @property
    def cuts(self) -> Sequence[GroupCut]:
        """Return all cuts, in the order of the groups."""
        return tuple(self._cuts)

    def add(self, place: int, group: Group, cut: ResponseTruncation | None) -> None:
        """Write down what was cut of the group at ``place``, if anything.

        Raises:
            OutputError: when the file cannot be written.
        """
        if cut is None:
            return
        self._cuts.append(GroupCut(place=place, id=group.id, tokens=cut.tokens, identical=cut.identical))
        try:
            with self._path.open("ab") as file:
                file.write(f"{self._cuts[-1].model_dump_json()}\n".encode())
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def _parsed(self, line: bytes, number: int) -> GroupCut:
        try:
            return GroupCut.model_validate_json(line)
        except ValueError as error:
            raise DataError(f"{self._path}:{number}: not a line of cuts: {first_problem(error)}") from None
