"""The whole audit of a set of groups, as one report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from plaudit.data.audit.contamination import BenchmarkPrompt, find_contamination
from plaudit.data.audit.duplicates import PromptClusters, similar_prompts
from plaudit.data.audit.findings import ALPHA, AuditReport, Finding
from plaudit.data.audit.leakage import contaminated_groups, shared_prompts
from plaudit.data.audit.length import Cut, cut_lengths, identical_after_cut, length_bias, pair_histogram
from plaudit.data.audit.noise import bag_of_words_label_noise, repeated_label_noise
from plaudit.data.audit.reading import control_tokens, dropped_rows, listed_words, responses_without_content
from plaudit.data.audit.repeats import (
    contradictions,
    contradictory_outcomes,
    near_prompts,
    one_sided_pairs,
    repeated_groups,
    repeated_prompts,
)
from plaudit.data.audit.surface_features import format_leaks, response_order, style_bias
from plaudit.data.audit.table import FORMAT, MAX_SOURCES, STYLE, AuditTable
from plaudit.data.schema.group_set import GroupSet
from plaudit.provenance import stamp

TOXICITY = "no list of words tells toxic text from text about it: ask a model or people; a list given is searched for"

Say = Callable[[str], None]


def audit_groups(
    groups: GroupSet,
    *,
    name: str | None = None,
    against: GroupSet | None = None,
    benchmark_prompts: Sequence[BenchmarkPrompt] = (),
    cut: Cut | None = None,
    words: Sequence[str] = (),
    threshold: float = 0.8,
    seed: int = 0,
    say: Say = lambda stage: None,
) -> AuditReport:
    """Return everything that can be seen to be wrong with ``groups`` without a model.

    The groups are read a few times, a batch at a time; about 1 kB is kept for each.

    Args:
        groups: groups to audit.
        name: its name in the report; the default is the path it was read from.
        against: the other split, whose prompts must not be in ``groups``.
        benchmark_prompts: prompts that must not be in ``groups``.
        cut: tokenizer and length of a truncation; without it lengths are counted in characters and nothing is cut.
        words: words that no text should hold, such as slurs; without them toxicity is not judged.
        threshold: Jaccard similarity from which two prompts are near duplicates.
        seed: of the signatures, and of the folds of the judge.
        say: is called with the name of each stage as it begins.

    Raises:
        ConfigError: for a threshold outside (0, 1].
    """
    say("reading")
    found = _Found(AuditTable.of(groups))
    found.add(*dropped_rows(groups.report), responses_without_content(found.table), control_tokens(found.table))
    if words:
        found.add(*listed_words(groups, found.table, words))
    say("repeats")
    clusters = similar_prompts(groups, threshold=threshold, seed=seed)
    found.add(
        repeated_groups(found.table, clusters.exact),
        repeated_prompts(found.table, clusters.exact),
        near_prompts(found.table, clusters),
        contradictory_outcomes(found.table, clusters.exact),
    )
    say("pairs")
    found.add_pairs(clusters, seed)
    say("lengths")
    found.add_lengths(cut)
    say("leakage")
    if against is None:
        found.not_judged["leakage between splits"] = "no other split was given"
    else:
        found.add(*shared_prompts(groups, against, threshold=threshold, seed=seed))
    if benchmark_prompts:
        found.add(contaminated_groups(found.table, find_contamination(groups, benchmark_prompts)))
    else:
        found.not_judged["contamination"] = "no prompts of benchmarks were given"
    return found.report(name or groups.report.path, _settings(threshold, seed, cut))


@final
@dataclass
class _Found:
    """Findings so far."""

    table: AuditTable
    findings: list[Finding] = field(default_factory=list)
    not_judged: dict[str, str] = field(default_factory=lambda: {"toxicity": TOXICITY})
    histograms: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def add(self, *findings: Finding | None) -> None:
        """Add findings; None is a check that had nothing to look at."""
        self.findings += [finding for finding in findings if finding is not None]

    def add_pairs(self, clusters: PromptClusters, seed: int) -> None:
        """Add the findings on chosen and rejected responses."""
        table = self.table
        if not len(table.pairs):
            self.not_judged["length, style, format, labels"] = "no group has a preference with a winner"
            return
        self.add(contradictions(table, clusters.exact), one_sided_pairs(table))
        self.add(length_bias(table), *style_bias(table), *format_leaks(table), response_order(table))
        noise = {
            "wrong labels, from repeated pairs": repeated_label_noise(table, clusters.exact),
            "wrong labels, from a judge of words": bag_of_words_label_noise(table, seed=seed),
        }
        for name, found in noise.items():
            if isinstance(found, str):
                self.not_judged[name] = found
            else:
                self.add(found)

    def add_lengths(self, cut: Cut | None) -> None:
        """Add the histograms of lengths, and the effect of a length limit."""
        table = self.table
        self.histograms["characters"] = pair_histogram(table, table.prompt_characters, table.responses.characters)
        if cut is None:
            self.not_judged["truncation"] = "no tokenizer and no maximal length were given"
            return
        lengths = cut_lengths(table, cut)
        self.histograms[cut.unit] = pair_histogram(table, lengths.prompt, lengths.response)
        if cut.max_length is None:
            self.not_judged["truncation"] = "no maximal length was given"
        self.add(identical_after_cut(table, lengths, cut))

    def report(self, name: str, settings: dict[str, str]) -> AuditReport:
        """Return everything as a report."""
        table, groups = self.table, self.table.groups
        return AuditReport(
            name=name,
            fingerprint=groups.fingerprint,
            rows=groups.report.rows,
            groups=len(groups),
            pairs=len(table.pairs),
            ties=table.ties,
            sources=_sizes(table),
            findings=tuple(self.findings),
            not_judged=self.not_judged,
            histograms=self.histograms,
            settings=settings,
            **stamp(),
        )


def _sizes(table: AuditTable) -> dict[str, int]:
    """Return the groups of the largest sources, the largest first; the others are one entry."""
    sizes = np.bincount(table.source, minlength=len(table.sources))
    order = np.argsort(-sizes, kind="stable")
    shown = {table.sources[number]: int(sizes[number]) for number in order[:MAX_SOURCES].tolist()}
    rest = order[MAX_SOURCES:]
    return shown | {f"({len(rest):,} smaller sources)": int(sizes[rest].sum())} if len(rest) else shown


def _settings(threshold: float, seed: int, cut: Cut | None) -> dict[str, str]:
    settings = {
        "significance": f"p < {ALPHA} after Holm's adjustment, style ({len(STYLE)} marks) and format "
        f"({len(FORMAT)} marks, common first words and last characters) each a family",
        "near duplicates": f"Jaccard similarity from {threshold:g}",
        "seed": str(seed),
    }
    if cut is not None:
        settings["truncation"] = f"{cut.max_length or 'none'}, in {cut.unit}"
    return settings
