"""What a config says about the rules that groups pass on their way into a data set: a closed union, by ``type``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plaudit.config import Config


class MeanRating(Config):
    """A new rating of every response: the mean of others."""

    type: Literal["mean_rating"] = "mean_rating"
    """Kind of rule."""
    of: Annotated[tuple[str, ...], Field(min_length=1)]
    """Attributes to average; a group that has none of them is left out."""
    into: Annotated[str, Field(min_length=1)] = "mean"
    """Attribute that the mean becomes."""
    missing: Literal["unrated", "ignored"] = "unrated"
    """A response that lacks one of them: it gets no mean, or the mean of those that it has."""


class Pairs(Config):
    """Preferences from ratings or ranks, or a choice among the given ones; a group left with none is left out."""

    type: Literal["pairs"] = "pairs"
    """Kind of rule."""
    choose: Literal["given", "all", "best_vs_random", "best_vs_worst"] = "all"
    """``given``: the preferences of the data; else they are replaced: every two responses, or one pair per group."""
    by: str | None = None
    """Rating that orders the responses, the highest first; null for the ranks."""
    ties: Literal["drop", "half"] = "drop"
    """Two responses of the same rating: no pair, or a preference of probability ½."""
    min_gap: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Least difference of the two ratings (or ranks) of a pair that is not a tie."""
    min_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    """The higher rating must be more than this many times the lower; ratings below or at 0 have no ratio."""
    margin: bool = False
    """Write the difference of the ratings, chosen less rejected, as the margin of the pair."""
    max_pairs: Annotated[int, Field(ge=1)] | None = None
    """Most pairs of a group, drawn from the seed."""

    @model_validator(mode="after")
    def _bounds_have_values(self) -> Self:
        if self.by is None and self.min_ratio is not None:
            raise ValueError("min_ratio needs the rating that it compares; give it as by")
        if self.choose == "given" and self.by is None and (self.min_gap or self.margin or self.ties != "drop"):
            raise ValueError("bounds, ties and margins of given pairs need the rating that tells them; give it as by")
        return self


class Ranks(Config):
    """Ranks of the responses from a rating; a group without that rating is left out."""

    type: Literal["ranks"] = "ranks"
    """Kind of rule."""
    by: str
    """Rating that ranks them: the highest is 1, equal ratings share a rank; ranks that are there are replaced."""


class PerPrompt(Config):
    """At most so many pairs of one prompt, over all of its groups, drawn from the seed."""

    type: Literal["per_prompt"] = "per_prompt"
    """Kind of rule."""
    max_pairs: Annotated[int, Field(ge=1)]
    """Most pairs of a prompt; a group left with none is left out."""


class Differing(Config):
    """Leave out pairs whose two responses are the same text, blanks at the ends aside, and groups left with none."""

    type: Literal["differing"] = "differing"
    """Kind of rule."""


class Keep(Config):
    """Leave out groups beside these bounds; a bound that is null is none."""

    type: Literal["keep"] = "keep"
    """Kind of rule."""
    sources: tuple[str, ...] | None = None
    """Sources to keep."""
    without_sources: tuple[str, ...] = ()
    """Sources to leave out."""
    min_responses: Annotated[int, Field(ge=1)] | None = None
    """Fewest responses."""
    max_responses: Annotated[int, Field(ge=1)] | None = None
    """Most responses."""
    max_turns: Annotated[int, Field(ge=1)] | None = None
    """Most messages of the prompt."""
    min_characters: Annotated[int, Field(ge=1)] | None = None
    """Fewest characters of each response."""
    max_characters: Annotated[int, Field(ge=1)] | None = None
    """Most characters of the prompt and any one response."""


class Distinct(Config):
    """Keep the first of several equal groups, or of several groups of one prompt."""

    type: Literal["distinct"] = "distinct"
    """Kind of rule."""
    of: Literal["group", "prompt"] = "group"
    """What must not come twice: prompt, responses and labels (ids and sources aside), or the prompt alone."""


class Sample(Config):
    """A part of the groups, drawn by a hash of (seed, group): of rows with ids the same one whatever their order."""

    type: Literal["sample"] = "sample"
    """Kind of rule."""
    groups: Annotated[int, Field(ge=1)] | None = None
    """How many; all where there are fewer."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Or which share, rounded down."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.groups is None) == (self.fraction is None):
            raise ValueError("sample needs either groups or fraction")
        return self


class Slice(Config):
    """The groups from position ``start`` up to and without ``stop``, in the order in which they come."""

    type: Literal["slice"] = "slice"
    """Kind of rule."""
    start: Annotated[int, Field(ge=0)] = 0
    """First position, from 0."""
    stop: Annotated[int, Field(ge=1)] | None = None
    """Position to end before; null for the end."""

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop {self.stop} is not after start {self.start}")
        return self


GroupRule = MeanRating | Ranks | Pairs | Differing | Keep
"""Rules that see one group at a time."""
SetRule = PerPrompt | Distinct | Sample | Slice
"""Rules that see all groups."""
RuleConfig = Annotated[
    MeanRating | Ranks | Pairs | Differing | Keep | PerPrompt | Distinct | Sample | Slice, Field(discriminator="type")
]
