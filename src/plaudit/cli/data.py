"""``plaudit data``: show, build, audit, export and relabel."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plaudit.cli.audit import audit, length_cut
from plaudit.cli.console import console, interrupt_keeps, print_table, say, visible
from plaudit.cli.options import TARGET_HELP, GoldOption, Reading, ReadingOrSkipping, verb
from plaudit.cli.relabel import relabel
from plaudit.cli.targets import check_gold, folders, parse_targets, read_target
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.journal import check_output, committed, locked
from plaudit.outputs import check_inputs_apart

if TYPE_CHECKING:
    from rich.tree import Tree

    from plaudit.data.audit.contents import Contents
    from plaudit.data.audit.length import Cut
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.mixing.report import AugmentReport, DrawReport, MixtureReport, PartReport, RuleReport
    from plaudit.data.reading.options import ReadingOptions
    from plaudit.data.schema.group import Group
    from plaudit.data.schema.group_set import GroupSet
    from plaudit.data.schema.report import ReadReport

app = typer.Typer(help="Look at data, mix it, audit it, export and relabel it.")
LARGEST_SOURCES = 30
SHOWN_RESPONSES = 4
SHOWN_CHARACTERS = 240
MIXTURE_RECORD = "mixture.json"
UNFINISHED = "mixture.unfinished"


@app.callback()
def data() -> None:
    """Look at data, mix it, audit it, export and relabel it."""


@app.command()
@verb
def show(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH|CONFIG [KEY=VALUE]", help="Data files, mixtures or training configs.", show_default=False
        ),
    ],
    tokenizer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Tokenizer that lengths are counted with.", show_default="characters"),
    ] = None,
    *,
    reading: ReadingOrSkipping,
) -> None:
    """Show what data hold: groups, labels, lengths, sources, examples, every row left out; a mixture as a tree."""
    cut = length_cut(tokenizer, None)
    names = [name for name in inputs if "=" not in name or Path(name).exists()]
    overrides = [name for name in inputs if name not in names]
    configs = [name for name in names if Path(name).suffix in (".yaml", ".yml")]
    if overrides and not configs:
        raise ConfigError(f"{' '.join(overrides)}: no such file, and no config is given that it could change")
    for name in names:
        if name in configs:
            show_config(Path(name), overrides, cut)
        else:
            show_groups(_read(name, reading), cut)


def _read(name: str, reading: ReadingOptions) -> GroupSet:
    """Return the groups of a file.

    Raises:
        DataError: also where no row becomes one; of a file of a benchmark it names the command that reads it.
    """
    from plaudit.data.reading.read import read_groups
    from plaudit.evaluation.official.catalog import CATALOG

    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    named = max((each for each in CATALOG if each.replace("_", "") in plain), key=len, default=None)
    hint = "" if named is None else f"; official files of a benchmark: plaudit evaluate MODEL {named}={name}"
    try:
        groups = read_groups(name, reading)
    except DataError as error:
        raise DataError(f"{error}{hint}") from None
    if len(groups):
        return groups
    reasons = ", ".join(f"{count} {reason}" for reason, count in _largest_first(groups.report.dropped))
    first = next((each[0] for each in groups.report.examples.values()), "")
    raise DataError(f"{name}: none of {groups.report.rows} rows became a group ({reasons}; first: {first}){hint}")


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
    from plaudit.records import write_record, write_text

    resolved = load_config(MixtureConfig, config, overrides or ())
    record, unfinished = output / MIXTURE_RECORD, output / UNFINISHED
    old = _sets_in(output)
    _check_not_read(resolved, [output / name for name in old])
    with locked(record, what=output), interrupt_keeps(f"{output} is unfinished; the same command writes it anew"):
        old = _sets_in(output)  # another process may have built meanwhile
        mixture = build_mixture(resolved)
        print_mixture(mixture.report, was_cached=mixture.was_cached)
        suffix = ".jsonl.gz" if compressed else ".jsonl"
        new = {f"{name}{suffix}": groups for name, groups in mixture.sets.items()}
        write_text(unfinished, "\n".join(sorted({*old, *new})))
        with committed() as files:
            for name, groups in new.items():
                typer.echo(f"{output / name}: {write_groups(files.stage(output / name), groups):,} groups")
            for name in (*(name for name in old if name not in new), UNFINISHED):
                files.remove(output / name)
            write_text(files.stage(output / "config.yaml"), dump_config(resolved))
            write_record(files.stage(record), mixture.report)
    typer.echo(f"wrote {output}")


def _check_not_read(config: MixtureConfig, replaced: Sequence[Path]) -> None:
    """Raise ConfigError where the mixture reads a file that building it would replace or remove."""
    files = [file for part in config.parts for file in part.files]
    if config.split is not None and config.split.type == "teacher":
        files += config.split.test
    for path in replaced:
        check_inputs_apart(path, [file.path for file in files])


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
    elif any(not path.name.startswith((".", f"{MIXTURE_RECORD}.lock")) for path in folder.iterdir()):
        raise OutputError(f"{folder} holds other files and no mixture; name another folder")
    else:
        named = list[str]()
    return [name for name in named if Path(name).name == name and (folder / name).is_file()]


def show_config(path: Path, overrides: Sequence[str] = (), cut: Cut | None = None) -> None:
    """Show a mixture as a tree, or every data file of a training config, read as the config says."""
    from plaudit.config import load_config
    from plaudit.data.mixing.config import MixtureConfig
    from plaudit.data.mixing.mixture import is_mixture, mixture_config
    from plaudit.data.reading.read import load_files
    from plaudit.training.config import TrainConfig

    if is_mixture(path):
        show_mixture(load_config(MixtureConfig, path, overrides), cut)
        return
    data = load_config(TrainConfig, path, overrides).data
    if data.mixture is not None:
        typer.secho("data.mixture", bold=True)
        show_mixture(mixture_config(data.mixture), cut)
    for part, files in (("train", data.train), ("held_out", data.held_out)):
        for file in files:
            typer.secho(f"data.{part}", bold=True)
            show_groups(load_files([file]), cut)
    if not data.held_out and data.mixture is None:
        typer.echo(f"held out: {data.held_out_share:.0%} of the prompts of data.train")


def show_mixture(config: MixtureConfig, cut: Cut | None = None) -> None:
    """Build a mixture, or read it from the cache, and print it as a tree and what its groups hold."""
    from plaudit.data.mixing.mixture import build_mixture

    mixture = build_mixture(config)
    print_mixture(mixture.report, was_cached=mixture.was_cached)
    for name, groups in mixture.sets.items():
        say(name, bold=True)
        print_contents(groups, cut)


def show_groups(groups: GroupSet, cut: Cut | None = None) -> None:
    """Print the report of reading, then the contents of the groups."""
    say(groups.report.table())
    print_contents(groups, cut)


def print_contents(groups: GroupSet, cut: Cut | None = None) -> None:
    """Print the labels, the numbers of responses, the lengths, the largest sources, and two examples."""
    from plaudit.data.audit.contents import QUANTILES, Contents

    if not len(groups):
        return
    contents = Contents.of(groups, cut)
    print_table("labels", ("label", "groups"), [(k, str(n)) for k, n in contents.labels.most_common()], numbers=1)
    sizes = [(str(size), str(count)) for size, count in sorted(contents.sizes.items())]
    print_table("responses in a group", ("responses", "groups"), sizes, numbers=2)
    columns = ("", *("longest" if each == 1 else f"{each:.0%}" for each in QUANTILES))
    lengths = [(name, *(f"{value:,.0f}" for value in contents.quantiles(name))) for name in contents.lengths]
    print_table(f"lengths in {contents.unit}", columns, lengths, numbers=len(QUANTILES))
    print_sources(contents)
    for position in sorted({0, len(groups) // 2}):
        print_example(groups[position])


def print_sources(contents: Contents) -> None:
    """Print groups, pairs, lengths with the prompt, and the kind of feedback of the largest sources."""
    ordered = sorted(contents.sources.items(), key=lambda item: -item[1].groups)
    rows = [
        (
            name,
            f"{source.groups:,}",
            f"{source.pairs:,}",
            *(f"{sum(side) / len(side):,.0f}" if side else "–" for side in (source.chosen, source.rejected)),
            f"{source.longest:,}",
            ", ".join(kind for kind, _ in source.feedback.most_common(3)) or "none",
        )
        for name, source in ordered[:LARGEST_SOURCES]
    ]
    left = len(ordered) - len(rows)
    smaller = f", {left} smaller ones not shown" if left else ""
    print_table(
        f"sources (lengths of prompt and response in {contents.unit}{smaller})",
        ("source", "groups", "pairs", "mean chosen", "mean rejected", "longest", "feedback"),
        rows,
        numbers=0,
    )


def print_example(group: Group) -> None:
    """Print a group: the turns of its prompt, and its first responses with their labels."""
    typer.secho(f"example {_shown(group.id)}", bold=True)
    for turn in group.prompt:
        typer.echo(f"  {turn.role}: {_shown(turn.content)}")
    for position, response in enumerate(group.responses[:SHOWN_RESPONSES]):
        typer.echo(f"  response {position}{_label(group, position)}: {_shown(response)}")
    more = len(group.responses) - SHOWN_RESPONSES
    if more > 0:
        typer.echo(f"  and {more} more")


def _label(group: Group, position: int) -> str:
    """Return the labels of one response, in brackets."""
    words: list[str] = []
    won = sum(each.chosen == position for each in group.preferences)
    lost = sum(each.rejected == position for each in group.preferences)
    if won or lost:
        words.append("chosen" if not lost else "rejected" if not won else f"chosen {won}, rejected {lost} times")
    if group.ranks is not None:
        words.append(f"rank {group.ranks[position]}")
    words += [f"{name} {values[position]}" for name, values in group.ratings.items()]
    if group.outcomes is not None:
        words.append({True: "right", False: "wrong", None: "no outcome"}[group.outcomes[position]])
    steps = None if group.steps is None else group.steps[position]
    if steps:
        words.append(f"{len(steps)} steps")
    return f" ({', '.join(words)})" if words else ""


def _shown(text: str) -> str:
    """Return a text on one line, shortened, with escapes for what would move the cursor."""
    line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[: SHOWN_CHARACTERS + 1])
    return f"{line[:SHOWN_CHARACTERS]}…" if len(text) > SHOWN_CHARACTERS else line


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

    return escape(visible(text))


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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace groups that are there.")] = False,
) -> None:
    """Write the groups of benchmarks and files, to be scored elsewhere; plaudit rescore then measures the rewards."""
    export_groups(targets, output, reading, gold or (), overwrite=overwrite)


def export_groups(
    texts: Sequence[str],
    output: Path | None,
    reading: ReadingOptions,
    gold: Sequence[str] = (),
    *,
    overwrite: bool = False,
) -> None:
    """Write the groups of each target to ``groups.jsonl`` in a folder of its own, and say where.

    Raises:
        ConfigError: before anything is written, when one is there and ``overwrite`` is not given, or is the target.
    """
    from plaudit.data.reading.write import write_groups

    if not texts:
        raise ConfigError("give what to write the groups of: files of groups, or benchmarks")
    parsed = parse_targets(texts)
    if gold:
        check_gold(parsed)
    paths = [place / "groups.jsonl" for place in folders(parsed, output or Path("evaluations") / "groups")]
    for target, path in zip(parsed, paths, strict=True):
        check_output(path, source=target.path or "", overwrite=overwrite)
        check_inputs_apart(path, texts)
    for target, path in zip(parsed, paths, strict=True):
        count = write_groups(path, read_target(target, reading, gold).groups)
        typer.echo(f"wrote {path}: {count} groups")


app.command()(audit)
app.command()(relabel)
