"""Benchmarks: an official file layout that becomes groups, and official metrics of scored items.

Loading and measuring meet in one place only: the facts of an item. Whatever the official metric needs beside rewards
(subset, domain, which responses form a pair) is put there by the reader and written to ``items.jsonl``, so that the
metric can be computed again without the model and without the data.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from pydantic import JsonValue

from plaudit.config import Config
from plaudit.data.reading.sources.groups import group_to_row
from plaudit.data.reading.sources.source import PublishedCount
from plaudit.data.schema.group import TWO_CLASSES, Group, Message, Preference, Step, conversation
from plaudit.errors import DataError, InvalidGroupError
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.files import HubSet, PlacedRow, result_rows, rows_at
from plaudit.records import ItemScore, Measure, MetricText
from plaudit.statistics.metric import IntervalSettings

Facts = Mapping[str, JsonValue]
"""Official fields of one item. ``subset`` is always there; ``rows`` where the item stands for several official rows."""

Reader = Callable[[Iterator[PlacedRow], "Gathering"], None]
"""Reads the official rows of a benchmark into groups; a ``DataError`` that it raises is given its file and line."""

Compute = Callable[[Sequence[ItemScore]], MetricSet]
"""Computes the metrics of a benchmark from its items alone."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Content of a benchmark's files: each prompt once, with all of its responses."""

    groups: tuple[Group, ...]
    """Groups to score, in the order of the files."""
    facts: Mapping[str, Facts]
    """For the id of each group, the official fields that the metrics need."""
    refused: tuple[ItemScore, ...]
    """Rows that cannot be scored, as where a response is empty: items without rewards, with the reason."""
    expected: Mapping[str, int | None]
    """Official number of rows of each subset; None where it is not known."""
    optional: frozenset[str]
    """Further official subsets, which need not be there."""
    found: Mapping[str, int]
    """Rows of each subset in the files, refused ones included."""
    repeated: int
    """Rows whose id another row has too; they are kept, under ids of their own."""

    def first(self, count: int) -> Loaded:
        """Return the first ``count`` groups, without the rows that cannot be scored."""
        kept = self.groups[:count]
        return replace(self, groups=kept, refused=(), found=counts_of(self.facts[group.id] for group in kept))

    @property
    def missing(self) -> dict[str, str]:
        """Return the rows found and expected, of each subset that is not whole or not official."""
        return incomplete(self.found, self.expected, self.optional, repeats_of(self.facts.values()))

    @property
    def fingerprint(self) -> str:
        """Return a hex hash of all groups and facts, in order."""
        digest = hashlib.blake2b(digest_size=16)
        for group in self.groups:
            row = [group_to_row(group), self.facts[group.id]]
            digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        for item in self.refused:
            digest.update(item.model_dump_json().encode() + b"\n")
        return digest.hexdigest()


