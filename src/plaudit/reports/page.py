"""Self-contained HTML pages: no script, no network, no other file. The page of runs, evaluations and stress tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from plaudit.errors import DataError
from plaudit.records import write_text
from plaudit.reports import tables
from plaudit.reports.inputs import Evaluation, Input, Run, StressTest, read_inputs
from plaudit.reports.leaderboards import leaderboard_sections, stress_leaderboards
from plaudit.reports.names import short_names
from plaudit.reports.sections import section
from plaudit.reports.stress import stress_section

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


def write_report(inputs: Sequence[Path], output: Path) -> Path:
    """Return ``output`` after writing one HTML page about every input, atomically.

    An input is the directory of a training run, of an evaluation or of a stress test, or a folder of such directories.
    Evaluations over the same data are put side by side: a leaderboard with the groups that cannot be told apart, and a
    heat map of the slices, the worst ones first; so are stress tests of the same data. Files missing in a directory
    is left out of the page, with a line that says so. The page loads nothing: plots are inline and there is no script.

    Raises:
        DataError: naming the file, when an input is none of these, or a file in it cannot be read.
        OutputError: when the page cannot be written.
    """
    if not inputs:
        raise DataError("a report needs at least one directory of a run, of an evaluation or of a stress test")
    read = [each for path in inputs for each in read_inputs(path)]
    write_text(output, render(read))
    return output


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
    environment.filters.update(FILTERS)
    return environment.get_template(template).render(**content)


def render(inputs: Sequence[Input]) -> str:
    """Return the page about ``inputs`` as HTML; equal inputs give equal text."""
    inputs = _named(inputs)
    results = [each for each in inputs if not isinstance(each, StressTest)]
    found = [each for each in inputs if isinstance(each, StressTest)]
    keys = [f"p{index}" for index in range(len(found))]
    sections = [section(read, f"s{index}") for index, read in enumerate(results)]
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
        max_columns=tables.MAX_COLUMNS,
    )


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
