"""Records of runs, scored items and results on disk: versioned JSON, written atomically."""

from __future__ import annotations

import html
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator
from typing_extensions import override

from plaudit.errors import DataError
from plaudit.outputs import replacing

if TYPE_CHECKING:
    from pandas import DataFrame

_PER_RESPONSE = ("ranks", "outcomes", "answers", "steps", "step_labels")

RewardScale = Literal[
    "log_odds_values",
    "log_odds_differences",
    "assumed_log_odds_differences",
    "ratings",
    "probabilities",
    "win_rates",
    "order",
]
"""Reward scale: the unit of a scorer's rewards.

- ``log_odds_values``: σ of a reward is the probability that the response is right, as of an outcome model; of two
  responses, one of them right, σ of the difference says which;
- ``log_odds_differences``: σ of the difference of two of a group is the probability that the first is better, as of a
  Bradley–Terry model; a reward alone means nothing;
- ``assumed_log_odds_differences``: meant to be such, as those of a scalar head of unknown training; or approximately
  so, as those of Bradley–Terry with centering;
- ``ratings``, ``probabilities``, ``win_rates``: they are those, and σ of a difference is no probability;
- ``order``: nothing but their order means something, as of standardised rewards or those of a cautious ensemble.
"""


def _scale_of_today(found: object) -> object:
    """Return the name of a scale; files written before 0.2 did not tell values that are log-odds from differences."""
    return f"{found}_differences" if found in ("log_odds", "assumed_log_odds") else found


