"""``plaudit best``: best-of-n selection."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from plaudit.cli.console import (
    find_modules_here,
    interrupt_keeps,
    is_stream,
    print_counts,
    print_dropped,
    progress_bar,
)
from plaudit.cli.options import Bundle, InputArgument, ModelArgument, ModelChanges, Reading, verb
from plaudit.journal import check_new, check_output, locked

if TYPE_CHECKING:
    from plaudit.data.schema.group import Group
    from plaudit.scoring.scorer import GroupRewards


@verb
def best(
    model: ModelArgument,
    input_path: InputArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write, or - for standard output.", show_default=False)
    ],
    *,
    reading: Reading,
    changes: Annotated[ModelChanges, Bundle(ModelChanges)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start again where the output exists.")] = False,
) -> None:
    """Keep of every group of INPUT the response that MODEL rewards most, with its reward and its lead.

    Of equal rewards the first response is kept. A run that was stopped goes on where it was.
    """
    find_modules_here()
    if not is_stream(output):
        check_output(output, source=input_path, overwrite=overwrite)

    from plaudit.data.reading.read import read_groups
    from plaudit.records import replacing
    from plaudit.scoring.files import read_rewards, score_file

    counts, truncated = Counter[str](), Counter[str]()
    groups = read_groups(input_path, reading)
    print_dropped(groups.report)
    scorer = changes.load(model)
    if is_stream(output):
        for line in _lines(zip(groups, scorer.score_groups(groups), strict=True), counts):
            typer.echo(line)
    else:
        rewards = output.with_name(f"{output.name}.rewards")
        kept = f"the rewards so far are kept beside {output}; the same command goes on from there"
        with locked(output), interrupt_keeps(kept), progress_bar("scoring") as progress:
            check_new(output, overwrite=overwrite)  # another process may have written it meanwhile
            report = score_file(scorer, groups, rewards, model=model, progress=progress, overwrite=overwrite)
            truncated.update(report.truncated)
            with replacing(output) as target:
                _write(target, _lines(zip(groups, read_rewards(rewards), strict=True), counts))
            rewards.unlink()
    left_out = {reason: count for reason, count in counts.items() if reason not in ("kept", "ties", "missing")}
    where = "" if is_stream(output) else f"wrote {output}: "
    to_stderr = is_stream(output)
    typer.echo(f"{where}the best response of {counts['kept']} of {len(groups)} groups", err=to_stderr)
    if counts["ties"]:
        typer.echo(f"{counts['ties']} of them are ties, of which the first was kept", err=to_stderr)
    if counts["missing"]:
        typer.echo(f"{counts['missing']} responses of these groups have no reward and took no part", err=to_stderr)
    print_counts("groups left out", left_out, err=to_stderr)
    print_counts("truncated, of what this run scored", {name: n for name, n in truncated.items() if n}, err=to_stderr)


def _write(file: IO[bytes], lines: Iterable[str]) -> None:
    for line in lines:
        file.write(line.encode() + b"\n")


def _lines(scored: Iterable[tuple[Group, GroupRewards]], counts: Counter[str]) -> Iterator[str]:
    """Yield the JSON line of each group that has a reward; count kept groups, ties, and by reason those left out."""
    for group, rewards in scored:
        row = best_row(group, rewards)
        if row is None:
            counts[(rewards.reason or "no reward").split(":")[0]] += 1
            continue
        counts["kept"] += 1
        counts["ties"] += row.get("ties", 0) > 0
        counts["missing"] += row.get("missing", 0)
        yield json.dumps(row, ensure_ascii=False)


def best_row(group: Group, rewards: GroupRewards) -> dict[str, Any] | None:
    """Return the best response of a group as a row; None where no response has a reward.

    ``margin`` is its lead over the next best, null where it has no rival with a reward; ``ties`` the number of others
    with the same reward, ``missing`` of those without one, each where there are some.
    """
    known = [(reward, place) for place, reward in enumerate(rewards.rewards) if reward is not None]
    if not known:
        return None
    reward, place = max(known, key=lambda each: (each[0], -each[1]))
    others = [each for each, other in known if other != place]
    ties, missing = others.count(reward), len(rewards.rewards) - len(known)
    row = {
        "id": group.id,
        "prompt": [{"role": message.role, "content": message.content} for message in group.prompt],
        "response": group.responses[place],
        "index": place,
        "reward": reward,
        "margin": reward - max(others) if others else None,
    }
    return row | ({"ties": ties} if ties else {}) | ({"missing": missing} if missing else {})