class Benchmark(Config):
    """A test set with an official metric: where it is, how its files are read, how its items are measured."""

    name: str
    """Name in the catalogue and of the folder of results."""
    title: str
    """Name in print."""
    citation: str
    """Paper, as arXiv number and year."""
    licence: str
    """Licence of the data."""
    official: str
    """Location of the official files."""
    hub: tuple[HubSet, ...] = ()
    """Data sets on the hub; none where the official files are in a repository only."""
    files: str | tuple[str, ...]
    """Regular expression of the whole paths of the official files in a folder that holds others too; of several the
    first that any file matches, where a folder can hold the set twice."""
    expected: Mapping[str, PublishedCount]
    """Official number of rows of each subset; None where it is not known."""
    optional: frozenset[str] = frozenset()
    """Further subsets that are official, and not missed where they are absent."""
    words: Mapping[str, MetricText] = {}
    """Its metrics in print; one that is not here is a proportion named after its part of the benchmark."""
    ties: str
    """Tie rule of the official metric."""
    missing_rewards: str
    """Rule for a response without a reward, in the official metric as computed here."""
    read: Reader
    """Converts official rows to groups."""
    compute: Compute
    """Computes metrics from items; ``metrics`` adds those common to all benchmarks."""
    results: Callable[[Iterator[PlacedRow]], Iterable[ItemScore]] | None = None
    """Converts published per-item results in the benchmark's own layout to items; None where it has no such layout."""
    marks: tuple[tuple[str, ...], ...] = ()
    """Fields by which a row of such results is known from those of other benchmarks: all of one of these."""
    from_model: frozenset[str] = frozenset()
    """Facts that such results have from the model and not from the data."""
    joined: Callable[[Iterator[PlacedRow], Loaded], list[ItemScore]] | None = None
    """The same as ``results``, of a layout that holds no labels, with the data that has them; None: there is none."""

    def load(self, path: str | None = None) -> Loaded:
        """Return the content of the official file or folder at ``path``; without ``path`` it is read from the hub.

        Raises:
            DataError: naming file and line, where a row is not of the official layout; where nothing can be read.
        """
        rows = _Current(rows_at(path, hub=self.hub, files=self.files, title=self.title, official=self.official))
        gathering = Gathering(self.name)
        try:
            self.read(rows, gathering)
        except DataError as error:
            raise rows.located(error) from None
        if not gathering.groups:
            why = f"; {gathering.refused[0].reason}" if gathering.refused else ""
            raise DataError(f"{path or 'the hub'}: holds no rows of {self.name} that can be scored{why}")
        return Loaded(
            groups=tuple(gathering.groups),
            facts=gathering.facts,
            refused=tuple(gathering.refused),
            expected=self.expected,
            optional=self.optional,
            found=gathering.found,
            repeated=gathering.repeated,
        )

    def metrics(self, items: Sequence[ItemScore]) -> MetricSet:
        """Return the official metrics of ``items`` and plaudit's own beside them; a pure function of the items."""
        found = self.compute(items)
        own = {"official_ties": self.ties, "missing_rewards": self.missing_rewards, "source": self.citation}
        found.rules, found.words = own | found.rules, self.words
        repeats = sum(_count(item.metadata, "repeats", 0) for item in items)
        if repeats:
            found.details["rows_of_a_repeated_id"] = repeats
            found.rules["repeated_rows"] = f"rows that repeat an earlier one: {repeats}"
        every = [item.metadata for item in items]
        found.missing = incomplete(counts_of(every), self.expected, self.optional, repeats_of(every))
        return found

    def measure(self, items: Sequence[ItemScore], settings: IntervalSettings) -> Measure:
        """Return the measure that intervals make of ``metrics``."""
        return self.metrics(items).measure(settings)

    def read_results(self, path: str, data: str | None = None) -> list[ItemScore]:
        """Return the items of published per-item results in the benchmark's own layout: a file, or a folder of files.

        ``data`` is the official data, for a layout that does not hold the labels. A row whose id an earlier one has is
        kept, under an id of its own, as official metrics count every row; ``measure`` counts such rows.

        Raises:
            DataError: naming file and line, where a row is not of that layout, or the benchmark has none.
        """
        rows = _Current(result_rows(path))
        try:
            if data is not None and self.joined is not None:
                items = self.joined(rows, self.load(data))
            elif data is not None:
                raise DataError(f"{path}: published results of {self.title} are read without the data")
            elif self.results is not None:
                items = list(self.results(rows))
            elif self.joined is not None:
                raise DataError(
                    f"{path}: results of {self.title} hold no labels; give the official data too: {self.name}=PATH"
                )
            else:
                raise DataError(
                    f"{path}: {self.title} has no layout of per-item results that is read here; "
                    'give lines of {"id": …, "rewards": […]}'
                )
        except DataError as error:
            raise rows.located(error) from None
        if not items:
            raise DataError(f"{path}: holds no results of {self.title}")
        return _told_apart(items)


ENTRIES: Mapping[str, Mapping[str, Any]] = tomllib.loads(
    Path(__file__).with_name("benchmarks.toml").read_text(encoding="utf-8")
)
"""The benchmarks of the catalogue: name → fields of ``Benchmark``, and ``tables`` that only its own metric reads."""


def declared(name: str, **how: Any) -> Benchmark:
    """Return the benchmark of an entry of ``benchmarks.toml``; ``how`` are the functions that read and measure it.

    A field that ``how`` names too is that of ``how``, as where the data sets on the hub follow from the subsets.
    """
    known = {field: value for field, value in ENTRIES[name].items() if field != "tables"}
    return Benchmark(name=name, **(known | how))


def _told_apart(items: Sequence[ItemScore]) -> list[ItemScore]:
    """Return the items, the second of one id called ``id#2``."""
    seen: set[str] = set()
    found = []
    for item in items:
        number, name = 1, item.id
        while name in seen:
            number += 1
            name = f"{item.id}#{number}"
        seen.add(name)
        again = {"id": name, "metadata": {**item.metadata, "repeats": max(1, _count(item.metadata, "repeats", 0))}}
        found.append(item if number == 1 else item.model_copy(update=again))
    return found


def _count(facts: Facts, name: str, otherwise: int) -> int:
    """Return a number among the facts: ``rows`` that an item stands for, ``repeats`` of ids that earlier rows have."""
    count = facts.get(name, otherwise)
    return count if isinstance(count, int) else otherwise


