"""What a rule did, counted: groups and pairs in, made, left out for each reason, and out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from plaudit.records import Record


class RuleReport(Record):
    """Counts of one rule; what goes in, less what is left out for each reason, comes out."""

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
    """Where there are such, those that the groups have."""

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
        return RuleReport(
            rule=self.rule,
            groups_in=self.groups_in,
            groups_out=self.groups_out,
            groups_left_out=dict(self.groups_left_out),
            pairs_in=self.pairs_in,
            pairs_made=self.pairs_made,
            pairs_left_out=dict(self.pairs_left_out),
            pairs_out=self.pairs_out,
            not_found=tuple(sorted(self.not_found)),
            found=tuple(sorted(self.found)) if self.not_found else (),
        )
