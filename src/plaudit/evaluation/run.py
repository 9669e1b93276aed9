"""Runs a scorer over groups and writes what it found; a killed run goes on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import assert_never

from pydantic import JsonValue

from plaudit.data.schema.group import Group
from plaudit.data.schema.group_set import GroupSet
from plaudit.errors import DataError, OutputError
from plaudit.evaluation.metrics.answers import LAST_NUMBER, compiled_pattern, extract_answer
from plaudit.evaluation.metrics.labels import evaluate_labels
from plaudit.evaluation.metrics.position_bias import orders_kept
from plaudit.evaluation.metrics.preference import DEFAULT_TIE_RULE, TieRule
from plaudit.evaluation.official.benchmark import Benchmark, Facts, Loaded
from plaudit.evaluation.official.result import benchmark_result
from plaudit.evaluation.store.confident_errors import SurpriseCollector
from plaudit.evaluation.store.cut_log import CutLog, CutWatch
from plaudit.evaluation.store.existing import (
    ITEMS_NAME,
    RESULT_NAME,
    SCORING_NAME,
    GroupCut,
    Replace,
    ScoringRecord,
    Standing,
    Truncated,
    drop_unfinished,
    keep_whole_windows,
    standing_in,
    without_answers,
)
from plaudit.evaluation.store.items import scored_groups
from plaudit.evaluation.store.partial import PartialHeader, check_same, scored_once
from plaudit.evaluation.store.precomputed import RecordedRewards
from plaudit.evaluation.store.stored_items import KeptRewards, what_rewards_are
from plaudit.records import ItemScore, Result, write_json_lines, write_record
from plaudit.scoring.scorer import GivesLogOdds, Scorer, compares

PARTIAL_NAME = "items.partial.jsonl"
CUTS_NAME = "cuts.partial.jsonl"
SURPRISING_NAME = "surprising.json"


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
    window: int = 1,
) -> Result:
    """Return the result of ``scorer`` on ``groups``, over every kind of label that they carry, and write it.

    ``output_dir`` receives ``items.jsonl`` (every reward), ``surprising.json`` (the texts of the most confidently
    wrong pairs), ``scoring.json`` (the model's ``settings``, and what it was not shown of over-long responses) and,
    last, ``result.json``. Until then each scored item is a line of ``items.partial.jsonl``; a run that was killed finds
    it there and scores only what is missing. An unfinished run is taken up only where name, model, hashes and
    ``answer_pattern`` are those it was begun with; ``replace`` says what of another one may be replaced. The last match
    of that pattern in a response, or of its first group, is its final answer, for the majority's vote where outcomes
    are known. ``progress`` is told the number of items done, first of those on file. Of win rates the log-odds are
    asked for, and there are no figures across groups. A scorer that batches ``window`` groups together is gone on with
    from the end of a window, so that its batches, and with them the last digits, are those of an unbroken run.

    Raises:
        ModelError: when the scorer gives another number of rewards, other ids or another order.
        DataError: when ``items.partial.jsonl`` is of another evaluation, another model or other data.
        OutputError: when a file cannot be written.
        ConfigError: when ``answer_pattern`` is no regular expression; when the folder holds the result of another
            evaluation, which ``replace`` does not allow to be replaced.
    """
    header = PartialHeader(
        name=name,
        model=model,
        recipe_hash=recipe_hash,
        weights_hash=weights_hash,
        data_fingerprint=data_fingerprint,
        answer_pattern=answer_pattern,
    )
    run = _Run(scorer, header, output_dir, replace, settings or {}, progress, window)
    run.score(groups)
    result = evaluate_labels(
        run.items,
        name=name,
        model=model,
        tie_rule=tie_rule,
        seed=seed,
        recipe_hash=recipe_hash,
        data_fingerprint=data_fingerprint,
        relative=compares(scorer),
    )
    left_out = groups.report.dropped if isinstance(groups, GroupSet) else {}
    return run.written(result.model_copy(update={"left_out": dict(left_out)}))


def evaluate_benchmark(
    scorer: Scorer,
    benchmark: Benchmark,
    loaded: Loaded,
    *,
    model: str,
    output_dir: Path,
    recipe_hash: str | None = None,
    weights_hash: str | None = None,
    tie_rule: TieRule = DEFAULT_TIE_RULE,
    answer_pattern: str = LAST_NUMBER,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    replace: Replace = "finished",
    settings: Mapping[str, JsonValue] | None = None,
    window: int = 1,
) -> Result:
    """Return the result of ``scorer`` on what was loaded of ``benchmark``, and write it as ``evaluate`` does.

    The items carry the official fields that the figures need, so ``benchmark_result`` of the items in ``items.jsonl``
    gives them again. Rows that could not be made groups are items without rewards.

    Raises:
        ModelError, DataError, OutputError, ConfigError: see ``evaluate``.
    """
    header = PartialHeader(
        name=benchmark.name,
        model=model,
        recipe_hash=recipe_hash,
        weights_hash=weights_hash,
        data_fingerprint=loaded.fingerprint,
        answer_pattern=answer_pattern,
    )
    run = _Run(scorer, header, output_dir, replace, settings or {}, progress, window)
    run.score(loaded.groups, facts=loaded.facts, refused=loaded.refused)
    result = benchmark_result(
        run.items,
        benchmark,
        model=model,
        tie_rule=tie_rule,
        seed=seed,
        recipe_hash=recipe_hash,
        data_fingerprint=loaded.fingerprint,
        relative=compares(scorer),
    )
    return run.written(result)


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
        OutputError: when a file cannot be written.
    """
    standing = standing_in(output_dir) if replace == "nothing" else None
    if standing is not None:
        standing.check_model(model)
    result = benchmark_result(items, benchmark, model=model, tie_rule=tie_rule)
    _unlink(output_dir, RESULT_NAME, SCORING_NAME, SURPRISING_NAME)
    write_json_lines(output_dir / ITEMS_NAME, items)
    write_record(output_dir / RESULT_NAME, result)
    return result


class _Run:
    """One evaluation in its folder: items taken from there or scored now, and what is written of them."""

    def __init__(
        self,
        scorer: Scorer,
        header: PartialHeader,
        folder: Path,
        replace: Replace,
        settings: Mapping[str, JsonValue],
        progress: Callable[[int], None] | None,
        window: int,
    ) -> None:
        self.items: list[ItemScore] = []
        self._scorer = scorer.in_log_odds() if isinstance(scorer, GivesLogOdds) else scorer
        self._header = header
        self._folder = folder
        self._replace = replace
        self._settings = dict(settings)
        self._progress = progress
        self._window = window
        self._answers = compiled_pattern(header.answer_pattern)
        self._surprising = SurpriseCollector()
        self._cuts: Sequence[GroupCut] = ()
        self._past_those_on_file = False

    def score(
        self,
        groups: Iterable[Group],
        *,
        facts: Mapping[str, Facts] | None = None,
        refused: Sequence[ItemScore] = (),
    ) -> None:
        """Find the item of every group, those on file first, and put those of ``refused`` behind them."""
        finished = self._finished()
        found = self._scored(groups, facts or {}) if finished is None else self._taken(groups, finished, len(refused))
        for group, item in found:
            self.items.append(item)
            self._surprising.add(group, item)
            self._tell()
        if isinstance(self._scorer, RecordedRewards | KeptRewards):
            self._scorer.found(item.id for item in self.items)
        self.items += refused

    def _tell(self) -> None:
        """Tell the number of items done; of those on file only the last, as they say nothing of the pace."""
        if self._progress is not None and self._past_those_on_file:
            self._progress(len(self.items))

    def written(self, result: Result) -> Result:
        """Return ``result`` with what was cut, written with everything that belongs to it."""
        truncated = Truncated.of(self._cuts)
        whole = result.model_copy(update={"details": result.details | truncated.as_details()})
        scoring = ScoringRecord(
            evaluation=without_answers(self._header),
            settings=self._settings,
            truncated=truncated,
            cuts=tuple(self._cuts),
        )
        # An older result goes first, so that it never stands beside items that are not its own.
        _unlink(self._folder, RESULT_NAME)
        write_json_lines(self._folder / ITEMS_NAME, self.items)
        write_record(self._folder / SURPRISING_NAME, self._surprising.pairs())
        write_record(self._folder / SCORING_NAME, scoring)
        write_record(self._folder / RESULT_NAME, whole)
        _unlink(self._folder, PARTIAL_NAME, CUTS_NAME)
        return whole

    def _finished(self) -> Standing | None:
        """Return the finished result in the folder where its rewards are to be taken as they are."""
        match self._replace:
            case "finished" | "all":
                return None
            case "nothing":
                standing = standing_in(self._folder)
                if standing is None:
                    return None
                standing.check(self._header, self._settings)
                return standing if standing.is_of(self._header) else None
            case _:
                assert_never(self._replace)

    def _taken(self, groups: Iterable[Group], standing: Standing, refused: int) -> Iterator[tuple[Group, ItemScore]]:
        """Yield every group with its finished item, its answers found by the pattern of this run."""
        known, path = standing.items(refused), standing.folder / ITEMS_NAME
        listed = list(groups)
        if len(known) != len(listed):
            raise DataError(
                f"{path}: holds {len(known)} items for {len(listed)} groups; add --overwrite to score again"
            )
        self._cuts = () if standing.scoring is None else standing.scoring.cuts
        for line, (group, item) in enumerate(zip(listed, known, strict=True), start=1):
            check_same(group, item, f"{path}:{line}")
            if item.answers is None:
                yield group, item
            else:
                answers = tuple(extract_answer(response, self._answers) for response in group.responses)
                yield group, item.model_copy(update={"answers": answers})

    def _scored(self, groups: Iterable[Group], facts: Mapping[str, Facts]) -> Iterator[tuple[Group, ItemScore]]:
        """Yield every group with its item: those of an unfinished run, then those that are scored now."""
        partial = self._folder / PARTIAL_NAME
        recorded = isinstance(self._scorer, RecordedRewards)
        drop_unfinished(partial, self._header, with_items=self._replace == "all", recorded=recorded)
        total = len(groups) if isinstance(groups, Sized) else None
        keep_whole_windows(partial, self._header, self._window, total=total)
        log = CutLog(self._folder / CUTS_NAME, partial)

        def score(remaining: Iterator[Group]) -> Iterator[tuple[Group, ItemScore]]:
            self._past_those_on_file = True
            self._tell()
            watch = CutWatch(self._scorer)
            with orders_kept(self._scorer) as orders:
                for group, item in scored_groups(watch, remaining, answers=self._answers):
                    log.add(len(self.items), group, watch.next_cut())
                    known: dict[str, object] = {} if orders is None else {"orders": tuple(orders.popleft())}
                    if group.id in facts:
                        known["facts"] = dict(facts[group.id])
                    yield group, item.model_copy(update=what_rewards_are(self._scorer, group) | known)

        yield from scored_once(partial, self._header, groups, check=check_same, score=score)
        self._cuts = log.cuts


def _unlink(folder: Path, *names: str) -> None:
    for name in names:
        try:
            (folder / name).unlink(missing_ok=True)
        except NotADirectoryError:
            continue
        except OSError as error:
            raise OutputError(f"cannot write {folder / name}: {error.strerror or error}") from error
