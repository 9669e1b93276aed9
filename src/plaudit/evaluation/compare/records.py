"""What a comparison of two results says: the records that ``compare.json`` is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from plaudit.records import Interval, Record

Family = Literal["headline", "sections", "subsets", "further", "steps"]
"""Figures whose p-values are adjusted together.

``headline`` is the official figure of a benchmark, alone; ``sections`` its other official figures; ``subsets`` the
headline of each subset; ``further`` what stands beside them, as the rate of ties; ``steps`` all figures of step labels.
"""


class LeftOut(Record):
    """What was not compared: judgements, or, of figures of benchmarks and steps, items."""

    first_only: int = 0
    """Of items that the second lacks, or has with other content."""
    second_only: int = 0
    """Of items that the first lacks, or has with other content."""
    unmade: int = 0
    """Judgements that one of them did not make, for a missing reward or an excluded tie; of steps, responses."""

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.first_only + self.second_only + self.unmade


class Tested(Record):
    """One paired comparison, over all items with one kind of label or over one slice of them."""

    kind: str
    """Kind of label: ``preference``, ``ranking``, ``rating NAME`` or ``outcome``."""
    slice: str | None
    """The source, or null for all items."""
    n: int
    """Judgements that both models made."""
    prompts: int
    """Prompts that they belong to."""
    first: float
    """Share that the first model has right."""
    second: float
    """Share that the second model has right."""
    difference: Interval
    """First less second, with its interval over prompts."""
    wins: int
    """Judgements that the first model has right, or more of right, than the second."""
    losses: int
    """Judgements that the second model has right, or more of right."""
    draws: int
    """Judgements in which they do not differ."""
    p_value: float
    """Of the sign-flip permutation over prompts."""
    sign_p_value: float
    """Of the exact sign test over prompts; McNemar's exact test where each prompt has one judgement."""
    p_holm: float
    """``p_value`` adjusted by Holm over the family: all kinds, or all slices."""
    p_false_discovery: float
    """``p_value`` adjusted by Benjamini and Hochberg over the same family."""
    detectable: float | None
    """A true difference of this size would be found with probability 0.8; null from one prompt, or without spread."""
    tie_rule: str
    """What an exact tie of two rewards counts as."""
    left_out: LeftOut
    """Judgements of this kind, or slice, that were not compared."""
    verdict: str
    """In words."""


class TestedFigure(Record):
    """One paired comparison of an official figure of a benchmark, or of a figure of step labels."""

    __test__ = False  # no test class, though its name begins like one

    measure: Literal["benchmark", "step"]
    """The measure that the figure is of."""
    family: Family
    """Figures whose p-values are adjusted together with this one's."""
    name: str
    """The figure; of ``subsets``, the subset."""
    n: int
    """What the first model's figure is over."""
    n_second: int
    """What the second model's is over: another number only where the official rule leaves out what was not judged."""
    prompts: int
    """Prompts that these belong to."""
    first: float
    """The first model's value."""
    second: float
    """The second model's value."""
    difference: Interval
    """First less second, with its interval over prompts, resampled for both models alike."""
    p_value: float
    """Two-sided, of no difference."""
    test: str
    """What ``p_value`` is of: sign flips of prompts, swaps of the models of prompts, or the bootstrap over prompts."""
    p_holm: float
    """``p_value`` adjusted by Holm over the family."""
    p_false_discovery: float
    """``p_value`` adjusted by Benjamini and Hochberg over the family."""
    tie_rule: str
    """What the figure makes of equal rewards, or of one at the threshold, in words."""
    left_out: LeftOut
    """Items, and of steps responses, that were not compared."""
    verdict: str
    """In words: which model is higher, or that they cannot be told apart."""


class NotTested(Record):
    """A figure that both results may have and that has no paired test."""

    measure: Literal["benchmark", "step"]
    """The measure that the figure is of."""
    name: str
    """The figure."""
    first: float | None
    """The first model's value, where it has one."""
    second: float | None
    """The second model's value."""
    reason: str
    """Why there is no test."""


class Comparison(Record):
    """What ``compare.json`` holds."""

    first: str
    """The first model."""
    second: str
    """The second model."""
    name: str
    """The data."""
    tie_rule: str
    """What an exact tie of two rewards counts as in judgements; official figures have rules of their own."""
    alpha: Annotated[float, Field(gt=0, lt=1)]
    """Level of the tests, after Holm's adjustment."""
    items: dict[str, int]
    """Items in ``first`` and in ``second``, and those that are in both with equal content (``compared``)."""
    differs: tuple[str, ...] = ()
    """What is not the same in both, in words."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Judgements left out because a model has no reward, or ties are excluded: kind → number."""
    not_compared: dict[str, str] = Field(default_factory=dict)
    """Measures that are there and were not compared, with the reason."""
    overall: tuple[Tested, ...] = ()
    """One for each kind of label."""
    slices: tuple[Tested, ...] = ()
    """One for each kind and source, where there are several sources; those that differ most surely first."""
    figures: tuple[TestedFigure, ...] = ()
    """Official figures of the benchmark, then those of step labels; the headline first."""
    not_tested: tuple[NotTested, ...] = ()
    """Figures without a paired test."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions."""
    created: str = ""
    """UTC time, ISO 8601."""
