"""Evaluations: a scorer over groups, a benchmark, published results or stored items, into a folder of results."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import ConfigError
from plaudit.evaluation.metrics.answers import LAST_NUMBER, compiled_pattern, extract_answer
from plaudit.evaluation.metrics.preference import DEFAULT_TIE_RULE, TieRule
from plaudit.evaluation.official.benchmark import Benchmark, Loaded
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.store.confident_errors import ConfidentErrorCollector
from plaudit.evaluation.store.items import check_same, scored_with_rewards
from plaudit.evaluation.store.precomputed import PrecomputedRewards, StoredItems
from plaudit.evaluation.store.result_folder import (
    ITEMS_NAME,
    PARTIAL_NAME,
    EvaluationIdentity,
    ExistingResult,
    GroupTruncation,
    Replace,
    ScoredItem,
    ScoringRecord,
    existing_result,
    parse_line,
    read_confident_errors,
    write_result,
)
from plaudit.journal import Header, Journal
from plaudit.records import ItemScore, Result
from plaudit.scoring.scorer import Scorer, info_of


@dataclass(frozen=True, slots=True)
class _Work:
    """One evaluation: its subject, its folder, and how its metrics are made."""

    identity: EvaluationIdentity
    folder: Path
    settings: Mapping[str, JsonValue]
    replace: Replace = "finished"
    tie_rule: TieRule = DEFAULT_TIE_RULE
    seed: int = 0
    counts: Mapping[str, int] | None = None
    benchmark: Benchmark | None = None
    loaded: Loaded | None = None

    def journal(self, window: int = 1) -> Journal:
        return Journal(self.folder / PARTIAL_NAME, self.identity.header(self.settings), window=window)

    def existing(self) -> ExistingResult | None:
        """Return the finished result in the folder, of the same evaluation, which must not be replaced.

        Raises:
            ConfigError: when it is of another one.
        """
        existing = existing_result(self.folder) if self.replace == "nothing" else None
        if existing is not None:
            existing.check(self.identity, self.settings)
        return existing


def evaluate(
    scorer: Scorer,
    groups: Iterable[Group],
    *,
    name: str,
    model: str,
    output_dir: Path,
    recipe_hash: str | None = None,
    weights_hash: str | None = None,
    data_fingerprint: str | None = None,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    answer_pattern: str = LAST_NUMBER,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    replace: Replace = "finished",
    settings: Mapping[str, JsonValue] | None = None,
    counts: Mapping[str, int] | None = None,
    benchmark: Benchmark | None = None,
    loaded: Loaded | None = None,
) -> Result:
    """Return the result of ``scorer`` on ``groups``, over every kind of label that they carry, and write it.

    ``output_dir`` receives ``items.jsonl`` (every reward), ``confident_errors.json`` (texts of the most confidently
    wrong pairs), ``scoring.json`` (settings of the scorer, truncation) and ``result.json``, together. Until then each
    scored item is a line of ``items.partial.jsonl``, where a killed run is resumed at the end of a ``window`` of
    groups; only under the same name, model, hashes and ``answer_pattern``. ``replace`` says which earlier work may be
    replaced. The last match of the pattern in a response, or of its first group, is its final answer. ``progress`` is
    told the number of items done, first of those on file. Fields not given of the scorer are those of ``scorer.info``.

    Raises:
        ModelError: when the scorer gives another number of rewards, other ids or another order.
        DataError: when items on file are of other groups.
        OutputError: when a file cannot be written, or another process is writing the folder.
        ConfigError: when ``answer_pattern`` is no regular expression; when the folder holds other work.
    """
    info = info_of(scorer)
    hashes = {
        "recipe_hash": info.recipe_hash if recipe_hash is None else recipe_hash,
        "weights_hash": info.weights_hash if weights_hash is None else weights_hash,
        "data_fingerprint": data_fingerprint,
    }
    identity = EvaluationIdentity(name=name, model=model, answer_pattern=answer_pattern, **hashes)
    settings = info.settings if settings is None else settings
    work = _Work(identity, output_dir, settings, replace, tie_rule, seed, counts, benchmark, loaded)
    return _run(scorer, groups, work, progress or (lambda done: None))


def evaluate_benchmark(
    scorer: Scorer, benchmark: Benchmark, loaded: Loaded, *, model: str, output_dir: Path, **options: Any
) -> Result:
    """Evaluate ``scorer`` on the loaded ``benchmark``, write and return the result; ``options`` are of ``evaluate``.

    The items carry the official fields that the metrics need, so that the items alone give the result again. Rows that
    could not be made groups are items without rewards.

    Raises:
        ModelError, DataError, OutputError, ConfigError: see ``evaluate``.
    """
    return evaluate(
        scorer,
        loaded.groups,
        name=benchmark.name,
        model=model,
        output_dir=output_dir,
        data_fingerprint=loaded.fingerprint,
        benchmark=benchmark,
        loaded=loaded,
        **options,
    )


def _run(scorer: Scorer, groups: Iterable[Group], work: _Work, progress: Callable[[int], None]) -> Result:
    """Return the result of one evaluation, written: from groups to rewards, items and ``result.json``."""
    items: list[ItemScore] = []
    truncations: list[GroupTruncation] = []
    errors = ConfidentErrorCollector()
    refused = () if work.loaded is None else work.loaded.refused
    with work.journal(info_of(scorer).window) as journal:
        existing = work.existing()
        if existing is not None and existing.has_rewards_of(work.identity):
            found = _with_answers(existing.matched(groups, len(refused)), work)
        else:
            _resume(journal, scorer, groups, work)
            remaining = iter(groups)
            found = itertools.chain(_on_file(journal, remaining), _scored(scorer, remaining, journal, work, progress))
        for group, scored in found:
            items.append(scored.item)
            errors.add(group, scored.item)
            if scored.truncation is not None:
                truncations.append(scored.truncation)
        items.extend(refused)
        scoring = ScoringRecord.made(work.identity, work.settings, truncations)
        left_out = groups.report.dropped if isinstance(groups, GroupSet) else {}
        result = _assemble(items, work, scoring, left_out=left_out, relative=info_of(scorer).relative)
        write_result(journal, work.folder, result, items, scoring=scoring, confident_errors=errors.pairs())
    return result


def _resume(journal: Journal, scorer: Scorer, groups: Iterable[Group], work: _Work) -> None:
    """Keep the whole windows of unfinished items; those of other work only go where they may be replaced."""

    def may_go(found: Header | None) -> bool:
        # Rewards on file are not lost with items made of them, and may have been mended since.
        mended = (
            isinstance(scorer, PrecomputedRewards)
            and found is not None
            and found.identity.get("model") == work.identity.model
        )
        return work.replace == "all" or mended

    journal.resume(total=len(groups) if isinstance(groups, Sized) else None, discard=may_go)


def _on_file(journal: Journal, groups: Iterator[Group]) -> Iterator[tuple[Group, ScoredItem]]:
    """Yield the next groups with their unfinished items."""
    for group, scored, place in journal.matched(groups, partial(parse_line, ScoredItem)):
        check_same(group, scored.item, place)
        yield group, scored


def _scored(
    scorer: Scorer, groups: Iterator[Group], journal: Journal, work: _Work, progress: Callable[[int], None]
) -> Iterator[tuple[Group, ScoredItem]]:
    """Yield the groups that are left with their items, written to the journal first."""
    answers, done = compiled_pattern(work.identity.answer_pattern), journal.kept
    metadata = {} if work.loaded is None else work.loaded.facts
    progress(done)
    for group, rewards, item in scored_with_rewards(scorer, groups, answers=answers, in_log_odds=True):
        known = item.model_copy(update={"metadata": dict(metadata.get(group.id, {}))})
        scored = ScoredItem(item=known, truncation=GroupTruncation.of(done, group, rewards.truncation))
        journal.append(scored.model_dump_json())
        yield group, scored
        done += 1
        progress(done)


def _with_answers(found: Iterable[tuple[Group, ScoredItem]], work: _Work) -> Iterator[tuple[Group, ScoredItem]]:
    """Yield finished items with the answers that the pattern of this evaluation finds in the texts."""
    pattern = compiled_pattern(work.identity.answer_pattern)
    for group, scored in found:
        if scored.item.answers is None:
            yield group, scored
        else:
            answers = tuple(extract_answer(response, pattern) for response in group.responses)
            item = scored.item.model_copy(update={"answers": answers})
            yield group, scored.model_copy(update={"item": item})


def _assemble(
    items: Sequence[ItemScore],
    work: _Work,
    scoring: ScoringRecord | None = None,
    *,
    left_out: Mapping[str, int] | None = None,
    relative: bool = False,
) -> Result:
    truncated = {} if scoring is None else scoring.truncated.as_details()
    return assemble_result(
        items,
        name=work.identity.name,
        model=work.identity.model,
        benchmark=work.benchmark,
        tie_rule=work.tie_rule,
        seed=work.seed,
        recipe_hash=work.identity.recipe_hash,
        data_fingerprint=work.identity.data_fingerprint,
        relative=relative,
        counts={**truncated, **(work.counts or {})},
        left_out=left_out,
    )


def evaluate_results(
    benchmark: Benchmark,
    items: Sequence[ItemScore],
    *,
    model: str,
    output_dir: Path,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    replace: Replace = "finished",
) -> Result:
    """Return the result of published per-item results, as ``Benchmark.read_results`` reads them, and write it.

    Raises:
        ConfigError: when the folder holds the result of another model, and ``replace`` is ``nothing``.
        OutputError: when a file cannot be written, or another process is writing the folder.
    """
    identity = EvaluationIdentity(name=benchmark.name, model=model)
    work = _Work(identity, output_dir, {}, replace, tie_rule, benchmark=benchmark)
    with work.journal() as journal:
        existing = existing_result(output_dir) if replace == "nothing" else None
        if existing is not None:
            existing.check_model(model)
        result = _assemble(items, work)
        write_result(journal, output_dir, result, items)
    return result


def recompute(
    stored: StoredItems,
    *,
    output_dir: Path,
    benchmark: Benchmark | None = None,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    seed: int = 0,
    replace: Replace = "finished",
) -> Result:
    """Return the result of stored items, under the names that they were made under, and write it.

    With ``benchmark`` its official metrics come first, from the metadata of the items. ``output_dir`` receives all
    files of a result; it may be the folder that the items are in.

    Raises:
        ConfigError: when the folder holds the result of another evaluation, and ``replace`` is ``nothing``; when it
            is that of ``stored``, under another name than ``items.jsonl``.
        OutputError: when a file cannot be written, or another process is writing the folder.
    """
    in_place = stored.path.resolve() == (output_dir / ITEMS_NAME).resolve()
    if not in_place and stored.path.resolve().parent == output_dir.resolve():
        raise ConfigError(f"{stored.path} stands beside the {ITEMS_NAME} that would be replaced; give a folder with -o")
    identity, settings = stored.identity, stored.settings
    work = _Work(identity, output_dir, settings, replace, tie_rule, seed, benchmark=benchmark)
    with work.journal() as journal:
        work.existing()
        scoring = ScoringRecord.made(identity, settings, stored.truncations)
        left_out = {} if stored.existing is None else stored.existing.result.left_out
        result = _assemble(stored.items, work, scoring, left_out=left_out)
        errors = read_confident_errors(stored.path.parent)
        items = None if in_place else stored.items
        write_result(journal, output_dir, result, items, scoring=scoring, confident_errors=errors)
    return result
