"""What the building of a mixture found: a tree of counts, from the rows read to the groups given."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from plaudit.data.mixing.augment.counts import AugmentReport
from plaudit.data.mixing.rules.counts import RuleReport
from plaudit.data.schema.report import ReadReport
from plaudit.records import Record


class PartReport(Record):
    """Counts of one part: rows read, what each rule did, groups given."""

    name: str
    """Name of the part."""
    reads: tuple[ReadReport, ...]
    """One report per file."""
    rules: tuple[RuleReport, ...] = ()
    """One report per rule of the part, in order."""
    expected: int | None = None
    """Pairs that the publisher of the mixture reports."""
    groups: int
    """Groups after the rules of the part."""
    pairs: int
    """Preferences after the rules of the part."""


class DrawReport(Record):
    """How many groups of one part were drawn into the mixture."""

    name: str
    """Name of the part."""
    available: int
    """Groups after all rules."""
    asked: int
    """Groups that its share comes to."""
    drawn: int
    """Groups given, repetitions included; fewer than asked where the part is short and must not repeat."""
    pairs: int
    """Preferences of the groups given."""


class SplitReport(Record):
    """One set that came out."""

    name: str
    """``train``, or the name of what was set apart."""
    groups: int
    """Groups."""
    pairs: int
    """Preferences."""
    prompts: int
    """Different prompts."""
    fingerprint: str
    """Hash of all rows and their order."""
    size: int
    """Bytes of its file, by which a broken copy is known."""


class MixtureReport(Record):
    """Counts of a whole mixture, and the fingerprint that stands for its sources, rules and seeds.

    Groups drawn + groups of the test + groups added by augmentation = groups left out + groups of all sets.
    """

    name: str
    """Name of the mixture."""
    fingerprint: str
    """Hash over the content of every file read, every rule, and the seed: equal for equal mixtures."""
    seed: int
    """Seed of everything drawn."""
    parts: tuple[PartReport, ...]
    """One report per part."""
    rules: tuple[RuleReport, ...] = ()
    """One report per rule of the whole."""
    draws: tuple[DrawReport, ...]
    """One report per part."""
    augmented: tuple[AugmentReport, ...] = ()
    """One report per rule of augmentation, of the training set."""
    test: tuple[ReadReport, ...] = ()
    """One report per file of the test set of a teacher split."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """For each reason, the groups drawn that are in no set."""
    splits: tuple[SplitReport, ...]
    """The sets that came out."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        given = sum(draw.drawn for draw in self.draws) + sum(read.groups for read in self.test)
        given += sum(rule.groups_added for rule in self.augmented)
        if given - sum(self.left_out.values()) != sum(each.groups for each in self.splits):
            raise ValueError(f"groups of mixture {self.name!r} do not add up")
        return self
