"""Self-contained HTML pages: no network and no other file. The page of runs, evaluations and stress tests."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from plaudit.errors import DataError
from plaudit.evaluation.stress.robustness import StressReport
from plaudit.records import Measure, RunRecord, write_text
from plaudit.reports import plots, tables
from plaudit.reports.best_of_n import curve_sections, table_plot
from plaudit.reports.inputs import Evaluation, Input, Run, StressTest, read_inputs
from plaudit.reports.items import MAX_BYTES, item_browser
from plaudit.reports.leaderboards import leaderboard_sections, stress_leaderboards, style_matrix, styles_of
from plaudit.reports.names import data_title, short_names
from plaudit.reports.primary_metric import (
    Caveat,
    caveats,
    official_measure,
    overview_rows,
    preference_sentences,
    primary_metric,
    verdict,
)
from plaudit.reports.stress import stress_section
from plaudit.reports.style import Plot

FILTERS: dict[str, Any] = {
    "share": tables.share,
    "number": tables.number,
    "signed": tables.signed_text,
    "signed_number": tables.signed_number,
    "ends": tables.interval_text,
    "signed_ends": tables.signed_interval,
    "p_value": tables.p_value_text,
    "fine_share": tables.fine_share,
    "fine_ends": tables.fine_ends,
    "count": "{:,}".format,
}
"""Formats of numbers in templates."""
_NAMED_MODELS = 2
"""Most models named in the title of a page."""
MAX_RUNS = 5
"""Most runs in one plot of training curves."""


def write_report(
    inputs: str | Path | Sequence[str | Path], output: str | Path, *, data: Sequence[str | Path] = ()
) -> Path:
    """Return ``output`` after writing one HTML page about every input, atomically.

    An input is the directory of a training run, of an evaluation or of a stress test, or a folder of such directories.
    Evaluations over the same data are put side by side: a leaderboard with the groups that cannot be told apart, and a
    heat map of the slices, the worst ones first; so are stress tests of the same data. A file missing in a directory is
    left out of the page, with a line that says so. The browser of items shows the texts that the files of ``data``, or
    the held-out groups of a run, hold. The page loads nothing: plots, style and script are inline, and
    without the script every number is still there.

    Raises:
        DataError: naming the file, when an input is none of these, or a file in it cannot be read.
        OutputError: when the page cannot be written.
    """
    if not inputs:
        raise DataError("a report needs at least one directory of a run, of an evaluation or of a stress test")
    folders = [inputs] if isinstance(inputs, str | Path) else inputs
    read = [each for path in folders for each in read_inputs(Path(path), [(Path(file), "auto") for file in data])]
    page = Path(output)
    write_text(page, render(read))
    return page


def render_page(template: str, **content: Any) -> str:
    """Return a page of the report as HTML: ``template`` fills the shell that all pages share."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("plaudit.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS | {"anchored": _anchored, "headings": _headings})
    return environment.get_template(template).render(**content)


_HEADING = re.compile(r"<h([23])(?: id=\"([^\"]*)\")?>(.*?)</h\1>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")


def _anchored(body: str) -> Markup:
    """Return ``body`` with an id in every heading, those without one by their place."""
    places = itertools.count(1)
    return Markup(
        _HEADING.sub(
            lambda found: found[0] if found[2] else f'<h{found[1]} id="h{next(places)}">{found[3]}</h{found[1]}>', body
        )
    )


def _headings(body: str) -> list[tuple[str, str, Markup]]:
    """Return the headings of ``body``: level, id and words."""
    return [(level, key, Markup(_TAG.sub("", words))) for level, key, words in _HEADING.findall(body)]


def render(inputs: Sequence[Input]) -> str:
    """Return the page about ``inputs`` as HTML; equal inputs give equal text."""
    inputs = _named(inputs)
    results = [each for each in inputs if not isinstance(each, StressTest)]
    found = [each for each in inputs if isinstance(each, StressTest)]
    keys = [f"p{index}" for index in range(len(found))]
    count = sum(len(each.evaluations) if isinstance(each, Run) else 1 for each in results)
    room = MAX_BYTES // max(count, 1)
    sections = [section(read, f"s{index}", room) for index, read in enumerate(results)]
    tests = [stress_section(test, key) for test, key in zip(found, keys, strict=True)]
    read = [each for part in results for each in (part.evaluations if isinstance(part, Run) else (part,))]
    every = [evaluation for part in sections for evaluation in part["evaluations"]]
    # Evaluations on the same data stand together, in the order of the first one.
    titles = [each["title"] for each in every]
    every.sort(key=lambda each: titles.index(each["title"]))
    leaders = leaderboard_sections(read)
    return render_page(
        "page.html.j2",
        **_header(inputs, sections, tests, leaders),
        sections=sections,
        stress_tests=tests,
        summary=every if len(every) > 1 else [],
        leaderboards=leaders,
        stress_leaderboards=stress_leaderboards(found, keys),
        several=len(inputs) > 1,
        warnings=data_warnings(inputs),
        curves=_curves(results),
        max_columns=tables.MAX_COLUMNS,
    )


