"""Comparison of two models on the same items: metrics, their differences, and the tests of these."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.compare.correctness import ComparisonSettings, by_certainty, compared_judgements, judgement_rows
from plaudit.evaluation.compare.metrics import Compared, compare_benchmark, compare_steps
from plaudit.evaluation.compare.records import ModelComparison, NotCompared, NotTested, TestedMetric
from plaudit.evaluation.official.benchmark import ENTRIES
from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.evaluation.store.result_folder import read_record
from plaudit.provenance import stamp
from plaudit.records import ItemScore, Result, read_items
from plaudit.statistics.agreement import TieRule

_NAMED = 3
"""Ids that a message names."""
_CONTENT = ("prompt_key", "preferences", "probabilities", "ranks", "ratings", "outcomes", "step_labels")
"""Fields of an item that come from the data and not from the model."""
_FROM_MODEL = {"repeats"}.union(*(entry.get("from_model", ()) for entry in ENTRIES.values()))
"""Facts that published results have from the model: items that differ in them are of the same data."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The items of one result, and the result itself where it is there."""

    path: Path
    items: tuple[ItemScore, ...]
    result: Result | None

    @property
    def model(self) -> str:
        """Return the model as it was named, or the folder."""
        return self.result.model if self.result is not None else self.path.resolve().parent.name


def read_scored(path: Path) -> Scored:
    """Return the items at ``path``: a folder of results, or the ``result.json`` or ``items.jsonl`` in it.

    Raises:
        DataError: naming the file, where there are no items or one cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    items = folder / "items.jsonl" if path.is_dir() or path.name == "result.json" else path
    if not items.exists():
        raise DataError(f"{items}: does not exist; a comparison needs the folder that `plaudit evaluate` wrote")
    if not items.is_file():
        raise DataError(f"{items}: is no regular file; a comparison needs the folder that `plaudit evaluate` wrote")
    result = folder / "result.json"
    return Scored(items, tuple(read_items(items)), read_record(result, Result))


def compare(
    first: Scored,
    second: Scored,
    *,
    tie_rule: TieRule,
    intersection: bool = False,
    alpha: float = 0.05,
    confidence: float = 0.95,
    seed: int = 0,
) -> ModelComparison:
    """Return the paired comparison of two results over the same items, over all of them and by source.

    A judgement is a labelled pair, a pair of different rank or rating within a prompt, or the choice among the
    responses of known outcome (see ``correctness``); each model has it right (1), wrong (0) or between. The test flips
    the signs of the differences of whole prompts; two models can be told apart where its p-value, adjusted by Holm over
    the kinds of label (or over all slices), is below ``alpha``. Where both results are of one benchmark its official
    metrics are compared too (see ``compare_benchmark``), and where steps are labelled theirs (see ``compare_steps``).

    Raises:
        DataError: naming the difference, where the items are not the same and ``intersection`` is not asked for; where
            nothing can be compared.
        ConfigError: for a level or a confidence outside 0 to 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ConfigError(f"alpha is {alpha}; it must lie between 0 and 1")
    pairs, differs = matched(first.items, second.items)
    if differs and not intersection:
        raise DataError(
            f"{first.path} and {second.path} are not about the same items: {'; '.join(differs)}. "
            "Ask for the intersection to compare the items that both have"
        )
    every = judgement_rows(pairs, (first.items, second.items), tie_rule)
    overall = [rows for rows in every if rows.known.any()]
    slices = [part for rows in overall for part in rows.by_source()]
    settings = ComparisonSettings(alpha, confidence, seed, (first.model, second.model), tie_rule)
    (figures, not_tested), not_compared = _compared_metrics(first, second, pairs, settings)
    if not overall and not figures and not not_tested:
        raise DataError(
            f"{first.path} and {second.path}: there is no judgement that both models made, out of "
            f"{len(pairs)} items that both have"
        )
    left_out = {rows.kind: rows.left_out.unmade for rows in every}
    return ModelComparison(
        first=first.model,
        second=second.model,
        name=first.result.name if first.result is not None else first.path.name,
        tie_rule=tie_rule,
        alpha=alpha,
        items={"first": len(first.items), "second": len(second.items), "compared": len(pairs)},
        differs=tuple(differs),
        left_out={kind: number for kind, number in left_out.items() if number},
        not_compared=not_compared,
        overall=tuple(compared_judgements(overall, settings)),
        slices=tuple(by_certainty(compared_judgements(slices, settings))),
        metrics=tuple(figures),
        not_tested=tuple(not_tested),
        **stamp(),
    )


