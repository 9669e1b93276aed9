"""A mixture as a tree on the terminal: rows in, rows out of each rule, and why the rest went."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from plaudit.cli.console import console

if TYPE_CHECKING:
    from rich.tree import Tree

    from plaudit.data.mixing.augment.counts import AugmentReport
    from plaudit.data.mixing.report import DrawReport, MixtureReport, PartReport
    from plaudit.data.mixing.rules.counts import RuleReport
    from plaudit.data.schema.report import ReadReport


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
    """Return ``text`` without what the terminal would take for markup or cannot show."""
    from rich.markup import escape

    return escape(text.encode(errors="backslashreplace").decode())
