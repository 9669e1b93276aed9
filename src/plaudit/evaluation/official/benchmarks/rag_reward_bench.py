"""RAG-RewardBench: pairs of answers from retrieved documents.

Accuracy per scenario, the name of its file (``reason``, ``citation`` and so on); ``score`` is over all pairs, ``macro``
the mean of the scenarios. ``chosen`` and ``rejected`` may be texts, or conversations whose last turn is the response.
Rows have a ``subset`` too, the data set a question is from, of which there are 18: it stands in for the scenario only
where the file does not name one, as on the hub, where all rows are one split.

Source: Jin et al. (2024), arXiv 2412.13746, with the list of files of the data set on the hub. The official code could
not be had: the rule for ties is that of RewardBench.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from plaudit.data.reading.sources.fields import found, is_list, required, text
from plaudit.data.schema.group import Message
from plaudit.errors import DataError
from plaudit.evaluation.metrics.composite import ComparisonOutcome, Part, category_metrics, mean_of, pair_outcome
from plaudit.evaluation.metrics.metric_set import MetricSet
from plaudit.evaluation.official.benchmark import Gathering, declared
from plaudit.evaluation.official.files import PlacedRow, prompt_of, turns_of
from plaudit.records import ItemScore

ROWS = 1485
SCENARIOS = ("abstain", "citation", "conflict", "harmless", "helpful", "reason")
"""Names of the official files."""

_ALL_SCENARIOS = "all scenarios"
_PROMPTS = ("prompt", "question", "query", "instruction", "input")


def _read(rows: Iterator[PlacedRow], gathering: Gathering) -> None:
    for number, placed in enumerate(rows, start=1):
        row = placed.row
        file = placed.stem.split("/")[-1]
        scenario = file if file in SCENARIOS else text(row.get("subset") or file, "subset")
        sides = [_response(required(row, name), name) for name in ("chosen", "rejected")]
        before = sides[0][0]
        if before != sides[1][0]:
            raise DataError("chosen and rejected are conversations that differ before the last turn")
        gathering.add(
            f"{scenario}/{row.get('id', number)}",
            subset=_ALL_SCENARIOS,
            prompt=before or _prompt(row),
            responses=[response for _, response in sides],
            preferences=[(0, 1)],
            facts={"scenario": scenario},
        )


def _response(value: object, name: str) -> tuple[list[Message], str]:
    """Return the text before the response, where that is given, and the response."""
    if not is_list(value):
        return [], text(value, name)
    messages = turns_of(value, name)
    if not messages or messages[-1].role != "assistant":
        raise DataError(f"{name} is {found(value)}; a conversation must end in an assistant turn")
    return messages[:-1], messages[-1].content


def _prompt(row: Mapping[str, object]) -> str | list[Message]:
    name = next((name for name in _PROMPTS if row.get(name) is not None), None)
    if name is None:
        raise DataError(f"the row has no prompt: none of {', '.join(_PROMPTS)}; it has: {', '.join(map(str, row))}")
    return prompt_of(row[name])


def _scenario(item: ItemScore) -> str:
    return str(item.metadata["scenario"])


def decide(item: ItemScore) -> list[ComparisonOutcome]:
    """Return the one comparison of ``item``; its category is the scenario."""
    return [pair_outcome(item, 0, 1, category=_scenario(item))]


def metrics(items: Sequence[ItemScore]) -> MetricSet:
    """Return the official metrics of ``items``."""
    scenarios = sorted({_scenario(item) for item in items})
    parts: dict[str, Part] = {"score": tuple(scenarios), "macro": mean_of(*scenarios)}
    return category_metrics(items, decide, parts | {name: name for name in scenarios}, slice_of=_scenario)


RAG_REWARD_BENCH = declared("rag_reward_bench", read=_read, compute=metrics)
