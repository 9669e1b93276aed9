"""``plaudit quickstart``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from plaudit.cli.console import interrupt_keeps

GROUPS: dict[Literal["train", "held_out"], int] = {"train": 4000, "held_out": 500}


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(help="Seed of the world, and so of everything.")] = 0,
) -> None:
    """Train, test and explain a small reward model on a built-in world: offline, on a CPU, in minutes."""
    with interrupt_keeps(f"what was finished is in {out}; the same command starts over"):
        write_world(out / "data", seed=seed)


def write_world(folder: Path, *, seed: int) -> dict[Literal["train", "held_out"], Path]:
    """Return the files of the built-in world, written to ``folder``: one for each split."""
    from plaudit.data.write import write_groups
    from plaudit.worlds.world import World

    world = World(seed=seed)
    files = {split: folder / f"{split}.jsonl" for split in GROUPS}
    for split, count in GROUPS.items():
        written = write_groups(files[split], world.groups(count, responses=2, split=split))
        typer.echo(f"wrote {files[split]}: {written} groups of the built-in world")
    return files
