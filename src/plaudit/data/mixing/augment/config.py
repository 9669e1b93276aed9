"""What a config says about rules that add training groups made of the given ones: a closed union, by ``type``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from plaudit.config import Config

Transform = Literal["whitespace", "bold", "headings", "bullets"]
Cut = Literal["word", "sentence"]
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
    """Whether any two of the borrowed responses tie: probability ½."""
    partners_from: Literal["any_source", "same_source"] = "any_source"
    """Whether partners are of the group's own source, for mixed data whose sources look different."""


class Shuffle(Config):
    """The responses of each group in an order drawn from the seed; every label moves with its response."""

    type: Literal["shuffle"] = "shuffle"
    """Kind of rule."""


class Style(Config):
    """A copy of each group with the same change of style in all of its responses, under the same labels."""

    type: Literal["style"] = "style"
    """Kind of rule."""
    transforms: Annotated[tuple[Transform, ...], Field(min_length=1)] = ("whitespace", "bold")
    """What is changed, in this order: blanks at line ends and runs of empty lines; ``**bold**``; heading marks;
    bullet marks. Code is left as it is."""
    keep_original: bool = True
    """Whether the copy stands beside the group; false puts it in its place."""

    @model_validator(mode="after")
    def _none_comes_twice(self) -> Self:
        if len(set(self.transforms)) < len(self.transforms):
            raise ValueError(f"transforms {', '.join(self.transforms)}: one comes twice")
        return self


class Truncation(Config):
    """Beside some groups, one in which the chosen response wins against its own beginning."""

    type: Literal["truncation"] = "truncation"
    """Kind of rule."""
    cut: Cut = "word"
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


Augmentation = Annotated[Counterfactual | Shuffle | Style | Truncation, Field(discriminator="type")]
