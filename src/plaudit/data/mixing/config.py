"""Config of a mixture: its parts, the rules that groups pass or that add some, the draw, the order and the split.

Rules are closed unions by ``type``: those that groups pass on their way into a data set, and those that add training
groups made of the given ones.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plaudit.config import Config
from plaudit.data.reading.options import DataFile


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
    """A maximum number of pairs per prompt, over all of its groups, drawn from the seed."""

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
    """Content that must not come twice: prompt, responses and labels (ids and sources aside), or the prompt alone."""


class Sample(Config):
    """A part of the groups, drawn by a hash of (seed, group): of rows with ids the same one whatever their order."""

    type: Literal["sample"] = "sample"
    """Kind of rule."""
    groups: Annotated[int, Field(ge=1)] | None = None
    """Number of groups; all where there are fewer."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Or their share, rounded down."""

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


Transform = Literal["whitespace", "bold", "headings", "bullets"]
CutAt = Literal["word", "sentence"]
Share = Annotated[float, Field(ge=0, le=1)]


class Counterfactual(Config):
    """Beside each group, one of its prompt with responses to other prompts: they lose to its own, and tie (RRM)."""

    type: Literal["counterfactual"] = "counterfactual"
    """Kind of rule."""
    partners: Annotated[int, Field(ge=1, le=16)] = 2
    """Groups of other prompts whose chosen and rejected response are borrowed; 2 gives the 14 pairs of the paper."""
    own: Literal["both", "chosen"] = "both"
    """Own responses that win against the borrowed ones. With ``both``, as in the paper, chosen and rejected stand
    equally often on either side, so that nothing about a response alone tells who wins."""
    ties: bool = True
    """Label any two of the borrowed responses as a tie: probability ½."""
    partners_from: Literal["any_source", "same_source"] = "any_source"
    """Sources of partners; ``same_source`` is for mixed data whose sources look different."""


class Shuffle(Config):
    """The responses of each group in an order drawn from the seed; every label moves with its response."""

    type: Literal["shuffle"] = "shuffle"
    """Kind of rule."""


class Restyle(Config):
    """A copy of each group with the same change of style in all of its responses, under the same labels."""

    type: Literal["style"] = "style"
    """Kind of rule."""
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)] = ("whitespace", "bold")
    """Changes, in this order: blanks at line ends and runs of empty lines; ``**bold**``; heading marks;
    bullet marks. Code is left as it is."""
    keep_original: bool = True
    """Keep the group beside its copy; false replaces it."""

    @model_validator(mode="after")
    def _none_comes_twice(self) -> Self:
        if len(set(self.transforms)) < len(self.transforms):
            raise ValueError(f"transforms {', '.join(self.transforms)}: one comes twice")
        return self


class Truncation(Config):
    """Beside some groups, one in which the chosen response wins against its own beginning."""

    type: Literal["truncation"] = "truncation"
    """Kind of rule."""
    cut: CutAt = "word"
    """``word``: between two words of one line, inside a sentence. ``sentence``: behind a sentence."""
    keep: tuple[Share, Share] = (0.3, 0.8)
    """Least and largest part of the characters to keep; the cut is drawn among the places between."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Probability that a group gets one. Each of these pairs says that longer is better: many make a length bias."""
    min_characters: Annotated[int, Field(ge=2)] = 80
    """A shorter response is not cut."""

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        if not 0.0 < self.keep[0] < self.keep[1] < 1.0:
            raise ValueError(f"keep is {self.keep[0]:g} to {self.keep[1]:g}; it must ascend, strictly between 0 and 1")
        return self


Augmentation = Annotated[Counterfactual | Shuffle | Restyle | Truncation, Field(discriminator="type")]

# Positions of groups are held in memory: 8 GB of them.
MOST_GROUPS = 10**9

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class MixturePart(Config):
    """One part of a mixture: files, read and passed through rules."""

    name: Name
    """Name of the part; the ids of its groups begin with it."""
    files: Annotated[tuple[DataFile, ...], Field(min_length=1)]
    """Files, read one after the other."""
    rules: tuple[RuleConfig, ...] = ()
    """Rules that its groups pass, in this order."""
    expected: Annotated[int, Field(ge=0)] | None = None
    """Pairs that the publisher of the mixture reports for this part; shown beside the number found."""
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Share of the part where parts are drawn by weight."""


class Everything(Config):
    """Every group of every part, once."""

    type: Literal["everything"] = "everything"
    """Kind of draw."""


class ByWeight(Config):
    """A fixed number of groups, split among the parts in proportion to their weights (largest remainders)."""

    type: Literal["by_weight"] = "by_weight"
    """Kind of draw."""
    groups: Annotated[int, Field(ge=1, le=MOST_GROUPS)]
    """Groups of the mixture."""
    repeat: bool = False
    """Repeat the groups of a part with fewer than its share; else use all of them and report the shortfall."""


class ByTemperature(Config):
    """Shares in proportion to size^(1/T): T = 1 is proportional, larger T nearer to equal (Devlin et al., mBERT)."""

    type: Literal["by_temperature"] = "by_temperature"
    """Kind of draw."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """T."""
    groups: Annotated[int, Field(ge=1, le=MOST_GROUPS)] | None = None
    """Groups of the mixture; null for as many as the parts hold together."""
    repeat: bool = False
    """Repeat the groups of a part with fewer than its share; else use all of them and report the shortfall."""


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
    """Parts of the mixture."""
    rules: tuple[RuleConfig, ...] = ()
    """Rules that the groups of all parts pass together, before they are drawn."""
    draw: DrawConfig = Everything()
    """Number of groups taken from each part."""
    order: Literal["shuffled", "parts", "interleaved"] = "shuffled"
    """Order of the groups: drawn from the seed, part after part, or each part spread evenly over the whole."""
    split: SplitConfig | None = None
    """Split of a held-out set; null for none."""
    augment: tuple[Augmentation, ...] = ()
    """Rules that add groups to ``train`` after the split, each on top of the one before."""
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
