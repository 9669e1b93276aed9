"""``plaudit data relabel``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import find_modules_here, interrupt_keeps, print_counts, progress_bar
from plaudit.cli.options import (
    AggregationOption,
    MaxTokensOption,
    ModelArgument,
    Reading,
    TrustOption,
    verb,
)
from plaudit.cli.score import parse_shard

if TYPE_CHECKING:
    from plaudit.labeling.relabel import RelabelRecord


@verb
def relabel(
    model: ModelArgument,
    input_path: Annotated[str, typer.Argument(metavar="INPUT", help="File of groups.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, .jsonl or .jsonl.gz.", show_default=False)
    ],
    labels: Annotated[
        Literal["hard", "soft"], typer.Option(help="The better response, or the probability that it is.")
    ] = "hard",
    temperature: Annotated[
        float | None,
        typer.Option(help="Divides reward differences, for soft labels; needed where these are no log-odds."),
    ] = None,
    pairs: Annotated[
        Literal["given", "all"], typer.Option(help="Pairs of the data, or every two responses.")
    ] = "given",
    attribute: Annotated[str, typer.Option(help="Rating that the rewards are written as.")] = "gold",
    keep_original: Annotated[
        bool, typer.Option("--keep-original", help="Write what the data said as ratings.")
    ] = False,
    *,
    reading: Reading,
    max_tokens: MaxTokensOption = None,
    aggregation: AggregationOption = None,
    trust_remote_code: TrustOption = False,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Relabel part I of N, from 0.")] = "0/1",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write anew where the output exists.")] = False,
) -> None:
    """Order the responses of INPUT by the rewards of MODEL; a run that was stopped goes on where it was."""
    part = parse_shard(shard)
    find_modules_here()

    from plaudit.labeling.relabel import RelabelRule, relabel_file

    rule = RelabelRule(labels, temperature, pairs, attribute, keep_original)
    kept = f"the rewards so far are kept beside {output}; the same command goes on from there"
    with interrupt_keeps(kept), progress_bar("scoring") as progress:
        record = relabel_file(
            model,
            input_path,
            output,
            rule=rule,
            reading=reading,
            max_tokens=max_tokens,
            aggregation=aggregation,
            trust_remote_code=trust_remote_code,
            shard=part,
            overwrite=overwrite,
            progress=progress,
        )
    print_relabelled(record, output)


def print_relabelled(record: RelabelRecord, output: Path) -> None:
    """Print a relabelling: every pair by kind, the agreement with its interval, the pairs without rewards."""
    counts = record.counts
    resumed = f", {record.resumed} of them scored by an earlier run" if record.resumed else ""
    typer.echo(f"wrote {output}: {counts.groups} groups{resumed}")
    kinds = {
        "as before": counts.agreed,
        "swapped": counts.swapped,
        "newly decided": counts.newly_decided,
        "ties": counts.ties,
        "without a reward": counts.unscored_pairs,
    }
    print_counts(f"{counts.pairs} pairs", {name: count for name, count in kinds.items() if count})
    found = counts.agreement
    if found is not None:
        span = f"{found.low:.3f}–{found.high:.3f}"
        typer.echo(f"agreement with the labels of the data: {found.value:.3f} ({span}, n = {found.n})")
    if counts.ranked:
        typer.echo(f"ranks: {counts.ranks_changed} of {counts.ranked} groups have another order")
    other = {"preferences beyond the first of their pair": counts.repeated, "margins": counts.margins_dropped}
    print_counts("not kept", {name: count for name, count in other.items() if count})
    print_counts("groups not scored", counts.unscored)
    print_counts("rows left out", record.dropped_rows)