def _curves(results: Sequence[Run | Evaluation]) -> list[Plot]:
    """Return the training curves of several runs in common plots; none where only one has any."""
    runs = [each for each in results if isinstance(each, Run) and each.metrics][:MAX_RUNS]
    if len(runs) < 2:
        return []
    folders = short_names(str(each.directory) for each in runs)
    titles = Counter(_run_title(each) for each in runs)
    named = {
        _run_title(each) if titles[_run_title(each)] == 1 else folders[str(each.directory)]: each.metrics
        for each in runs
    }
    return plots.training_plots(named, "t")


def data_warnings(inputs: Sequence[Input]) -> list[Caveat]:
    """Return a caveat for each data set of one name that is not the same data in all of ``inputs``.

    By its fingerprint; by its size where one has no fingerprint. Loud where models are evaluated on it: numbers over
    different items say nothing of the models.
    """
    found: dict[tuple[bool, str], list[tuple[str | None, int, str]]] = {}
    for each in inputs:
        for part in each.evaluations if isinstance(each, Run) else (each,):
            known = part.report if isinstance(part, StressTest) else part.result
            size = known.groups if isinstance(known, StressReport) else known.n
            found.setdefault((True, data_title(known.name)), []).append((known.data_fingerprint, size, known.model))
        if isinstance(each, Run) and each.record is not None and "train" in each.record.data:
            facts = each.record.data["train"]
            row = (facts.get("fingerprint"), facts.get("groups", 0), _run_title(each))
            found.setdefault((False, "train"), []).append(row)
    warnings = []
    for (evaluated, name), rows in found.items():
        whole = all(fingerprint for fingerprint, _, _ in rows)
        sides: dict[str, str] = {}
        for fingerprint, size, who in rows:
            side = f"fingerprint {fingerprint[:8]}" if whole and fingerprint else ""
            sides.setdefault(side or str(size), f"{who} on {size:,} items{f' ({side})' if side else ''}")
        if len(sides) > 1:
            lead = f"“{name}” is not the same data everywhere." if evaluated else "The training data differ."
            listed = "; ".join(sides.values())
            words = f"{listed}. Compare no numbers across them." if evaluated else f"{listed}."
            warnings.append(Caveat(lead, words, loud=evaluated))
    return sorted(warnings, key=lambda each: not each.loud)


def _run_title(run: Run) -> str:
    return run.record.name if run.record else run.directory.resolve().name


def _named(inputs: Sequence[Input]) -> list[Input]:
    """Return the inputs with short names of their models, which are still told apart; evaluations keep the whole."""
    short = short_names(sorted({name for each in inputs for name in _models(each)}))

    def evaluation(each: Evaluation) -> Evaluation:
        model = each.result.model
        return replace(each, result=each.result.model_copy(update={"model": short[model]}), model=model)

    named: list[Input] = []
    for each in inputs:
        match each:
            case StressTest():
                report = each.report.model_copy(update={"model": short[each.report.model]})
                named.append(replace(each, report=report))
            case Evaluation():
                named.append(evaluation(each))
            case Run():
                named.append(replace(each, evaluations=tuple(map(evaluation, each.evaluations))))
    return named


