"""Counts of building a mixture: of each rule, each augmentation, each part, each draw and each set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Self

from pydantic import Field, model_validator

from plaudit.data.mixing.config import Augmentation
from plaudit.data.schema.report import ReadReport
from plaudit.records import Record


def _counts(tally: RuleCounts | AugmentTally) -> dict[str, Any]:
    return {field.name: getattr(tally, field.name) for field in fields(tally)}


class AugmentReport(Record):
    """Counts of one rule: groups_in = augmented + the sum of left_alone, groups_out = groups_in + groups_added."""

    rule: Augmentation
    """The rule."""
    groups_in: int
    """Groups that came to it."""
    groups_out: int
    """Groups that left it."""
    groups_added: int
    """Groups that it made and put beside the given ones."""
    augmented: int
    """Groups that it made something of."""
    left_alone: dict[str, int] = Field(default_factory=dict)
    """For each reason, the groups that it made nothing of; they are passed on as they are."""
    preferences_made: dict[str, int] = Field(default_factory=dict)
    """For each kind, the preferences of the groups that it made."""
    responses_left_out: dict[str, int] = Field(default_factory=dict)
    """For each reason, responses that it did not borrow."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.groups_in != self.augmented + sum(self.left_alone.values()):
            raise ValueError(f"groups of rule {self.rule.type} do not add up")
        if self.groups_out != self.groups_in + self.groups_added:
            raise ValueError(f"groups out of rule {self.rule.type} do not add up")
        return self


@dataclass(slots=True)
class AugmentTally:
    """The counts of a rule while groups pass; named as in ``AugmentReport``."""

    groups_in: int = 0
    groups_added: int = 0
    augmented: int = 0
    left_alone: Counter[str] = field(default_factory=Counter)
    preferences_made: Counter[str] = field(default_factory=Counter)
    responses_left_out: Counter[str] = field(default_factory=Counter)

    def report(self, rule: Augmentation) -> AugmentReport:
        """Return the counts as a record."""
        return AugmentReport(rule=rule, groups_out=self.groups_in + self.groups_added, **_counts(self))


class RuleReport(Record):
    """Counts of one rule: output = input − those left out, by reason."""

    rule: str
    """The rule as its config says it."""
    groups_in: int
    """Groups that came to the rule."""
    groups_out: int
    """Groups that passed it."""
    groups_left_out: dict[str, int] = Field(default_factory=dict)
    """For each reason, the groups that did not."""
    pairs_in: int
    """Preferences of the groups that came."""
    pairs_made: int = 0
    """Pairs that the rule considered beside them."""
    pairs_left_out: dict[str, int] = Field(default_factory=dict)
    """For each reason, the pairs left out; those of groups left out are among them."""
    pairs_out: int
    """Preferences of the groups that passed."""
    not_found: tuple[str, ...] = ()
    """Ratings or sources that the rule names and no group has: misspelt, perhaps."""
    found: tuple[str, ...] = ()
    """Those that the groups have, if any."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.groups_in - sum(self.groups_left_out.values()) != self.groups_out:
            raise ValueError(f"groups of rule {self.rule!r} do not add up")
        if self.pairs_in + self.pairs_made - sum(self.pairs_left_out.values()) != self.pairs_out:
            raise ValueError(f"pairs of rule {self.rule!r} do not add up")
        return self


@dataclass(slots=True)
class RuleCounts:
    """Counts that one rule adds to while groups pass."""

    rule: str
    groups_in: int = 0
    groups_out: int = 0
    pairs_in: int = 0
    pairs_made: int = 0
    pairs_out: int = 0
    groups_left_out: Counter[str] = field(default_factory=Counter)
    pairs_left_out: Counter[str] = field(default_factory=Counter)
    not_found: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)

    def meet(self, names: Iterable[str]) -> None:
        """Count the names of one group as found."""
        self.found.update(names)
        self.not_found -= self.found

    def report(self) -> RuleReport:
        """Return the counts as a record."""
        found = sorted(self.found) if self.not_found else ()
        return RuleReport(**_counts(self) | {"not_found": tuple(sorted(self.not_found)), "found": tuple(found)})


class PartReport(Record):
    """Counts of one part: rows read, the report of each rule, groups given."""

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
    """Counts of the groups of one part that were drawn into the mixture."""

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
    """``train``, or the name of a set that was split off."""
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
