"""``plaudit data``: show, build, audit and relabel."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plaudit.cli.audit import audit
from plaudit.cli.console import interrupt_keeps, print_table
from plaudit.cli.relabel import relabel
from plaudit.data.reading.sources.formats import FormatChoice
from plaudit.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.schema.group import Group
    from plaudit.data.schema.group_set import GroupSet

app = typer.Typer(help="Look at data, mix it, audit it, relabel it.")
LARGEST_SOURCES = 30
MIXTURE_RECORD = "mixture.json"
UNFINISHED = "mixture.unfinished"


@app.callback()
def data() -> None:
    """Look at data, mix it, audit it, relabel it."""


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
        typer.Argument(
            metavar="PATH|CONFIG [KEY=VALUE]", help="Data files, mixtures or training configs.", show_default=False
        ),
    ],
    format: Annotated[FormatChoice, typer.Option(help="How rows become groups.")] = "auto",
    on_error: Annotated[
        Literal["raise", "skip"], typer.Option(help="Stop at an unreadable row, or count it and go on.")
    ] = "skip",
) -> None:
    """Show what data hold: groups, labels, sources, and every row left out with the reason; a mixture as a tree."""
    from plaudit.data.reading.read import read_groups

    names = [name for name in inputs if "=" not in name or Path(name).exists()]
    overrides = [name for name in inputs if name not in names]
    configs = [name for name in names if Path(name).suffix in (".yaml", ".yml")]
    if overrides and not configs:
        raise ConfigError(f"{' '.join(overrides)}: no such file, and no config is given that it could change")
    for name in names:
        if name in configs:
            show_config(Path(name), overrides)
        else:
            show_groups(read_groups(name, format=format, on_error=on_error))


@app.command()
def build(
    config: Annotated[Path, typer.Argument(help="YAML file of a mixture.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Changes to it.", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write the sets to.", show_default=False)] = (
        Path("data")
    ),
    compressed: Annotated[bool, typer.Option("--compressed", help="Write .jsonl.gz.")] = False,
) -> None:
    """Build a mixture: its sets as JSON Lines, with the config and the counts of every rule beside them."""
    from plaudit.cli.mixture_tree import print_mixture
    from plaudit.config import dump_config, load_config
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.mixing.mixture import build_mixture
    from plaudit.data.reading.write import write_groups
    from plaudit.records import check_target, write_record, write_text

    resolved = load_config(MixtureConfig, config, overrides or ())
    old = _sets_in(output)
    record, unfinished = output / MIXTURE_RECORD, output / UNFINISHED
    check_target(record)
    mixture = build_mixture(resolved)
    print_mixture(mixture.report, was_cached=mixture.was_cached)
    suffix = ".jsonl.gz" if compressed else ".jsonl"
    new = {f"{name}{suffix}": groups for name, groups in mixture.sets.items()}
    with interrupt_keeps(f"{output} is unfinished; the same command writes it anew"):
        write_text(unfinished, "\n".join(sorted({*old, *new})))
        for name in (MIXTURE_RECORD, *(name for name in old if name not in new)):
            (output / name).unlink(missing_ok=True)
        for name, groups in new.items():
            typer.echo(f"wrote {write_groups(output / name, groups):,} groups to {output / name}")
        write_text(output / "config.yaml", dump_config(resolved))
        write_record(record, mixture.report)
        unfinished.unlink()


def _sets_in(folder: Path) -> list[str]:
    """Return the names of the sets that an earlier building left in ``folder``, finished or not.

    Raises:
        OutputError: where it is a file, or holds other files and no mixture.
    """
    record, unfinished = folder / MIXTURE_RECORD, folder / UNFINISHED
    if not folder.exists():
        return []
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file; name a folder")
    if unfinished.is_file():
        named = unfinished.read_text(encoding="utf-8").split("\n")
    elif record.is_file():
        try:
            sets = [split["name"] for split in json.loads(record.read_text(encoding="utf-8"))["splits"]]
        except (ValueError, KeyError, TypeError):
            raise OutputError(f"{record} is no record of a mixture; name another folder") from None
        named = [f"{name}{suffix}" for name in sets for suffix in (".jsonl", ".jsonl.gz")]
    elif any(folder.iterdir()):
        raise OutputError(f"{folder} holds other files and no mixture; name another folder")
    else:
        named = list[str]()
    return [name for name in named if Path(name).name == name and (folder / name).is_file()]


def show_config(path: Path, overrides: Sequence[str] = ()) -> None:
    """Show a mixture as a tree, or every data file of a training config, read as the config says."""
    from plaudit.config import load_config
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.mixing.mixture import is_mixture, mixture_config
    from plaudit.data.reading.read import load_files
    from plaudit.training.config import TrainConfig

    if is_mixture(path):
        show_mixture(load_config(MixtureConfig, path, overrides))
        return
    data = load_config(TrainConfig, path, overrides).data
    if data.mixture is not None:
        typer.secho("data.mixture", bold=True)
        show_mixture(mixture_config(data.mixture))
    for part, files in (("train", data.train), ("held_out", data.held_out)):
        for file in files:
            typer.secho(f"data.{part}", bold=True)
            show_groups(load_files([file]))
    if not data.held_out and data.mixture is None:
        typer.echo(f"held out: {data.held_out_share:.0%} of the prompts of data.train")


def show_mixture(config: MixtureConfig) -> None:
    """Build a mixture, or read it from the cache, and print it as a tree and what its groups hold."""
    from plaudit.cli.mixture_tree import print_mixture
    from plaudit.data.mixing.mixture import build_mixture

    mixture = build_mixture(config)
    print_mixture(mixture.report, was_cached=mixture.was_cached)
    for name, groups in mixture.sets.items():
        typer.secho(name, bold=True)
        print_contents(Contents.of(groups))


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


app.command()(audit)
app.command()(relabel)