def _header(
    inputs: Sequence[Input],
    sections: Sequence[dict[str, Any]],
    tests: Sequence[dict[str, Any]],
    leaders: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return the head of the page: its ``kind``, ``title`` and ``facts``, and the ``contents`` of one of several."""
    if len(inputs) == 1:
        only = sections[0] if sections else tests[0]
        kind = f"{only['kind'] if sections else 'Stress test'} of a reward model"
        return {"kind": kind, "title": only["title"], "page_title": "", "head_facts": only["facts"], "contents": []}
    models = list(dict.fromkeys(name for each in inputs for name in _models(each)))
    summed = sum(len(each["evaluations"]) for each in sections) > 1
    contents = [(each["id"], f"Leaderboard: {each['title']}", "") for each in leaders]
    for each in sections:
        of = f" of {each['evaluations'][0]['model']}" if len(models) > 1 and each["evaluations"] else ""
        contents.append((each["id"], f"{each['kind']}{of}: {each['title']}", "" if summed else _primary_metrics(each)))
    for each in tests:
        of = "" if len(models) == 1 else f" of {each['model']}"
        contents.append((each["id"], f"Stress test{of}: {each['title']}", " ".join(each["sentences"])))
    header: dict[str, Any] = {"page_title": "", "head_facts": [], "contents": contents}
    if len(models) == 1:
        measured = f"One reward model, measured{' and stress-tested' if tests else ''}"
        return header | {"kind": measured if sections else "Stress tests of one reward model", "title": models[0]}
    data = list(dict.fromkeys(each["title"] for each in (*sections, *tests)))
    named = " and ".join(models) if len(models) <= _NAMED_MODELS else f"{len(models)} reward models"
    title = f"{named} on {data[0]}" if len(data) == 1 else named
    return header | {"kind": "Reward models, side by side", "title": title}


def _primary_metrics(part: dict[str, Any]) -> str:
    """Return the primary metric of each evaluation of a section, in words."""
    found = [each for each in part["evaluations"] if each["primary"] is not None]
    said = []
    for each in found:
        on = "" if len(found) == 1 and each["title"] == part["title"] else f" on {each['title']}"
        metric = each["primary"]
        said.append(f"{metric.label} {metric.value}{on} ({metric.confidence} interval {metric.interval})")
    return f"{'; '.join(said)}." if said else ""


def _models(read: Input) -> set[str]:
    """Return the models of ``read``; of a run without evaluations, the name of its folder."""
    match read:
        case StressTest():
            return {read.report.model}
        case Evaluation():
            return {read.result.model}
        case Run():
            return {each.result.model for each in read.evaluations} or {read.directory.resolve().name}


def section(read: Run | Evaluation, key: str, max_bytes: int) -> dict[str, Any]:
    """Return one input for the template: ids begin with ``key``, the items of an evaluation take ``max_bytes``."""
    run = read if isinstance(read, Run) else Run(read.directory, evaluations=(read,))
    record = run.record
    evaluations = [_evaluation_section(each, f"{key}e{index}", max_bytes) for index, each in enumerate(run.evaluations)]
    if isinstance(read, Run):
        head = ("Training run", _run_title(run), _run_facts(run))
    else:
        head = ("Evaluation", evaluations[0]["title"], evaluations[0]["facts"])
    return {
        "id": key,
        **dict(zip(("kind", "title", "facts"), head, strict=True)),
        "story": None if run.story is None else story_html(run.story),
        "training": plots.training_plots({"": run.metrics}, key),
        "training_details": plots.training_details(run.metrics, key),
        "evaluations": evaluations,
        "best_of_n": run.best_of_n,
        "best_of_n_plot": None if run.best_of_n is None else table_plot(run.best_of_n, key),
        "details": _run_details(record) if record else [],
        "record": None if record is None else record.model_dump_json(indent=2),
        "config": run.config,
        "missing": run.missing,
    }


def _evaluation_section(evaluation: Evaluation, key: str, max_bytes: int) -> dict[str, Any]:
    result = evaluation.result
    official = official_measure(result)
    return {
        "id": key,
        "title": data_title(result.name),
        "model": result.model,
        "primary": primary_metric(result),
        "verdict": verdict(result),
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
        "browser": item_browser(evaluation.items, evaluation.texts, max_bytes=max_bytes),
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
        ("Model", evaluation.model or result.model),
        ("Data", result.name),
        ("Data fingerprint", result.data_fingerprint or ""),
        ("Scoring recipe", result.recipe_hash or ""),
        ("Versions", tables.versions_text(result.versions)),
    ]


def _run_facts(run: Run) -> list[tuple[str, str]]:
    model = run.evaluations[0].result.model if run.evaluations else ""
    facts = [("Model", model)]
    if run.record is not None:
        record = run.record
        took = "" if record.seconds is None else f" in {tables.duration_text(record.seconds)}"
        facts += [
            ("Data", ", ".join(record.data)),
            ("Date", tables.date_text(record.created)),
            ("Status", record.status + took),
            ("Device", record.device if record.processes == 1 else f"{record.processes} × {record.device}"),
        ]
    return facts


def _run_details(record: RunRecord) -> list[tuple[str, str]]:
    commit = "not in a repository" if record.commit is None else record.commit[:12]
    return [
        *((f"Data: {name.replace('_', ' ')}", tables.data_words(facts)) for name, facts in record.data.items()),
        *tables.model_words(record.model),
        ("Seed", str(record.seed)),
        ("Commit", f"{commit}, with uncommitted changes" if record.dirty else commit),
        ("Versions", tables.versions_text(record.versions)),
    ]


def story_html(text: str) -> Any:
    """Return Markdown as safe HTML: raw HTML in it is shown as text, and images are not loaded."""
    from markdown_it import MarkdownIt

    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(text))