class Record(BaseModel):
    """Base of every record: frozen, unknown fields refused, versioned.

    A field that was renamed is read from files of version 1 silently. Python code gets a DeprecationWarning for the old
    name, which keeps working as an attribute and, where the new name is a field of the same record, in the constructor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    old_names: ClassVar[Mapping[str, str]] = {}
    """Names of version 1 → where the value stands now: a field, or a path below it as Python writes it."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    """Version of the record's layout; a later one is refused, not guessed at."""

    @model_validator(mode="before")
    @classmethod
    def _read_version_1(cls, data: Any) -> Any:
        if not cls.old_names or not isinstance(data, Mapping) or data.get("version", 1) != 1:
            return data
        if "version" in data:
            return cls.of_version_1(data)
        fields = {old: new for old, new in cls.old_names.items() if new in cls.model_fields}
        for old in fields.keys() & data.keys():
            cls._warn_renamed(old, fields[old], stacklevel=4)
        return {fields.get(name, name): value for name, value in data.items()}

    @classmethod
    def of_version_1(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of a record of version 1 on file under their names of today."""
        return {cls.old_names.get(name, name): value for name, value in data.items() if name != "version"}

    @staticmethod
    def _warn_renamed(old: str, new: str, *, stacklevel: int) -> None:
        message = f"{old} is called {new} now; the old name is dropped in 0.3"
        warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a field by its old name; an empty value where the part that holds it now is absent."""
            if name not in self.old_names:
                return super().__getattr__(name)
            kind, new, value = type(self).__name__, self.old_names[name], self
            self._warn_renamed(f"{kind}.{name}", f"{kind}.{new}", stacklevel=3)
            for part in re.findall(r"\w+", new):
                if isinstance(value, Mapping):
                    value = value.get(part, 0 if part == "ties" else {})
                else:
                    value = {} if value is None else getattr(value, part)
            return value


_Version2 = Annotated[int, Field(ge=2, le=2)]


class Interval(Record):
    """An estimate with its confidence interval."""

    value: float
    """The estimate."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    confidence: float = 0.95
    """Stated coverage."""
    method: str
    """Method of the interval (``wilson``, ``cluster bootstrap by prompt`` …)."""
    n: int
    """Items that the estimate is over."""


class ItemScore(Record):
    """One scored item of a benchmark or a file: everything needed to compute every metric again without the model."""

    old_names = {"facts": "metadata", "orders": "comparisons", "reward_unit": "reward_scale"}
    version: _Version2 = 2
    """Version of the record's layout; items of version 1 are read too."""
    id: str
    """Id of the group."""
    source: str
    """Source of the group, for slices."""
    prompt_key: str
    """Hash of the prompt, for clustering."""
    rewards: tuple[Annotated[float, Field(ge=-1e100, le=1e100)] | None, ...]
    """One reward per response; null where it could not be scored."""
    lengths: tuple[int, ...]
    """Characters of each response."""
    preferences: tuple[tuple[int, int], ...] = ()
    """(chosen, rejected) response indices."""
    probabilities: tuple[float | None, ...] = ()
    """For each preference, the label's probability that chosen is better, or null for a hard label."""
    margins: tuple[float | None, ...] = ()
    """For each preference, the label's margin, or null."""
    reason: str | None = None
    """Reason for a missing reward."""
    relative: bool = False
    """True where rewards compare within their group only, as of a model that compares responses.
    False in files from before the field was there."""
    reward_scale: Annotated[RewardScale | None, BeforeValidator(_scale_of_today)] = None
    """Reward scale; null where unknown, as in files from before the field was there."""
    step_scale: RewardScale | None = None
    """Scale of the rewards of steps; null where unknown: then they are to be probabilities."""
    attributes: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    """Rewards by attribute: one number or null per response."""
    steps: tuple[tuple[float | None, ...] | None, ...] | None = None
    """For each response, the model's reward of each of its steps; null where it gives none."""
    ranks: tuple[int | None, ...] | None = None
    """Labelled rank of each response, 1 the best; null is unranked."""
    ratings: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    """Labelled rating of each response, by attribute; null is unrated."""
    outcomes: tuple[bool | None, ...] | None = None
    """Correctness of each response; null is unknown."""
    answers: tuple[str | None, ...] | None = None
    """Final answer found in each response, where there are outcomes; null where none was found."""
    step_labels: tuple[tuple[float | None, ...] | None, ...] | None = None
    """For each response, the label of each of its steps; null is unlabelled."""
    step_classes: tuple[float, ...] | None = None
    """Values of the classes of a step, ascending, of which the lowest is wrong; null where the data do not say."""
    comparisons: tuple[tuple[float, float], ...] = ()
    """Where the model compared responses in both orders: of each pair (i, j) with i < j, the log-odds of the one named
    first being better, i named first, then j."""
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    """Official fields of a benchmark that its metrics need: subset, domain, which responses form a pair."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        count, pairs = len(self.rewards), len(self.preferences)
        columns: dict[str, Sized | None] = {name: getattr(self, name) for name in _PER_RESPONSE}
        columns["lengths"] = self.lengths or None  # published results do not hold the texts
        columns |= {f"attributes[{name!r}]": each for name, each in self.attributes.items()}
        columns |= {f"ratings[{name!r}]": each for name, each in self.ratings.items()}
        for name, column in columns.items():
            if column is not None and len(column) != count:
                raise ValueError(f"{name} has {len(column)} entries for {count} rewards")
        for name, labels in (("probabilities", self.probabilities), ("margins", self.margins)):
            if labels and len(labels) != pairs:
                raise ValueError(f"{name} has {len(labels)} entries for {pairs} preferences")
        for pair in self.preferences:
            if pair[0] == pair[1] or not all(0 <= index < count for index in pair):
                raise ValueError(f"a preference is {list(pair)}; it must be two of {count} responses, from 0")
        return self


class LabelCounts(Record):
    """Counts of the groups that carry one kind of label: n = scored + unscored + failed."""

    n: int
    """Groups that carry it."""
    scored: int
    """Groups whose label says something, and whose every labelled response has the rewards that it is compared with."""
    unscored: int
    """Groups whose label says nothing, as where all ranks are equal."""
    failed: int
    """Groups whose label says something, but a reward is missing."""


class BestOfNPoint(Record):
    """Choosing the best of n responses by a model's reward, for one n: expectations with intervals over prompts."""

    n: int
    """Responses to choose from, drawn without replacement from those of a group."""
    divergence: float
    """Distance of the choice from the policy in nats: log n − (n − 1) ÷ n."""
    gold: Interval
    """Gold reward of the response that the model rewards most."""
    oracle: Interval
    """Gold reward of the best response."""
    regret: Interval
    """Oracle less gold: the loss from choosing by the model."""
    recovered: Interval | None
    """(Gold − random) ÷ (oracle − random): the model's share of the largest possible gain over a random response;
    null where nothing can be gained, as for n = 1."""
    proxy: Interval
    """The model's own reward of its choice."""


class BestOfNCurve(Record):
    """Proxy against gold reward as n rises (over-optimisation), over the same groups for every n."""

    points: tuple[BestOfNPoint, ...]
    """One for each n, rising."""
    random: Interval
    """Gold reward of a response drawn at random, which is that of n = 1."""
    peak: int
    """The n at which gold is highest; the smallest where several are."""
    fall: Interval
    """Gold at the peak less gold at the largest n. The interval holds for every n at once, so that the choice of the
    peak is allowed for: gold falls again where it lies above 0."""
    groups: int
    """Groups that every point is over."""
    left_out: int = 0
    """Groups that are in no point: they have fewer responses than the largest n."""
    largest_k: int
    """Responses of the largest group; a group that has more than n is averaged over all its sets of n."""

    @property
    def falls(self) -> bool:
        """Return whether gold at the largest n is below its peak by more than noise."""
        return self.fall.low > 0.0


class MetricText(Record):
    """A metric in print."""

    label: str
    """Its name."""
    kind: Literal["share", "number"]
    """Format of its value: a percentage, or a number."""
    meaning: str
    """Its meaning in a few words."""
    unit: str = ""
    """Word for what its n counts."""


class Measure(Record):
    """Metrics of one kind of label, or those of a benchmark by its official rules."""

    old_names = {"figures": "metrics", "headline": "primary"}
    version: _Version2 = 2
    """Version of the record's layout; measures of version 1 are read too."""
    kind: Literal["preference", "ranking", "rating", "outcome", "step", "benchmark"]
    """Kind of label."""
    attribute: str | None = None
    """The rated attribute; null for other kinds."""
    primary: str
    """Name of the primary metric."""
    counts: LabelCounts
    """Counts of the groups that carry the label."""
    details: dict[str, int] = Field(default_factory=dict)
    """Counts behind the metrics: responses, pairs, ties, items left out."""
    rules: dict[str, str] = Field(default_factory=dict)
    """Rules that the metrics depend on, in words: ties, thresholds, the number taken for the reward."""
    metrics: dict[str, Interval] = Field(default_factory=dict)
    """Named metrics with intervals."""
    baselines: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    """Baselines that read no response, on the same rows: metric → rule → interval."""
    absent: dict[str, str] = Field(default_factory=dict)
    """For each metric that has no value, the reason."""
    slices: dict[str, dict[str, Interval]] = Field(default_factory=dict)
    """The primary metric and its baselines by source or subset: slice → metric or rule → interval."""
    curves: dict[str, list[dict[str, float]]] = Field(default_factory=dict)
    """Tables behind the plots: reliability bins, histograms, accuracy by coverage, groups by number of responses."""
    best_of_n: BestOfNCurve | None = None
    """Value in this label of the best of n responses by reward; null where there was nothing to choose from, with the
    reason in ``absent``."""
    missing: dict[str, str] = Field(default_factory=dict)
    """Subsets of a benchmark that are not whole or not official: rows found and expected, in words."""
    words: dict[str, MetricText] = Field(default_factory=dict)
    """Metrics of a benchmark in print; those that are not here are named after their part of it."""

    @property
    def name(self) -> str:
        """Return the kind of label, and of a rating the attribute."""
        return self.kind if self.attribute is None else f"{self.kind} {self.attribute}"


class PositionEffect(Record):
    """Position bias of a model that compares two responses, over the groups as they are.

    Both orders are asked and averaged, so no ranking depends on the order; but the difference was noise.
    """

    pairs: int
    """Pairs that were compared in both orders."""
    first: Interval
    """Mean probability of the response that is named first; ½ is no bias."""
    inconsistent: Interval
    """Share of pairs in which the order decides: both orders choose the first named, or both the second named."""

    def in_words(self) -> str:
        """Return the effect as one line for people."""
        first, decides = self.first, self.inconsistent
        return (
            f"position bias: the response named first is preferred with probability {first.value:.3f} "
            f"({first.low:.3f} – {first.high:.3f}; ½ is none); the order decides {decides.value:.1%} "
            f"({decides.low:.1%} – {decides.high:.1%}) of {self.pairs} pairs"
        )


_PAIR_DETAILS = ("pairs", "pairs_of_equal_length", "contradictory_pairs")


def _result_of_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a result of version 1 as those of version 2, with the preference metrics as a measure.

    Raises:
        ValueError: of a result from before the items of each label were counted.
    """
    old = dict(data)
    del old["version"]
    figures, labels, details = old.pop("figures", {}), old.pop("labels", {}), dict(old.pop("details", {}))
    found = {name: old.pop(name, {}) for name in ("slices", "curves", "absent", "rules")}
    baselines, ties = old.pop("baselines", {}), old.pop("ties", 0)
    counts, measures = labels.get("preference"), list(old.pop("measures", ()))
    if counts is None and (figures or found["absent"]):
        raise ValueError(
            "it is of a version that did not count the items of each label; make it again from its items: "
            "plaudit rescore ITEMS"
        )
    of_pairs = {name: details.pop(name) for name in _PAIR_DETAILS if name in details}
    if counts is not None:
        preference = {
            "kind": "preference",
            "primary": "accuracy",
            "counts": counts,
            "details": {**of_pairs, "ties": ties},
            "metrics": figures,
            "baselines": {"accuracy": baselines} if baselines else {},
            **found,
            "version": 2,
        }
        official = [each for each in measures if each.get("kind") == "benchmark"]
        measures = [*official, preference, *(each for each in measures if each not in official)]
    return {**old, "details": details, "measures": measures}


class Result(Record):
    """Result of an evaluation: a ``Measure`` for each kind of label, with counts and provenance."""

    old_names = {
        "figures": "preference.metrics",
        "slices": "preference.slices",
        "curves": "preference.curves",
        "absent": "preference.absent",
        "rules": "preference.rules",
        "baselines": 'preference.baselines["accuracy"]',
        "ties": 'preference.details["ties"]',
    }
    version: _Version2 = 2
    """Version of the record's layout; results of version 1 are read too."""
    name: str
    """Benchmark or file."""
    model: str
    """The model as it was named."""
    recipe_hash: str | None = None
    """Hash of the model's scoring recipe."""
    data_fingerprint: str | None = None
    """Hash of the evaluated data."""
    tie_rule: str
    """Tie rule: the value of an exact tie."""
    n: int
    """Items in the data: scored + unscored + failed."""
    scored: int
    """Items that were scored for a label at least: of preferences, those whose every reward is a number."""
    unscored: int
    """Items that carry no label this result needs."""
    failed: int
    """Labelled items that could not be scored for any label: a reward is missing, as where a response was too long."""
    measures: tuple[Measure, ...] = ()
    """The official measure of a benchmark first, then preferences, ranks, each rated attribute, outcomes and steps,
    where the groups carry them."""
    position: PositionEffect | None = None
    """Position bias of a model that compares two responses; null for other models."""
    details: dict[str, int] = Field(default_factory=dict)
    """Counts of prompts, responses, missing rewards, repeated ids and truncated responses."""
    reasons: dict[str, int] = Field(default_factory=dict)
    """Reasons for missing rewards: reason → items, the most frequent first."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Rows of the file that became no items, by reason; ``n`` does not count them."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Package versions."""
    created: str = ""
    """UTC time, ISO 8601."""

    @override
    @classmethod
    def of_version_1(cls, data: Mapping[str, Any]) -> dict[str, Any]:
        return _result_of_version_1(data)

    def measure(self, kind: str, attribute: str | None = None) -> Measure | None:
        """Return the measure of a kind of label, of a rating that of ``attribute``; None where there is none."""
        return next((each for each in self.measures if (each.kind, each.attribute) == (kind, attribute)), None)

    @property
    def preference(self) -> Measure | None:
        """Return the measure of preferences; None where no item carries one."""
        return self.measure("preference")

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each metric of every measure, whose baseline is empty, and for each baseline beside it."""
        return [
            {"label": measure.name, "metric": name, "baseline": rule}
            | each.model_dump(include={"value", "low", "high", "n", "method"})
            for measure in self.measures
            for name, found in measure.metrics.items()
            for rule, each in {"": found, **measure.baselines.get(name, {})}.items()
        ]

    def to_frame(self) -> DataFrame:
        """Return ``rows`` as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame(self.rows())

    @override
    def __repr__(self) -> str:
        """Return the subject and the first primary metric that has a value."""
        measure = next((each for each in self.measures if each.primary in each.metrics), None)
        subject = f"{self.model} on {self.name}: {self.n} items"
        if measure is None:
            return f"Result({subject})"
        found = measure.metrics[measure.primary]
        return f"Result({subject}, {measure.primary} {found.value:.3f} ({found.low:.3f}–{found.high:.3f}))"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return the table of ``rows`` for a notebook."""
        heads = ("label", "metric", "baseline", "value", "95 % interval", "n")
        lines = [
            (
                *(str(each[name]) for name in heads[:3]),
                f"{each['value']:.3f}",
                f"{each['low']:.3f} – {each['high']:.3f}",
                str(each["n"]),
            )
            for each in self.rows()
        ]
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
        caption = html.escape(f"{self.model} on {self.name}: {self.n} items")
        head = "".join(f"<th>{each}</th>" for each in heads)
        return f"<table><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    @property
    def labels(self) -> dict[str, LabelCounts]:
        """Return the counts of the groups that carry the label of each measure, by its name."""
        return {measure.name: measure.counts for measure in self.measures}


class MadeRecord(Record):
    """Base of the records of work: when, from which commit and with which packages it was done."""

    created: str
    """UTC time, ISO 8601."""
    commit: str | None = None
    """Commit of the working directory, or null outside a repository."""
    dirty: bool | None = None
    """True where the working directory had uncommitted changes."""
    versions: dict[str, str]
    """Package versions."""


class RunRecord(MadeRecord):
    """Record of a training run: its inputs, settings and outcome."""

    name: str
    """The run's name, from its config."""
    status: Literal["running", "finished", "stopped", "failed"]
    """State of the run."""
    finished: str | None = None
    """UTC time, ISO 8601."""
    device: str
    """Device that it ran on."""
    processes: int = 1
    """Number of processes."""
    seed: int
    """The seed everything was drawn from."""
    data: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """For each data set: fingerprint, groups, and the count dropped by each rule."""
    model: dict[str, Any] = Field(default_factory=dict)
    """Layout used and why, parameters, recipe hash."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Last logged metrics."""
    seconds: float | None = None
    """Wall time."""


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically; see ``replacing``."""
    with replacing(path) as file:
        file.write(text.encode())


def write_record(path: Path, record: Record) -> None:
    """Write ``record`` as indented JSON, atomically."""
    write_text(path, record.model_dump_json(indent=2) + "\n")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_text(path, json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """Return the text that ``write_json`` writes."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def write_json_lines(path: Path, records: Iterable[Record]) -> None:
    """Write one JSON object per line, atomically."""
    write_text(path, "".join(record.model_dump_json() + "\n" for record in records))


def read_items(path: Path) -> list[ItemScore]:
    """Return the items of an ``items.jsonl``.

    Raises:
        DataError: naming file and line.
    """
    items = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(lines, start=1):
        try:
            items.append(ItemScore.model_validate_json(line))
        except ValueError as error:
            raise DataError(f"{path}:{number}: not an item of plaudit: {first_problem(error)}") from None
    return items


def is_record(path: Path, kind: type[Record]) -> bool:
    """Return whether a file holds a record of that kind."""
    try:
        kind.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


def first_problem(error: ValueError) -> str:
    """Return an error as one line: for a record that does not validate, the first field and the number of others."""
    if not isinstance(error, ValidationError):
        return next(iter(str(error).splitlines()), type(error).__name__)
    first, *others = error.errors(include_url=False, include_input=False)
    field = ".".join(map(str, first["loc"]))
    more = f" (and {len(others)} more)" if others else ""
    return f"{field}{': ' if field else ''}{first['msg']}{more}"
