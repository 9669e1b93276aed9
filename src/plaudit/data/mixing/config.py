"""What a config says about a mixture: its parts, the rules that each passes, how they are drawn and split."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plaudit.config import Config
from plaudit.data.mixing.augment.config import Augmentation
from plaudit.data.mixing.rules.config import RuleConfig
from plaudit.data.reading.config import DataFile

# Positions of groups are held in memory: 8 GB of them.
MOST_GROUPS = 10**9

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class MixturePart(Config):
    """One part of a mixture: files, read and passed through rules."""

    name: Name
    """Name of the part; the ids of its groups begin with it."""
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)]
    """What is read, one file after the other."""
    rules: tuple[RuleConfig, ...] = ()
    """What its groups pass, in this order."""
    expected: Annotated[int, Field(ge=0)] | None = None
    """Pairs that the publisher of the mixture reports for this part; shown beside what is found."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Share of the part where parts are drawn by weight."""


class Everything(Config):
    """Every group of every part, once."""

    type: Literal["everything"] = "everything"
    """Kind of draw."""


class ByWeight(Config):
    """So many groups in all, shared out to the parts in proportion to their weights (largest remainders)."""

    type: Literal["by_weight"] = "by_weight"
    """Kind of draw."""
    groups: Annotated[int, Field(ge=1, le=MOST_GROUPS)]
    """Groups of the mixture."""
    repeat: bool = False
    """A part with fewer groups than its share: repeat them, else give all it has and report what is short."""


class ByTemperature(Config):
    """Shares in proportion to size^(1/T): T = 1 is proportional, larger T nearer to equal (Devlin et al., mBERT)."""

    type: Literal["by_temperature"] = "by_temperature"
    """Kind of draw."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """T."""
    groups: Annotated[int, Field(ge=1, le=MOST_GROUPS)] | None = None
    """Groups of the mixture; null for as many as the parts hold together."""
    repeat: bool = False
    """A part with fewer groups than its share: repeat them, else give all it has and report what is short."""


class ByPolicy(Config):
    """On- and off-policy groups, no prompt from both: so many of the prompts that both sides have are on-policy.

    Source: Razin et al. (2025), What Makes a Reward Model a Good Teacher?, section 4.1.
    """

    type: Literal["by_policy"] = "by_policy"
    """Kind of draw."""
    on_policy: str
    """Part whose responses are the policy's own; all other parts are the other side."""
    fraction_on_policy: Annotated[float, Field(ge=0, le=1)]
    """Share of the common prompts whose groups are taken from the on-policy part."""


class HeldOutPrompts(Config):
    """A share of the prompts set apart as ``held_out``; equal prompts stay together."""

    type: Literal["prompts"] = "prompts"
    """Kind of split."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """Share of the prompts."""


class HeldOutClusters(Config):
    """A share of the clusters of near-duplicate prompts set apart as ``held_out``; each stays together."""

    type: Literal["clusters"] = "clusters"
    """Kind of split."""
    share: Annotated[float, Field(gt=0, lt=1)]
    """Share of the clusters."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Jaccard similarity of the word 3-grams from which two prompts are near duplicates."""


class TeacherPrompts(Config):
    """The teacher study's split: ``train`` for the reward model, ``policy_gradient`` for the policy, a test as given.

    Source: Razin et al. (2025), What Makes a Reward Model a Good Teacher?
    """

    type: Literal["teacher"] = "teacher"
    """Kind of split."""
    reward_share: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """Share of the prompts that is for the reward model."""
    test: tuple[DataFile, ...] = ()
    """Files of the test set, kept whole as ``held_out``; training groups with one of its prompts are left out."""


DrawConfig = Annotated[Everything | ByWeight | ByTemperature | ByPolicy, Field(discriminator="type")]
SplitConfig = Annotated[HeldOutPrompts | HeldOutClusters | TeacherPrompts, Field(discriminator="type")]


class MixtureConfig(Config):
    """A data set made of parts by rules: the same config, seed and files give the same groups in the same order."""

    name: Name
    """Name of the mixture."""
    parts: Annotated[tuple[MixturePart, ...], Field(min_length=1)]
    """What it is made of."""
    rules: tuple[RuleConfig, ...] = ()
    """What the groups of all parts pass together, before they are drawn."""
    draw: DrawConfig = Everything()
    """How many groups of each part."""
    order: Literal["shuffled", "parts", "interleaved"] = "shuffled"
    """Order of the groups: drawn from the seed, part after part, or each part spread evenly over the whole."""
    split: SplitConfig | None = None
    """What is set apart; null for nothing."""
    augment: tuple[Augmentation, ...] = ()
    """What is added to ``train`` after the split, each rule on top of the one before."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of everything that is drawn."""

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [part.name for part in self.parts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two parts are named {name!r}; each needs a name of its own")
        if isinstance(self.draw, ByPolicy) and (self.draw.on_policy not in names or len(names) < 2):
            raise ValueError(f"draw.on_policy is {self.draw.on_policy!r}; it must be one of several parts")
        kinds = [rule.type for rule in self.augment]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"augment is {', '.join(kinds)}; each kind may come once")
        return self
