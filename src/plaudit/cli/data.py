"""``plaudit data show``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.console import print_table
from plaudit.data.sources.formats import FormatChoice

if TYPE_CHECKING:
    from plaudit.data.group import Group
    from plaudit.data.group_set import GroupSet

app = typer.Typer(help="Look at data before training on it.")
LARGEST_SOURCES = 30


@app.callback()
def data() -> None:
    """Look at data before training on it."""


@dataclass
class Contents:
    """How many groups carry each label, come from each source and have K responses."""

    labels: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)

    @classmethod
    def of(cls, groups: Iterable[Group]) -> Contents:
        """Return the contents of ``groups``; a group counts once for each label that it carries."""
        found = cls()
        for group in groups:
            found.sources[group.source or "(none)"] += 1
            found.sizes[len(group.responses)] += 1
            found.labels.update(labels_of(group) or ["no label"])
        return found


def labels_of(group: Group) -> list[str]:
    """Return the kinds of label that ``group`` carries, each once; a rating by its attribute."""
    kinds = {
        "preferences": bool(group.preferences),
        "preferences with a margin": any(each.margin is not None for each in group.preferences),
        "preferences with a probability": any(each.probability is not None for each in group.preferences),
        "ranks": any(rank is not None for rank in group.ranks or ()),
        "outcomes": any(outcome is not None for outcome in group.outcomes or ()),
        "steps": any(steps for steps in group.steps or ()),
    }
    rated = [name for name, values in group.ratings.items() if any(value is not None for value in values)]
    return [kind for kind, is_there in kinds.items() if is_there] + [f"rating {name}" for name in rated]


@app.command()
def show(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="PATH|CONFIG", help="Data files, or training configs.", show_default=False),
    ],
    format: Annotated[FormatChoice, typer.Option(help="How rows become groups.")] = "auto",
    on_error: Annotated[
        Literal["raise", "skip"], typer.Option(help="Stop at an unreadable row, or count it and go on.")
    ] = "skip",
) -> None:
    """Show what data hold: groups, labels, sources, and every row left out with the reason."""
    from plaudit.data.read import read_groups

    for name in inputs:
        if Path(name).suffix in (".yaml", ".yml"):
            show_config(Path(name))
        else:
            show_groups(read_groups(name, format=format, on_error=on_error))


def show_config(path: Path) -> None:
    """Show every data file of a training config, read as the config says."""
    from plaudit.config import load_config
    from plaudit.data.read import load_files
    from plaudit.training.config import TrainConfig

    data = load_config(TrainConfig, path).data
    for part, files in (("train", data.train), ("held_out", data.held_out)):
        for file in files:
            typer.secho(f"data.{part}", bold=True)
            show_groups(load_files([file]))
    if not data.held_out:
        typer.echo(f"held out: {data.held_out_share:.0%} of the prompts of data.train")


def show_groups(groups: GroupSet) -> None:
    """Print how the rows were read, then what the groups hold."""
    typer.echo(groups.report.table())
    print_contents(Contents.of(groups))


def print_contents(contents: Contents) -> None:
    """Print the labels, the numbers of responses and the largest sources."""
    print_table("labels", ("label", "groups"), [(k, str(n)) for k, n in contents.labels.most_common()], numbers=1)
    sizes = [(str(size), str(count)) for size, count in sorted(contents.sizes.items())]
    print_table("responses in a group", ("responses", "groups"), sizes, numbers=2)
    shown = [(name, str(count)) for name, count in contents.sources.most_common(LARGEST_SOURCES)]
    left = len(contents.sources) - len(shown)
    title = f"sources ({left} smaller ones not shown)" if left else "sources"
    print_table(title, ("source", "groups"), shown, numbers=1)
