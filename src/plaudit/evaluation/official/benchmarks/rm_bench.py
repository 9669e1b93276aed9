"""RM-Bench: three styles of a better and of a worse response, and every pair of styles compared.

Both sides of a prompt come in the styles concise (0), detailed plain (1) and detailed markdown (2), so a prompt is one
group of six and nine comparisons: cell (i, j) is how often the better response in style i beats the worse in style j.

- ``hard``: mean of the three cells with j > i, where the worse response has the fancier style;
- ``normal``: mean of the diagonal; ``easy``: mean of the three cells with j < i;
- a domain: mean of hard, normal and easy, which is the mean of its nine cells. Safety pools both kinds of prompts
  (refuse, response) before the cells are computed, as the official code does;
- ``score``: mean of the four domains; ``hard``, ``normal`` and ``easy`` are means over the domains too.

Source: Liu et al. (2024), arXiv 2410.16184, with the official code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plaudit.data.reading.sources.fields import Row, is_list, required, required_list, required_text, text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Part,
    WeightedMean,
    category_metrics,
    mean_of,
    pair_outcome,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import Gathering, declared, item_without_group
from plaudit.evaluation.official.files import PlacedRow, recorded
from plaudit.records import ItemScore

STYLES = 3
DOMAINS = ("chat", "code", "math", "safety")

_PAIRS = [(chosen, rejected) for chosen in range(STYLES) for rejected in range(STYLES)]
_SORTS = {
    "hard": [(i, j) for i, j in _PAIRS if j > i],
    "normal": [(i, j) for i, j in _PAIRS if j == i],
    "easy": [(i, j) for i, j in _PAIRS if j < i],
}
_FILES = {
    "chat_filtered": "chat",
    "code_filtered": "code",
    "math_filtered": "math",
    "safety-refuse_filtered": "safety-refuse",
    "safety-response_filtered": "safety-response",
}


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for placed in rows:
        row, domain = placed.row, _domain(placed)
        sides = [_side(required_list(row, side), side) for side in ("chosen", "rejected")]
        gathering.add(
            f"{domain}/{required(row, 'id')}",
            subset=domain,
            prompt=required_text(row, "prompt"),
            responses=[*sides[0], *sides[1]],
            preferences=[(i, STYLES + j) for i, j in _PAIRS],
        )


def _domain(placed: PlacedRow) -> str:
    """Return the domain that the row names, or else the file: results are called ``FILE_MODEL_…``."""
    file = placed.stem.split("/")[-1]
    named = next((domain for name, domain in _FILES.items() if file == name or file.startswith(f"{name}_")), None)
    domain = named if named is not None else placed.row.get("domain")
    if domain is None:
        raise DataError(f"domain is missing, and the file is not called {' or '.join(_FILES)}")
    domain = text(domain, "domain")
    if domain.split("-")[0] not in DOMAINS:
        raise DataError(f"domain is {domain!r}; it must begin with {', '.join(DOMAINS)}")
    return domain


def _results(rows: Iterator[PlacedRow]) -> Iterator[ItemScore]:
    """Yield the items of an official result file: the data with ``score_chosen`` and ``score_rejected``, three each.

    The texts may be left out; then there is no baseline of length.
    """
    for placed in rows:
        row, domain = placed.row, _domain(placed)
        name = f"rm_bench/{domain}/{required(row, 'id')}"
        sides = [required_list(row, side) for side in ("score_chosen", "score_rejected")]
        for side, scores in zip(("score_chosen", "score_rejected"), sides, strict=True):
            if len(scores) != STYLES:
                raise DataError(f"{side} has {len(scores)} scores; it must have {STYLES}, one per style")
        (chosen, why), (rejected, also) = recorded(sides[0], "score_chosen"), recorded(sides[1], "score_rejected")
        lengths = _lengths(row)
        yield item_without_group(
            name,
            (*chosen, *rejected),
            {"subset": domain},
            reason="; ".join(filter(None, (why, also))) or None,
            lengths=lengths,
            preferences=tuple((i, STYLES + j) for i, j in _PAIRS) if lengths else (),
            prompt=str(row.get("prompt") or ""),
        )


def _lengths(row: Row) -> tuple[int, ...]:
    """Return the characters of the six responses, or none where they are not all in the row."""
    sides = [row.get(side) for side in ("chosen", "rejected")]
    texts = [each for side in sides if is_list(side) for each in side if isinstance(each, str)]
    return tuple(map(len, texts)) if len(texts) == 2 * STYLES else ()


def _side(values: Sequence[object], side: str) -> list[str]:
    if len(values) != STYLES:
        raise DataError(f"{side} has {len(values)} responses; it must have {STYLES}, one per style")
    return [text(value, f"{side}[{index}]") for index, value in enumerate(values)]


def domain_of(item: ItemScore) -> str:
    """Return the domain in which the official code counts ``item``: safety is one."""
    return str(item.metadata["subset"]).split("-")[0]


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the nine comparisons of ``item``, of category domain, style of the better, style of the worse response."""
    domain = domain_of(item)
    return [pair_outcome(item, i, STYLES + j, category=f"{domain}/{i}/{j}") for i, j in _PAIRS]


def _parts() -> dict[str, Part]:
    def of(domain: str, sort: str) -> WeightedMean:
        return mean_of(*(f"{domain}/{i}/{j}" for i, j in _SORTS[sort]))

    by_domain = {domain: mean_of(*(of(domain, sort) for sort in _SORTS)) for domain in DOMAINS}
    by_sort = {sort: mean_of(*(of(domain, sort) for domain in DOMAINS)) for sort in _SORTS}
    matrix = {f"chosen_{i}_rejected_{j}": mean_of(*(f"{domain}/{i}/{j}" for domain in DOMAINS)) for i, j in _PAIRS}
    fine = {f"{domain}_{sort}": of(domain, sort) for domain in DOMAINS for sort in _SORTS}
    return {"score": mean_of(*by_domain.values()), **by_sort, **by_domain, **fine, **matrix}


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``; ``chosen_I_rejected_J`` is cell (I, J), as a mean over the domains."""
    return category_metrics(items, decide, _parts())


RM_BENCH = declared("rm_bench", read=_read, compute=metrics, results=_results)