def incomplete(
    found: Mapping[str, int],
    expected: Mapping[str, int | None],
    optional: frozenset[str] = frozenset(),
    repeats: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """Return in words the rows found and expected, of each subset that is absent, not whole or not official.

    A subset is whole with all of its rows, whether or not some of them, the ``repeats``, come twice.
    """
    words = {}
    for name, count in expected.items():
        have = found.get(name, 0)
        if count is None and not have:
            words[name] = "absent"
        elif count is not None and count not in (have, have - (repeats or {}).get(name, 0)):
            words[name] = f"{have} of {count} rows"
    for name, have in found.items():
        if name not in expected and name not in optional:
            words[name] = f"{have} rows of a subset that is not official"
    return words


def counts_of(every: Iterable[Facts]) -> Counter[str]:
    """Return the number of official rows of each subset among items with these facts."""
    found: Counter[str] = Counter()
    for facts in every:
        found[str(facts["subset"])] += _count(facts, "rows", 1)
    return found


def repeats_of(every: Iterable[Facts]) -> Counter[str]:
    """Return the number of rows of each subset that repeat an earlier one, among items with these facts."""
    found: Counter[str] = Counter()
    for facts in every:
        found[str(facts["subset"])] += _count(facts, "repeats", 0)
    return found


@final
@dataclass
class Gathering:
    """Collects the groups of a benchmark as its rows are read. Ids begin with the benchmark's name."""

    name: str
    groups: list[Group] = field(default_factory=list)
    facts: dict[str, Facts] = field(default_factory=dict)
    refused: list[ItemScore] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    repeated: int = 0

    def add(
        self,
        id: str,
        *,
        subset: str,
        prompt: str | Sequence[Message | Mapping[str, str]],
        responses: Sequence[str],
        facts: Facts | None = None,
        rows: int = 1,
        preferences: Sequence[tuple[int, int]] = (),
        ranks: Sequence[int | None] | None = None,
        outcomes: Sequence[bool | None] | None = None,
        steps: Sequence[Sequence[Step] | None] | None = None,
    ) -> None:
        """Take one group, or, where it breaks a rule of the schema, an item that says which.

        ``id`` is the official one, within the benchmark; the second group of one id is called ``id#2``. ``rows`` is
        the number of official rows in the group. ``preferences`` are (chosen, rejected).
        """
        number = 1
        unique = whole = f"{self.name}/{id}"
        while unique in self.facts:
            number += 1
            unique = f"{whole}#{number}"
        self.repeated += number > 1
        self.found[subset] += rows
        known: dict[str, JsonValue] = {"subset": subset, **({"rows": rows} if rows != 1 else {}), **(facts or {})}
        if number > 1:
            known["repeats"] = 1
        self.facts[unique] = known
        try:
            group = Group(
                prompt=conversation(prompt),
                responses=tuple(responses),
                preferences=tuple(Preference(chosen, rejected) for chosen, rejected in preferences),
                ranks=None if ranks is None else tuple(ranks),
                outcomes=None if outcomes is None else tuple(outcomes),
                steps=None if steps is None else tuple(None if each is None else tuple(each) for each in steps),
                id=unique,
                source=subset,
                step_classes=None if steps is None else TWO_CLASSES,
            )
        except InvalidGroupError as error:
            lengths = tuple(len(response) if isinstance(response, str) else 0 for response in responses)
            self.refused.append(
                item_without_group(
                    unique, (None,) * len(responses), known, reason=f"cannot be scored: {error}", lengths=lengths
                )
            )
            return
        self.groups.append(group)


def item_without_group(
    id: str,
    rewards: Sequence[float | None],
    facts: Facts,
    *,
    reason: str | None,
    lengths: tuple[int, ...] = (),
    preferences: tuple[tuple[int, int], ...] = (),
    prompt: str = "",
) -> ItemScore:
    """Return the item of a row whose texts make no group; ``prompt``, or else the id, tells prompts apart."""
    return ItemScore(
        id=id,
        source=str(facts["subset"]),
        prompt_key=hashlib.sha256((prompt or id).encode()).hexdigest()[:16],
        rewards=tuple(rewards),
        lengths=lengths,
        preferences=preferences,
        reason=reason,
        metadata=dict(facts),
    )


@final
class _Current(Iterator[PlacedRow]):
    """Goes through rows and remembers the last one, so that an error can name its place."""

    def __init__(self, rows: Iterator[PlacedRow]) -> None:
        self._rows = rows
        self._last: PlacedRow | None = None

    def __next__(self) -> PlacedRow:
        """Return the next row."""
        self._last = None  # while the file itself is read: its errors name their place
        self._last = next(self._rows)
        return self._last

    def located(self, error: DataError) -> DataError:
        """Return ``error`` with the place of the last row, unless the row itself could not be read."""
        return error if self._last is None else DataError(f"{self._last.place}: {error}")
