"""``plaudit compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import print_table, say
from plaudit.errors import ConfigError
from plaudit.outputs import check_file

if TYPE_CHECKING:
    from plaudit.evaluation.compare.models import Scored
    from plaudit.evaluation.compare.records import Family, ModelComparison, NotCompared, Tested, TestedMetric
    from plaudit.statistics.agreement import TieRule

_MAX_SLICES = 20
"""Most slices, or metrics of a family, that are printed; all are in the file that --output writes."""
_MAX_NAMES = 4
"""Most metrics named as tested in one way."""
_SIDES = ("A", "B", "A − B", "95 % interval")
_FAMILIES: dict[Family, str] = {
    "primary": "the official metric",
    "sections": "other official metrics",
    "subsets": "the official metric by subset",
    "further": "beside the official metrics",
    "steps": "metrics of step labels",
}


def compare(
    first: Annotated[Path, typer.Argument(metavar="RESULT_A", help="Folder of results.", show_default=False)],
    second: Annotated[
        Path, typer.Argument(metavar="RESULT_B", help="Folder of another model's results.", show_default=False)
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON file to write.", show_default="none"),
    ] = None,
    intersection: Annotated[
        bool, typer.Option("--intersection", help="Compare the items that both have, where they are not the same.")
    ] = False,
    tie_rule: Annotated[
        Literal["half", "loss", "exclude"] | None,
        typer.Option(help="What an exact tie counts as: half, wrong, or nothing.", show_default="that of the results"),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Level of the tests, after Holm's adjustment.")] = 0.05,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is no comparison.")] = False,
) -> None:
    """Test whether two models differ on the same items, paired, by prompt: by label, source and official metric."""
    from plaudit.evaluation.compare.models import compare as run_comparison
    from plaudit.evaluation.compare.models import read_scored
    from plaudit.evaluation.compare.records import ModelComparison
    from plaudit.records import is_record, write_record

    ours, theirs = read_scored(first), read_scored(second)
    if output is not None:
        check_file(output, is_own=lambda path: is_record(path, ModelComparison), overwrite=overwrite)
    found = run_comparison(
        ours, theirs, tie_rule=tie_rule or _common_rule(ours, theirs), intersection=intersection, alpha=alpha
    )
    if output is not None:
        write_record(output, found)
    print_comparison(found)
    if output is not None:
        say(f"wrote {output}")


def _common_rule(first: Scored, second: Scored) -> TieRule:
    """Return the tie rule of both results, that of the one which has one, or the default."""
    from plaudit.evaluation.metrics.preference import DEFAULT_TIE_RULE

    named = {each.result.tie_rule for each in (first, second) if each.result is not None}
    if len(named) > 1:
        raise ConfigError(f"the results count ties by different rules, {' and '.join(sorted(named))}: give --tie-rule")
    for rule in ("half", "loss", "exclude"):
        if rule in named:
            return rule
    return DEFAULT_TIE_RULE


def print_comparison(found: ModelComparison) -> None:
    """Print a comparison: the two models, every difference with its test, the items left out, and the verdict."""
    say(f"A = {found.first}\nB = {found.second}")
    for words in found.differs:
        say(f"not the same: {words}", fg=typer.colors.YELLOW, err=True)
    if found.overall:
        title = f"{found.name}: {found.items['compared']:,} items, ties count as {found.tie_rule}"
        _print_tested(title, [(row.kind, row) for row in found.overall])
    shown = found.slices[:_MAX_SLICES]
    several = len({row.kind for row in found.slices}) > 1
    labels = [(f"{row.kind}, " if several else "") + (row.slice or "(no source)") for row in shown]
    _print_tested("by source, the most certain difference first", list(zip(labels, shown, strict=True)))
    if len(found.slices) > len(shown):
        say(f"and {len(found.slices) - len(shown)} more sources: --output FILE writes all")
    _print_metrics(found)
    for kind, number in found.left_out.items():
        say(f"{kind}: {number:,} judgements left out, for a missing reward or an excluded tie")
    for kind, reason in found.not_compared.items():
        say(f"{kind}: not compared, because {reason}")
    for each in found.not_tested:
        values = [f"{side:.4f}" if side is not None else "none" for side in (each.first, each.second)]
        say(f"{each.name}: A {values[0]}, B {values[1]}; not tested: {each.reason}")
    _print_verdicts(found)


def _print_tested(title: str, rows: Sequence[tuple[str, Tested]]) -> None:
    columns = ("", *_SIDES, "A wins", "B wins", "neither", "p", "p (Holm)", "n", "prompts", "left out")
    cells = [
        [label, *_sides(row), *(f"{number:,}" for number in (row.wins, row.losses, row.draws)), *_tests(row)]
        for label, row in rows
    ]
    print_table(title, columns, cells, numbers=len(columns) - 1)


def _print_metrics(found: ModelComparison) -> None:
    columns = ("", *_SIDES, "p", "p (Holm)", "n", "prompts", "left out")
    for measure, family in dict.fromkeys((row.measure, row.family) for row in found.metrics):
        rows = [row for row in found.metrics if (row.measure, row.family) == (measure, family)]
        cells = [[row.name, *_sides(row), *_tests(row)] for row in rows[:_MAX_SLICES]]
        print_table(_FAMILIES[family], columns, cells, numbers=len(columns) - 1)
        if len(rows) > len(cells):
            say(f"and {len(rows) - len(cells)} more: --output FILE writes all")
    for measure, rule in dict.fromkeys((row.measure, row.tie_rule) for row in found.metrics):
        say(f"ties, {measure}: {rule}")
    for measure, test in dict.fromkeys((row.measure, row.test) for row in found.metrics):
        names = [row.name for row in found.metrics if (row.measure, row.test) == (measure, test)]
        shown = ", ".join(names[:_MAX_NAMES]) + (f" and {len(names) - _MAX_NAMES} more" * (len(names) > _MAX_NAMES))
        say(f"p of {shown}: {test}")


def _print_verdicts(found: ModelComparison) -> None:
    for row in found.overall:
        prefix = f"{row.kind}: " if len(found.overall) + len(found.metrics) > 1 else ""
        words = f"{prefix}{row.verdict}: {_size(row)}"
        if row.p_holm >= found.alpha and row.detectable is not None:
            words += f"; a true difference of {100 * row.detectable:.1f} would be found four times of five"
        say(words, bold=True)
    for row in found.metrics:
        if row.family in ("primary", "steps"):
            say(f"{row.name}: {row.verdict}: {_size(row)}", bold=True)


def _size(row: Tested | TestedMetric) -> str:
    ends = row.difference
    p = _p(row.p_holm)
    first_less_second = f"{_points(ends.value)} points, {_points(ends.low)} to {_points(ends.high)}"
    return f"the first less the second {first_less_second}, p {p if p.startswith('<') else f'= {p}'}"


def _sides(row: Tested | TestedMetric) -> list[str]:
    ends = f"{_points(row.difference.low)} to {_points(row.difference.high)}"
    return [*(f"{100 * value:.1f}" for value in (row.first, row.second)), _points(row.difference.value), ends]


def _tests(row: Tested | TestedMetric) -> list[str]:
    return [_p(row.p_value), _p(row.p_holm), f"{row.n:,}", f"{row.prompts:,}", _left_out(row.left_out)]


def _left_out(each: NotCompared) -> str:
    """Return the number left out, with those that one model only has after a plus: "3 + 40"."""
    only = each.first_only + each.second_only
    return f"{each.unmade:,}" + (f" + {only:,}" if only else "")


def _points(value: float) -> str:
    """Return a difference of shares in percentage points, with its sign and a true minus."""
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0.0 else text.replace("-", "−")


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
