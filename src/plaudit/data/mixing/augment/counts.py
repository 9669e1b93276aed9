"""What a rule of augmentation did, counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from plaudit.data.mixing.augment.config import Augmentation
from plaudit.records import Record


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
        return AugmentReport(
            rule=rule,
            groups_in=self.groups_in,
            groups_out=self.groups_in + self.groups_added,
            groups_added=self.groups_added,
            augmented=self.augmented,
            left_alone=dict(self.left_alone),
            preferences_made=dict(self.preferences_made),
            responses_left_out=dict(self.responses_left_out),
        )
