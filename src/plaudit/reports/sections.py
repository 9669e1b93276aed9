"""The sections of a report: what was read, turned into the words and tables that the template lays out."""

from __future__ import annotations

from typing import Any

from plaudit.evaluation.metrics.best_of_n import BestOfN
from plaudit.evaluation.store.confident_errors import SurprisingPair, SurprisingPairs
from plaudit.records import Measure, Result, RunRecord
from plaudit.reports import gallery, tables
from plaudit.reports.caveats import caveats
from plaudit.reports.curves import curve_sections
from plaudit.reports.heat import style_matrix, styles_of
from plaudit.reports.hero import headline_sentences, hero, official_measure, overview_rows
from plaudit.reports.inputs import Evaluation, Run
from plaudit.reports.measures import measure_sentences, measure_table
from plaudit.reports.names import data_title
from plaudit.reports.sureness import sureness_plots


def section(read: Run | Evaluation, key: str) -> dict[str, Any]:
    """Return what the template needs about one input; every id in it begins with ``key``."""
    if isinstance(read, Run):
        return _run_section(read, key)
    evaluation = _evaluation_section(read, f"{key}e0")
    return {
        "id": key,
        "kind": "Evaluation",
        "title": evaluation["title"],
        "facts": _result_facts(read.result),
        "story": None,
        "training": [],
        "evaluations": [evaluation],
        "best_of_n": None,
        "details": [],
        "config": None,
        "missing": [],
    }


def _run_section(run: Run, key: str) -> dict[str, Any]:
    record = run.record
    evaluations = [
        _evaluation_section(evaluation, f"{key}e{index}") for index, evaluation in enumerate(run.evaluations)
    ]
    return {
        "id": key,
        "kind": "Training run",
        "title": record.name if record else run.directory.resolve().name,
        "facts": _run_facts(run),
        "story": None if run.story is None else story_html(run.story),
        "training": gallery.training_plots(run.metrics, key),
        "evaluations": evaluations,
        "best_of_n": None if run.best_of_n is None else _best_of_n(run.best_of_n, key),
        "details": _run_details(record) if record else [],
        "config": run.config,
        "missing": list(run.missing),
    }


def _evaluation_section(evaluation: Evaluation, key: str) -> dict[str, Any]:
    result = evaluation.result
    official = official_measure(result)
    said = headline_sentences(result)
    others = [each for each in result.measures if each is not official]
    figures = {**result.figures, **tables.position_figures(result.position)}
    return {
        "id": key,
        "title": data_title(result.name),
        "model": result.model,
        "hero": hero(result),
        "sentences": [] if official is not None else [*said, *measure_sentences(result)],
        "caveats": caveats(evaluation),
        "overview": overview_rows(result),
        "counts": tables.counts_sentence(result),
        "facts": _result_facts(result),
        "rests_on": _rests_on(evaluation),
        "official": None if official is None else _official(official, key),
        "preferences": said if official is not None and result.figures else [],
        "figures": tables.figure_rows(figures, result.absent if figures else {}, result.rules),
        "baselines": tables.baseline_rows(result.baselines),
        "methods": sorted({interval.method for interval in result.figures.values()}),
        "confidence": next((f"{100 * each.confidence:g}%" for each in result.figures.values()), "95%"),
        "slices": tables.slice_rows(result.slices),
        "measures": [measure_table(each) for each in others],
        "curves": curve_sections(result, key),
        "plots": [*gallery.evaluation_plots(evaluation, key), *sureness_plots(result, key)],
        "surprising": None if evaluation.surprising is None else _surprising(evaluation.surprising),
        "missing": list(evaluation.missing),
    }


def _official(measure: Measure, key: str) -> dict[str, Any]:
    """Return the official figures of a benchmark: their table, the plot of the parts, the styles of RM-Bench."""
    matrix = style_matrix(measure)
    in_matrix = [name for name in measure.figures if styles_of(name) is not None] if matrix is not None else []
    return {
        "table": measure_table(measure, without=in_matrix),
        "matrix": matrix,
        "plots": gallery.official_plots(measure, f"{key}-official"),
    }


