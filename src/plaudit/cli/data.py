"""``plaudit data``: show, build, audit, export and relabel."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.audit import audit
from plaudit.cli.console import console, interrupt_keeps, print_table
from plaudit.cli.options import TARGET_HELP, GoldOption, Reading, ReadingOrSkipping, verb
from plaudit.cli.relabel import relabel
from plaudit.cli.targets import check_gold, folders, parse_targets, read_target
from plaudit.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from rich.tree import Tree

    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.mixing.report import AugmentReport, DrawReport, MixtureReport, PartReport, RuleReport
    from plaudit.data.reading.options import ReadingOptions
    from plaudit.data.schema.group import Group
    from plaudit.data.schema.group_set import GroupSet
    from plaudit.data.schema.report import ReadReport

app = typer.Typer(help="Look at data, mix it, audit it, export and relabel it.")
LARGEST_SOURCES = 30
MIXTURE_RECORD = "mixture.json"
UNFINISHED = "mixture.unfinished"


@app.callback()
def data() -> None:
    """Look at data, mix it, audit it, export and relabel it."""


@dataclass
class Contents:
    """Counts of groups by label, by source and by number of responses."""

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
@verb
def show(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|CONFIG [KEY=VALUE]", help="Data files, mixtures or training configs.", show_default=False
        ),
    ],
    *,
    reading: ReadingOrSkipping,
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
            show_groups(read_groups(name, reading))


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
    from plaudit.data.mixing.mixture import build_mixture

    mixture = build_mixture(config)
    print_mixture(mixture.report, was_cached=mixture.was_cached)
    for name, groups in mixture.sets.items():
        typer.secho(name, bold=True)
        print_contents(Contents.of(groups))


def show_groups(groups: GroupSet) -> None:
    """Print the report of reading, then the contents of the groups."""
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


def print_mixture(report: MixtureReport, *, was_cached: bool) -> None:
    """Print the whole of a mixture: each part from its files to its groups, the draw, and the sets that came out."""
    from rich.tree import Tree

    groups, pairs = (sum(getattr(split, name) for split in report.splits) for name in ("groups", "pairs"))
    state = ", read from the cache" if was_cached else ""
    tree = Tree(f"{_safe(report.name)}: {groups:,} groups, {pairs:,} pairs  (fingerprint {report.fingerprint}{state})")
    for part in report.parts:
        _add_part(tree, part)
    for rule in report.rules:
        _add_rule(tree, rule)
    _add_draws(tree, report.draws)
    for rule in report.augmented:
        _add_augmentation(tree, rule)
    for read in report.test:
        _add_read(tree, read)
    sets = tree.add("sets")
    for split in report.splits:
        sets.add(f"{split.name}: {split.groups:,} groups, {split.pairs:,} pairs, {split.prompts:,} prompts")
    for reason, count in _largest_first(report.left_out):
        sets.add(f"− {count:,} groups: {_safe(reason)}")
    console().print(tree)


def _add_part(tree: Tree, part: PartReport) -> None:
    branch = tree.add(f"{part.name}: {part.groups:,} groups, {part.pairs:,} pairs{expected_text(part)}")
    for read in part.reads:
        _add_read(branch, read)
    for rule in part.rules:
        _add_rule(branch, rule)


def expected_text(part: PartReport) -> str:
    """Return how the pairs found compare with those that the publisher reports, or nothing where none are."""
    if part.expected is None:
        return ""
    difference = part.pairs - part.expected
    return f"  (expected {part.expected:,}{f', {difference:+,}' if difference else ': equal'})"


def _add_read(branch: Tree, read: ReadReport) -> None:
    node = branch.add(f"read {_safe(read.path)}: {read.rows:,} rows → {read.groups:,} groups")
    if read.joined:
        node.add(f"{read.joined:,} rows joined the group of their prompt")
    for reason, count in _largest_first(read.dropped):
        node.add(f"− {count:,} rows: {_safe(reason)}")


def _add_rule(branch: Tree, rule: RuleReport) -> None:
    moved = f"{rule.groups_in:,} → {rule.groups_out:,} groups"
    considered = f"{rule.pairs_in:,}" + (f" + {rule.pairs_made:,} considered" if rule.pairs_made else "")
    node = branch.add(f"{_safe(rule.rule)}: {moved}, {considered} → {rule.pairs_out:,} pairs")
    for reason, count in _largest_first(rule.groups_left_out):
        node.add(f"− {count:,} groups: {_safe(reason)}")
    for reason, count in _largest_first(rule.pairs_left_out):
        node.add(f"− {count:,} pairs: {_safe(reason)}")
    if rule.not_found:
        node.add(
            f"[yellow]no group has {_safe(', '.join(rule.not_found))}, but: {_safe(', '.join(rule.found) or 'none')}[/]"
        )


def _add_draws(tree: Tree, draws: tuple[DrawReport, ...]) -> None:
    if all(draw.available == draw.asked == draw.drawn > 0 for draw in draws):
        return
    branch = tree.add("draw")
    for draw in draws:
        short = draw.asked - draw.drawn
        beside = f"  ({short:,} short of its share)" if short else ""
        repeated = "  (repeated)" if draw.drawn > draw.available else ""
        branch.add(f"{draw.name}: {draw.available:,} → {draw.drawn:,} groups, {draw.pairs:,} pairs{beside}{repeated}")


def _add_augmentation(tree: Tree, rule: AugmentReport) -> None:
    node = tree.add(f"augment {rule.rule.type}: {rule.groups_in:,} → {rule.groups_out:,} groups of train")
    for kind, count in _largest_first(rule.preferences_made):
        node.add(f"+ {count:,} pairs: {_safe(kind)}")
    for reason, count in _largest_first(rule.left_alone):
        node.add(f"{count:,} groups left as they are: {_safe(reason)}")
    for reason, count in _largest_first(rule.responses_left_out):
        node.add(f"− {count:,} responses: {_safe(reason)}")


def _largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(((reason, count) for reason, count in counts.items() if count), key=lambda item: (-item[1], item[0]))


def _safe(text: str) -> str:
    """Return ``text`` without markup and characters that the terminal cannot show."""
    from rich.markup import escape

    return escape(text.encode(errors="backslashreplace").decode())


@app.command()
@verb
def export(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET", help=TARGET_HELP, show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write to.", show_default="evaluations/groups")
    ] = None,
    *,
    reading: Reading,
    gold: GoldOption = None,
) -> None:
    """Write the groups of benchmarks and files, to be scored elsewhere; plaudit rescore then measures the rewards."""
    export_groups(targets, output, reading, gold or ())


def export_groups(texts: Sequence[str], output: Path | None, reading: ReadingOptions, gold: Sequence[str] = ()) -> None:
    """Write the groups of each target to ``groups.jsonl`` in a folder of its own, and say where."""
    from plaudit.data.reading.write import write_groups

    if not texts:
        raise ConfigError("give what to write the groups of: files of groups, or benchmarks")
    parsed = parse_targets(texts)
    if gold:
        check_gold(parsed)
    for target, place in zip(parsed, folders(parsed, output or Path("evaluations") / "groups"), strict=True):
        path = place / "groups.jsonl"
        count = write_groups(path, read_target(target, reading, gold).groups)
        typer.echo(f"wrote {path}: {count} groups")


app.command()(audit)
app.command()(relabel)
