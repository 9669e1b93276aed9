"""M-RewardBench: the pairs of RewardBench in 23 languages, by its sections and weights.

A language is the mean of the four sections of RewardBench; ``score`` is the mean of the languages other than English,
and a section is its mean over them. Where English rows are there too, ``english`` and ``gap_to_english`` (English less
``score``) stand beside it. The data has 2,869 of the 2,985 pairs of RewardBench, and the authors' script weighs each
subset by its number of pairs there, math-prm as much as all code. For judges it takes the sections as the package of
RewardBench computes them, with that package's weights: ``score_reward_bench_weights``.

Source: Gureja et al. (2024), arXiv 2410.15522, with the official code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from plaudit.data.reading.sources.fields import text
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import (
    ComparisonOutcome,
    Difference,
    Part,
    category_metrics,
    lowest_first,
    mean_of,
    pair_outcome,
)
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import ENTRIES, Gathering, declared
from plaudit.evaluation.official.benchmarks.reward_bench import SECTIONS, add_pair, sections
from plaudit.evaluation.official.files import PlacedRow
from plaudit.records import ItemScore

LANGUAGES = tuple(ENTRIES["m_reward_bench"]["expected"])
WEIGHTS: Mapping[str, Mapping[str, int]] = ENTRIES["m_reward_bench"]["tables"]
"""Section → subset → weight in the section."""

ENGLISH = "eng_Latn"

_CODE = re.compile(r"(?:^|/)([a-z]{3}_[A-Z][a-z]{3})(?=/|$)")


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for placed in rows:
        row = placed.row
        language = _language(placed)
        subset = text(row.get("source") or row.get("subset"), "source")
        if not any(subset in section for section in SECTIONS.values()):
            raise DataError(f"source is {subset!r}; it must be a subset of RewardBench")
        add_pair(gathering, row, f"{language}/{subset}/{row.get('id', placed.number)}", subset=language, source=subset)


def _language(placed: PlacedRow) -> str:
    """Return the language that the path names; else that of the row."""
    named = _CODE.findall(placed.stem)
    return named[-1] if named else text(placed.row.get("language"), "language")


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the one comparison of ``item``; its category is language and subset.

    The translations of one pair rise and fall together: for intervals and tests they count as of one prompt.
    """
    pair = item.id.split("/", 2)[-1]
    return [
        replace(pair_outcome(item, 0, 1, category=f"{item.metadata['subset']}/{item.metadata['source']}"), prompt=pair)
    ]


def _parts(items: Sequence[ItemScore]) -> dict[str, Part]:
    here = {str(item.metadata["subset"]) for item in items}
    codes = sorted({*LANGUAGES, *here})
    by_language = {code: sections(f"{code}/", WEIGHTS) for code in codes}
    by_package = {code: mean_of(*sections(f"{code}/").values()) for code in codes if code != ENGLISH}
    whole = {code: mean_of(*each.values()) for code, each in by_language.items()}
    others = [code for code in whole if code != ENGLISH]
    score = mean_of(*(whole[code] for code in others))
    parts: dict[str, Part] = {"score": score, "score_reward_bench_weights": mean_of(*by_package.values())}
    parts |= {name: mean_of(*(by_language[code][name] for code in others)) for name in SECTIONS}
    parts |= {code: whole[code] for code in others}
    if ENGLISH in here:
        parts |= {"english": whole[ENGLISH], "gap_to_english": Difference(whole[ENGLISH], score)}
    return parts


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``."""
    found = category_metrics(items, decide, _parts(items))
    # The parts of the score are the languages by their official metrics, not by plain means over pairs.
    slices = {
        code: {"score": metric, **found.baselines.get(code, {})}
        for code in LANGUAGES
        if (metric := found.known(code)) is not None
    }
    found.slices = lowest_first(slices, "score")
    return found


M_REWARD_BENCH = declared(
    "m_reward_bench",
    read=_read,
    compute=metrics,
)
