"""Comparison of two results: the records of its file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from plaudit.records import Interval, Record

Family = Literal["primary", "sections", "subsets", "further", "steps"]
"""Family of metrics whose p-values are adjusted together.

``primary`` is the primary metric of a benchmark, alone; ``sections`` its other official metrics; ``subsets`` the
primary metric of each subset; ``further`` other metrics, as the rate of ties; ``steps`` all metrics of step labels.
"""


def _family_of_today(found: object) -> object:
    """Return the name of a family; files of version 1 call the primary metric the headline."""
    return "primary" if found == "headline" else found


class NotCompared(Record):
    """Counts of judgements left out; for metrics of benchmarks and steps, of items."""

    first_only: int = 0
    """Those on items that the second lacks, or has with other content."""
    second_only: int = 0
    """Those on items that the first lacks, or has with other content."""
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
    """P-value of the sign-flip permutation over prompts."""
    sign_p_value: float
    """P-value of the exact sign test over prompts; McNemar's exact test where each prompt has one judgement."""
    p_holm: float
    """``p_value`` adjusted by Holm over the family: all kinds, or all slices."""
    p_false_discovery: float
    """``p_value`` adjusted by Benjamini and Hochberg over the same family."""
    detectable: float | None
    """A true difference of this size would be found with probability 0.8; null from one prompt, or without spread."""
    tie_rule: str
    """Tie rule: the value of two equal rewards."""
    left_out: NotCompared
    """Judgements of this kind, or slice, that were not compared."""
    verdict: str
    """In words."""


class TestedMetric(Record):
    """One paired comparison of an official metric of a benchmark, or of a metric of step labels."""

    __test__ = False  # no test class, though its name begins like one

    measure: Literal["benchmark", "step"]
    """Measure of the metric."""
    family: Annotated[Family, BeforeValidator(_family_of_today)]
    """Family of metrics whose p-values are adjusted together with this one's."""
    name: str
    """Name of the metric; of ``subsets``, the subset."""
    n: int
    """Number of items behind the first model's metric."""
    n_second: int
    """The same of the second model: another number only where the official rule leaves out unjudged items."""
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
    """Test behind ``p_value``: sign flips of prompts, swaps of the models of prompts, or the bootstrap over prompts."""
    p_holm: float
    """``p_value`` adjusted by Holm over the family."""
    p_false_discovery: float
    """``p_value`` adjusted by Benjamini and Hochberg over the family."""
    tie_rule: str
    """Tie rule of the metric, for equal rewards or one at the threshold, in words."""
    left_out: NotCompared
    """Items, and of steps responses, that were not compared."""
    verdict: str
    """In words: which model is higher, or that they cannot be told apart."""


class NotTested(Record):
    """A metric without a paired test, which both results may have."""

    measure: Literal["benchmark", "step"]
    """Measure of the metric."""
    name: str
    """Name of the metric."""
    first: float | None
    """The first model's value, where it has one."""
    second: float | None
    """The second model's value."""
    reason: str
    """Reason for a missing test."""


class ModelComparison(Record):
    """Comparison of two models on the same items, as ``plaudit compare --output`` writes it."""

    old_names: ClassVar[Mapping[str, str]] = {"figures": "metrics"}
    version: Annotated[int, Field(ge=2, le=2)] = 2
    """Version of the record's layout; comparisons of version 1 are read too."""
    first: str
    """The first model."""
    second: str
    """The second model."""
    name: str
    """The data."""
    tie_rule: str
    """Tie rule of judgements; official metrics have rules of their own."""
    alpha: Annotated[float, Field(gt=0, lt=1)]
    """Level of the tests, after Holm's adjustment."""
    items: dict[str, int]
    """Items in ``first`` and in ``second``, and those that are in both with equal content (``compared``)."""
    differs: tuple[str, ...] = ()
    """Differences in how the two were made, in words."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Judgements left out because a model has no reward, or ties are excluded: kind → number."""
    not_compared: dict[str, str] = Field(default_factory=dict)
    """Measures that are there and were not compared, with the reason."""
    overall: tuple[Tested, ...] = ()
    """One for each kind of label."""
    slices: tuple[Tested, ...] = ()
    """One for each kind and source, where there are several sources; those that differ most surely first."""
    metrics: tuple[TestedMetric, ...] = ()
    """Official metrics of the benchmark, the primary one first, then those of step labels."""
    not_tested: tuple[NotTested, ...] = ()
    """Metrics without a paired test."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions."""
    created: str = ""
    """UTC time, ISO 8601."""
