"""The sections of a report: a training run or an evaluation as words, tables and plots for the template."""

from __future__ import annotations

from typing import Any

from plaudit.records import Measure, RunRecord
from plaudit.reports import plots, tables
from plaudit.reports.best_of_n import curve_sections, table_plot
from plaudit.reports.inputs import Evaluation, Run
from plaudit.reports.leaderboards import style_matrix, styles_of
from plaudit.reports.names import data_title
from plaudit.reports.primary_metric import (
    caveats,
    official_measure,
    overview_rows,
    preference_sentences,
    primary_metric,
    sentences,
)


def section(read: Run | Evaluation, key: str) -> dict[str, Any]:
    """Return one input for the template; every id in it begins with ``key``."""
    run = read if isinstance(read, Run) else Run(read.directory, evaluations=(read,))
    record = run.record
    evaluations = [_evaluation_section(each, f"{key}e{index}") for index, each in enumerate(run.evaluations)]
    if isinstance(read, Run):
        head = ("Training run", record.name if record else run.directory.resolve().name, _run_facts(run))
    else:
        head = ("Evaluation", evaluations[0]["title"], evaluations[0]["facts"])
    return {
        "id": key,
        **dict(zip(("kind", "title", "facts"), head, strict=True)),
        "story": None if run.story is None else story_html(run.story),
        "training": plots.training_plots(run.metrics, key),
        "evaluations": evaluations,
        "best_of_n": run.best_of_n,
        "best_of_n_plot": None if run.best_of_n is None else table_plot(run.best_of_n, key),
        "details": _run_details(record) if record else [],
        "config": run.config,
        "missing": run.missing,
    }


def _evaluation_section(evaluation: Evaluation, key: str) -> dict[str, Any]:
    result = evaluation.result
    official = official_measure(result)
    return {
        "id": key,
        "title": data_title(result.name),
        "model": result.model,
        "primary": primary_metric(result),
        "sentences": sentences(result),
        "caveats": caveats(evaluation),
        "overview": overview_rows(result),
        "counts": tables.counts_sentence(result),
        "facts": [("Model", result.model), ("Date", tables.date_text(result.created))],
        "rests_on": _rests_on(evaluation),
        "official": None if official is None else _official(official, key),
        "preferences": [] if result.preference is None else preference_sentences(result),
        "position": "" if result.position is None else result.position.in_words(),
        "measures": [tables.measure_table(each) for each in result.measures if each is not official],
        "curves": curve_sections(result, key),
        "plots": plots.evaluation_plots(evaluation, key),
        "confident_errors": evaluation.confident_errors,
        "missing": evaluation.missing,
    }


def _official(measure: Measure, key: str) -> dict[str, Any]:
    """Return the official metrics of a benchmark: their table, the plot of the parts, the styles of RM-Bench."""
    matrix = style_matrix(measure)
    in_matrix = [name for name in measure.metrics if styles_of(name) is not None] if matrix is not None else []
    return {
        "table": tables.measure_table(measure, without=in_matrix),
        "matrix": matrix,
        "plot": plots.slice_plot(measure, name=f"{key}-official"),
    }


def _rests_on(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the names and hashes of model, data and recipe."""
    result = evaluation.result
    return [
        ("model", evaluation.model or result.model),
        ("data", result.name),
        ("data fingerprint", result.data_fingerprint or ""),
        ("scoring recipe", result.recipe_hash or ""),
        ("versions", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
    ]


def _run_facts(run: Run) -> list[tuple[str, str]]:
    model = run.evaluations[0].result.model if run.evaluations else ""
    facts = [("Model", model)]
    if run.record is not None:
        record = run.record
        took = "" if record.seconds is None else f" in {_duration(record.seconds)}"
        facts += [
            ("Data", ", ".join(record.data)),
            ("Date", tables.date_text(record.created)),
            ("Status", record.status + took),
            ("Device", record.device if record.processes == 1 else f"{record.processes} × {record.device}"),
        ]
    return facts


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


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def story_html(text: str) -> Any:
    """Return Markdown as safe HTML: raw HTML in it is shown as text, and images are not loaded."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))