def _best_of_n(table: BestOfN, key: str) -> dict[str, Any]:
    last = table.rows[-1] if table.rows else None
    sentence = ""
    if last is not None:
        sentence = (
            f"Choosing the best of {last.n} responses by this model's reward reaches a gold reward of "
            f"{tables.number(last.chosen.value)}; the best possible choice "
            f"{tables.number(last.oracle.value)}, a random one {tables.number(last.mean.value)}."
        )
    return {
        "sentence": sentence,
        "gold": table.gold,
        "groups": f"{table.groups:,}",
        "left_out": f"{table.left_out:,}",
        "plot": gallery.best_of_n_plot(table, key),
        "rows": [
            {
                "n": row.n,
                **{
                    side: (tables.number(found.value), tables.interval_text(found, "number"))
                    for side, found in (("chosen", row.chosen), ("oracle", row.oracle), ("mean", row.mean))
                },
            }
            for row in table.rows
        ],
    }


def _surprising(found: SurprisingPairs) -> dict[str, Any]:
    return {
        "max_characters": f"{found.max_characters:,}",
        "pairs": [_surprising_pair(pair) for pair in found.pairs],
    }


def _surprising_pair(pair: SurprisingPair) -> dict[str, Any]:
    return {
        "id": pair.id,
        "source": pair.source,
        "prompt": pair.prompt,
        "prompt_length": f"{pair.prompt_length:,}",
        "margin": tables.number(pair.chosen_reward - pair.rejected_reward),
        "sides": [
            (
                "chosen",
                "Preferred",
                pair.chosen,
                tables.number(pair.chosen_reward),
                f"{pair.chosen_length:,}",
            ),
            (
                "rejected",
                "Not preferred",
                pair.rejected,
                tables.number(pair.rejected_reward),
                f"{pair.rejected_length:,}",
            ),
        ],
    }


def _result_facts(result: Result) -> list[tuple[str, str]]:
    return [(label, value) for label, value in (("Model", result.model), ("Date", _date(result.created))) if value]


def _rests_on(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return what names model, data and recipe exactly."""
    result = evaluation.result
    rows = [
        ("model", evaluation.model or result.model),
        ("data", result.name),
        ("data fingerprint", result.data_fingerprint or ""),
        ("scoring recipe", result.recipe_hash or ""),
        ("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
    ]
    return [(label, value) for label, value in rows if value]


def _run_facts(run: Run) -> list[tuple[str, str]]:
    model = run.evaluations[0].result.model if run.evaluations else ""
    facts = [("Model", model)]
    if run.record is not None:
        record = run.record
        took = "" if record.seconds is None else f" in {_duration(record.seconds)}"
        facts += [
            ("Data", ", ".join(record.data)),
            ("Date", _date(record.created)),
            ("Status", record.status + took),
            ("Device", record.device if record.processes == 1 else f"{record.processes} × {record.device}"),
        ]
    return [(label, value) for label, value in facts if value]


def _run_details(record: RunRecord) -> list[tuple[str, str]]:
    commit = (
        None if record.commit is None else record.commit[:12] + (" with uncommitted changes" if record.dirty else "")
    )
    rows = [("seed", str(record.seed)), ("commit", commit or "not in a repository")]
    rows += [(f"data: {name}", words) for name, words in tables.dropped_rows(record.data)]
    rows += [
        (f"model: {name.replace('_', ' ')}", f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in record.model.items()
    ]
    rows.append(("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())))
    return rows


def _date(created: str) -> str:
    return created[:16].replace("T", " ") + " UTC" if len(created) >= 16 else created


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def story_html(text: str) -> Any:
    """Return Markdown as safe HTML: raw HTML in it is shown as text, and images are not loaded."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))
