"""Names of models, data, metrics and baselines in print."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from plaudit.evaluation.official.catalog import CATALOG, benchmark_named
from plaudit.records import Measure, MetricText

Kind = Literal["share", "number"]
"""Format of a metric: a percentage, or a number."""


_NAMES: Mapping[str, Any] = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))


def _texts(table: str) -> dict[str, MetricText]:
    return {name: MetricText(**entry) for name, entry in _NAMES[table].items()}


PREFERENCE_METRICS = _texts("preference")
"""Metrics of preferences, by name."""

LABEL_METRICS = _texts("label")
"""Metrics of ranks, ratings, outcomes and steps, by name."""

OFFICIAL_METRICS = _texts("official")
"""Official metrics by name; others are proportions named after their part of the benchmark."""

BASELINES: Mapping[str, str] = _NAMES["baselines"]
"""Rules beside metrics, in words."""

OFFICIAL_BASELINES: Mapping[str, str] = _NAMES["official_baselines"]
"""Rules that stand beside official metrics only, in words."""

_BETWEEN_MODELS = re.compile(r"(https?://[^,]*|[,:])")
"""Separators of the models in a name; the address of a server is left whole."""
_LOCAL = ("/", "./", "../", "~/")
_FILE_ENDING = re.compile(r"\.(jsonl?|csv|parquet)(\.gz)?$")
_LONGEST_NAME = 48
"""Characters of a short name; the end says more than the beginning, so more of it is kept."""
_CHECKPOINT = "model"
"""Name of the folder of weights in the folder of a run; the run's name says more."""


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each of ``names`` a short one: of a path its last part, or as many as it takes to tell it apart.

    Names that are no path (of the hub, of a server, ``module:function``) stay as they are; in one that puts models
    together (``dpo:POLICY,REFERENCE``) each path is shortened. Where no part tells two names apart both stay whole. The
    name of a file goes without its ending, and of a long one the middle is left out, where it still tells apart.
    """
    parts = dict.fromkeys(names, 1)
    while True:
        short = {name: _shortened(name, count) for name, count in parts.items()}
        times = Counter(short.values())
        clashing = [name for name in parts if times[short[name]] > 1]
        longer = [name for name in clashing if _shortened(name, parts[name] + 1) != short[name]]
        if not longer:
            short |= {name: name for name in clashing}
            cut = {name: _without_middle(_FILE_ENDING.sub("", each)) for name, each in short.items()}
            return cut if len(set(cut.values())) == len(set(short.values())) else short
        for name in longer:
            parts[name] += 1


def _without_middle(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else f"{text[:12]}…{text[13 - _LONGEST_NAME :]}"


def _shortened(name: str, parts: int) -> str:
    return "".join(_last_parts(each, parts) for each in _BETWEEN_MODELS.split(name))


def _last_parts(text: str, parts: int) -> str:
    is_local = text.startswith(_LOCAL) or (text.count("/") > 1 and "://" not in text)
    is_local = is_local or bool(_FILE_ENDING.search(text))
    if not is_local:
        return text
    found = [part for part in text.split("/") if part not in ("", ".", "..", "~")]
    if len(found) > 1 and found[-1] == _CHECKPOINT:
        del found[-1]
    return "/".join(found[-parts:]) or text


def data_title(name: str) -> str:
    """Return the printed name of data: of a benchmark of the catalogue its title, else their own name."""
    return benchmark_named(name).title if name in CATALOG else name


def plain_words(name: str) -> str:
    """Return the name of a metric or a rule in words; one that data gave, as of a subset, stays as it is."""
    return name.replace("_", " ") if re.fullmatch(r"[a-z0-9_]+", name) else name


def measure_title(measure: Measure) -> str:
    """Return the kind of label of ``measure``, in words."""
    return _NAMES["titles"][measure.kind] if measure.attribute is None else f"Rating of {measure.attribute}"


def metric_text(measure: Measure, name: str | None = None) -> MetricText:
    """Return label and meaning of metric ``name`` of ``measure``, of the primary one if none is named."""
    name = measure.primary if name is None else name
    match measure.kind:
        case "benchmark":
            return official_text(name, measure.words)
        case "preference":
            known = PREFERENCE_METRICS.get(name)
        case _:
            known = LABEL_METRICS.get(name) or PREFERENCE_METRICS.get(name)
    return known or MetricText(label=plain_words(name), kind="number", meaning="")


def official_text(name: str, words: Mapping[str, MetricText]) -> MetricText:
    """Return label and meaning of a metric of a benchmark: in its own ``words``, else in those that all share."""
    known = words.get(name) or OFFICIAL_METRICS.get(name) or (None if words else _agreed(name))
    if known is not None:
        return known
    for ending, derived in _NAMES["derived"].items():
        if name.endswith(ending) and len(name) > len(ending):
            of = official_text(name.removesuffix(ending), words)
            return of.model_copy(update={"label": derived["label"].format(of.label), "meaning": derived["meaning"]})
    label = plain_words(name)
    label = label if re.match(r"gsm8k|gpt|claude", label) else label[:1].upper() + label[1:]
    return MetricText(label=label, kind="share", meaning="")


def _agreed(name: str) -> MetricText | None:
    """Return the words of every benchmark of the catalogue that has this metric, where they are the same.

    Results of plaudit 0.1 do not hold the words of their metrics.
    """
    found = [words[name] for each in CATALOG if name in (words := benchmark_named(each).words)]
    return found[0] if found and all(each == found[0] for each in found) else None


def baseline_words(rule: str) -> str:
    """Return a baseline in words."""
    return BASELINES.get(rule) or OFFICIAL_BASELINES.get(rule) or plain_words(rule)