def _compared_metrics(
    first: Scored, second: Scored, pairs: Sequence[tuple[ItemScore, ItemScore]], settings: ComparisonSettings
) -> tuple[Compared, dict[str, str]]:
    """Return the metrics of the benchmark and of step labels, and why a measure that is there was not compared."""
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    left_out = NotCompared(first_only=len(first.items) - len(pairs), second_only=len(second.items) - len(pairs))
    tested: list[TestedMetric] = []
    not_tested: list[NotTested] = []
    not_compared: dict[str, str] = {}
    name = _benchmark(first.result, second.result)
    if name in CATALOG:
        tested, not_tested = compare_benchmark(ours, theirs, benchmark_named(name), settings, left_out)
    elif name:
        not_compared["benchmark"] = name
    if any(item.step_labels is not None for item in ours):
        steps = compare_steps(ours, theirs, settings, left_out)
        tested, not_tested = tested + steps[0], not_tested + steps[1]
    return (tested, not_tested), not_compared


def _benchmark(first: Result | None, second: Result | None) -> str:
    """Return the benchmark of both results, why its metrics cannot be compared, or nothing where there is none."""
    names = [
        result.name if result is not None and any(each.kind == "benchmark" for each in result.measures) else None
        for result in (first, second)
    ]
    if names[0] == names[1]:
        known = names[0] is None or names[0] in CATALOG
        return names[0] or "" if known else f"{names[0]} is not in the catalogue of benchmarks"
    return "one of the results is of no benchmark, or of another one"


def matched(
    first: Sequence[ItemScore], second: Sequence[ItemScore]
) -> tuple[list[tuple[ItemScore, ItemScore]], list[str]]:
    """Return the items that both have, with equal content and in the first's order, and the differences in words.

    Items are matched by id, and those of one id in the order in which they stand.
    """
    ours, theirs = _keyed(first), _keyed(second)
    differs = []
    for mine, other, which in ((ours, theirs, "first"), (theirs, ours, "second")):
        only = [key for key in mine if key not in other]
        if only:
            differs.append(f"{len(only)} items are in the {which} only ({_named(only)})")
    pairs = []
    unequal: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for key, item in ours.items():
        if key not in theirs:
            continue
        field = _unequal_field(item, theirs[key])
        if field is None:
            pairs.append((item, theirs[key]))
        else:
            unequal[field].append(key)
    differs += [f"{len(keys)} items differ in {field} ({_named(keys)})" for field, keys in unequal.items()]
    return pairs, differs


def _keyed(items: Sequence[ItemScore]) -> dict[tuple[str, int], ItemScore]:
    seen: Counter[str] = Counter()
    found = {}
    for item in items:
        found[item.id, seen[item.id]] = item
        seen[item.id] += 1
    return found


def _named(keys: Sequence[tuple[str, int]]) -> str:
    shown = ", ".join(repr(name) for name, _ in keys[:_NAMED])
    return f"{shown}, …" if len(keys) > _NAMED else shown


def _unequal_field(first: ItemScore, second: ItemScore) -> str | None:
    if len(first.rewards) != len(second.rewards):
        return "their number of responses"
    # published results may come without lengths
    if len(first.lengths) == len(second.lengths) and first.lengths != second.lengths:
        return "lengths"
    if _official_facts(first) != _official_facts(second):
        return "facts"
    return next((name for name in _CONTENT if getattr(first, name) != getattr(second, name)), None)


def _official_facts(item: ItemScore) -> dict[str, JsonValue]:
    return {name: value for name, value in item.metadata.items() if name not in _FROM_MODEL}
