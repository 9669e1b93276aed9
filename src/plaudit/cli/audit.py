"""``plaudit data audit``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from plaudit.cli.console import EXIT_FAILED_CHECK, interrupt_keeps, print_dropped, print_table
from plaudit.cli.options import ReadingOrSkipping, verb
from plaudit.errors import ConfigError, ModelError
from plaudit.outputs import check_file, is_page

if TYPE_CHECKING:
    from plaudit.data.audit.findings import AuditReport
    from plaudit.data.audit.length import Cut, Tokenize
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.reading.options import ReadingOptions
    from plaudit.data.schema.group_set import GroupSet

_CONFIGS = (".yaml", ".yml")


@verb
def audit(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|CONFIG",
            help="Data files, or the config of a training run or of a mixture.",
            show_default=False,
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="The other split; its prompts must not be in the data.", show_default=False),
    ] = None,
    benchmark_prompts: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Prompts that must not be in the data.", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="NAME", help="Folder or hub id of a tokenizer.", show_default="characters")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=1, help="Length that trainers cut prompt and response to, in tokens or characters.", show_default="none"
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Words, one a line, that no text should hold.", show_default="none"),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of audit.json and audit.html.")
    ] = Path("audit"),
    *,
    reading: ReadingOrSkipping,
    threshold: Annotated[
        float, typer.Option(help="Jaccard similarity from which two prompts are near duplicates.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="Seed of the signatures and of the folds.")] = 0,
    fail_on_alarm: Annotated[
        bool, typer.Option("--fail-on-alarm", help="Exit with 1 where there is an alarm.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are no audit.")] = False,
) -> None:
    """Look for what is wrong with preference data: repeats, leaks, shortcuts, wrong labels, contamination."""
    from plaudit.reports.audit import PAGE_NAME, RECORD_NAME, headline, write_audit

    for name, is_own in ((PAGE_NAME, is_page), (RECORD_NAME, _is_audit)):
        check_file(output / name, is_own=is_own, overwrite=overwrite)
    with interrupt_keeps("nothing was written"):
        cut = length_cut(tokenizer, max_length)
        groups, held_out = _sets(inputs, reading)
        other = _against(against or (), held_out, reading)
        report = _audited(groups, other, benchmark_prompts or (), cut, words=words, threshold=threshold, seed=seed)
        written = write_audit(report, output)
    print_findings(report)
    typer.echo(f"{headline(report)}\nwrote {written[0]} and {written[1]}")
    if fail_on_alarm and report.of("alarm"):
        raise typer.Exit(EXIT_FAILED_CHECK)


def _is_audit(path: Path) -> bool:
    from plaudit.data.audit.findings import AuditReport
    from plaudit.records import is_record

    return is_record(path, AuditReport)


def _audited(
    groups: GroupSet,
    other: GroupSet | None,
    benchmark_prompts: Sequence[Path],
    cut: Cut | None,
    *,
    words: Path | None,
    threshold: float,
    seed: int,
) -> AuditReport:
    """Return the report, after printing the rows left out of both sets."""
    from plaudit.data.audit.contamination import read_benchmark_prompts
    from plaudit.data.audit.reading import read_words
    from plaudit.data.audit.run import audit_groups

    prompts = [prompt for path in benchmark_prompts for prompt in read_benchmark_prompts(path)]
    for each in (groups, other):
        if each is not None:
            print_dropped(each.report)
    return audit_groups(
        groups,
        against=other,
        benchmark_prompts=prompts,
        cut=cut,
        words=() if words is None else read_words(words),
        threshold=threshold,
        seed=seed,
        say=lambda stage: typer.echo(f"{stage} …", err=True),
    )


def print_findings(report: AuditReport) -> None:
    """Print the alarms, then the notices, then the checks not judged."""
    for severity in ("alarm", "notice"):
        rows = [
            (finding.check, finding.summary, f"{finding.rate.value:.2%}", _ends(finding.rate.low, finding.rate.high))
            for finding in report.of(severity)
        ]
        print_table(f"{severity}s", ("check", "found", "share", "95 % interval"), rows, numbers=2)
    print_table("not judged", ("what", "why"), list(report.not_judged.items()))


def _ends(low: float, high: float) -> str:
    return f"{low:.2%} – {high:.2%}"


def _sets(inputs: Sequence[str], reading: ReadingOptions) -> tuple[GroupSet, GroupSet | None]:
    """Return the groups to audit, and those that the config holds out, if it says which.

    Raises:
        ConfigError: for a config among several inputs.
    """
    from plaudit.data.reading.read import read_groups

    if any(Path(name).suffix in _CONFIGS for name in inputs):
        if len(inputs) > 1:
            raise ConfigError("a config stands alone: name one config, or data files")
        return _configured(Path(inputs[0]))
    return read_groups(inputs, reading), None


def _configured(path: Path) -> tuple[GroupSet, GroupSet | None]:
    """Return the groups that a training config or a mixture trains on, and those that it holds out."""
    from plaudit.config import load_config
    from plaudit.data.mixing.mixture import is_mixture, mixture_config
    from plaudit.data.reading.read import load_files
    from plaudit.training.config import TrainConfig

    if is_mixture(path):
        return _mixed(mixture_config(str(path)))
    data = load_config(TrainConfig, path).data
    groups, apart = (load_files(data.train), None) if data.mixture is None else _mixed(mixture_config(data.mixture))
    return groups, load_files(data.held_out) if data.held_out else apart


def _mixed(config: MixtureConfig) -> tuple[GroupSet, GroupSet | None]:
    """Return the training set of a mixture, and all that it sets apart."""
    from plaudit.data.mixing.mixture import build_mixture
    from plaudit.data.schema.group_set import concatenate

    sets = dict(build_mixture(config).sets)
    groups = sets.pop("train")
    return groups, concatenate(list(sets.values())) if sets else None


def _against(files: Sequence[str], held_out: GroupSet | None, reading: ReadingOptions) -> GroupSet | None:
    """Return the groups of the other split: those of the files and those that the config holds out."""
    from plaudit.data.reading.read import read_groups
    from plaudit.data.schema.group_set import concatenate

    sets = [] if held_out is None else [held_out]
    if files:
        sets.append(read_groups(files, reading))
    return concatenate(sets) if sets else None


def length_cut(tokenizer: str | None, max_length: int | None) -> Cut | None:
    """Return the unit and the limit of lengths that the options name, or None where they name neither.

    Raises:
        ModelError: when the tokenizer cannot be loaded.
    """
    from plaudit.data.audit.length import Cut

    if tokenizer is None and max_length is None:
        return None
    tokenize = None if tokenizer is None else _tokenize(tokenizer)
    return Cut(max_length=max_length, tokenize=tokenize, tokenizer=tokenizer or "")


def _tokenize(name: str) -> Tokenize:
    """Return the tokenizer called ``name`` as a function from texts to ids.

    Raises:
        ModelError: when it cannot be loaded.
    """
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(f"the tokenizer {name!r} cannot be loaded: {reason}") from None

    def tokenize(texts: Sequence[str]) -> Sequence[Sequence[int]]:
        return loaded(list(texts), add_special_tokens=False, verbose=False)["input_ids"]

    return tokenize
