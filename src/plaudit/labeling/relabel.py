"""Relabelling: a gold scorer says which response of a pair is better, in place of the labels that the data came with.

``relabel_file`` is ``plaudit data relabel``: a file of groups, resumable.

Source: Razin et al. (2025), What Makes a Reward Model a Good Teacher?, arXiv 2503.15477, where a strong reward model is
the ground truth. There a pair of equal rewards stays a preference; here it becomes none, or one of probability ½.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal, assert_never

from pydantic import BaseModel, Field, JsonValue, PrivateAttr

from plaudit.data.reading.options import ReadingOptions
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference
from plaudit.data.schema.pairing import ranks_of
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.evaluation.store.items import item_score, scored_with_rewards
from plaudit.jobs import Progress, check_shard, fill, shard_of
from plaudit.journal import Journal, check_new, check_output, locked
from plaudit.labeling.pseudo_label import LabelAgreement, log_odds_divisor, preferred, record_path, unit_of
from plaudit.opening import open_scorer
from plaudit.provenance import made_now
from plaudit.records import Interval, MadeRecord, Record, RewardScale, write_record
from plaudit.scoring.files import ScoringWorker, check_rewards_of, parse_rewards
from plaudit.scoring.scorer import Scorer, ScorerInfo, info_of
from plaudit.statistics.steps import Aggregation

GOLD = "gold"
ORIGINAL_WINS = "original_wins"
ORIGINAL_RANK = "original_rank"

Labels = Literal["hard", "soft"]
PairsOf = Literal["given", "all"]
_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RelabelRule:
    """Rule that turns rewards into labels.

    Raises:
        ConfigError: for a temperature that is not positive, or one where nothing is divided by it, and for an attribute
            without a name or with that of the original labels.
    """

    labels: Labels = "hard"
    """``hard``: the response of the higher reward is chosen; equal rewards make no preference. ``soft``: it is chosen
    with probability σ((its reward − the other) ÷ temperature); equal rewards make one of ½."""
    temperature: float | None = None
    """Divisor of the reward differences, for soft labels; None is 1, and for rewards that are log-odds only."""
    pairs: PairsOf = "given"
    """``given``: the pairs that the preferences of the data name. ``all``: every two responses of a group."""
    attribute: str = GOLD
    """Rating that the rewards are written as."""
    keep_original: bool = False
    """Write the original labels as ratings: ``original_wins``, the share of a response's preferences that it won, and
    ``original_rank``."""

    def __post_init__(self) -> None:
        """Check every field."""
        if self.temperature is not None and not (self.temperature > 0.0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature is {self.temperature}; it must be a number above 0")
        if self.labels == "hard" and self.temperature not in (None, 1.0):
            raise ConfigError(f"temperature is {self.temperature}, but hard labels have none; ask for soft labels")
        if not self.attribute or self.attribute in (ORIGINAL_WINS, ORIGINAL_RANK):
            raise ConfigError(f"attribute is {self.attribute!r}; give the rewards another name")

    def check(self, info: ScorerInfo) -> None:
        """Raise ConfigError for soft labels of rewards that are no log-odds, without a temperature."""
        if self.labels == "soft":
            log_odds_divisor(info, self.temperature)


class _Counts(BaseModel):
    groups: int = 0
    """Groups read; every one is written."""
    scored: int = 0
    """Groups whose every response has a reward."""
    unscored: Counter[str] = Field(default_factory=Counter)
    """For each reason, the groups with a response that has none."""
    pairs: int = 0
    """Pairs of responses that were to be labelled, each once."""
    agreed: int = 0
    """Pairs of which the data prefer the same response as the gold reward."""
    swapped: int = 0
    """Pairs of which the data prefer the other response."""
    newly_decided: int = 0
    """Pairs of which the data prefer none, or each once, and the gold reward prefers one."""
    ties: int = 0
    """Pairs of equal rewards: no preference where labels are hard, one of probability ½ where they are soft."""
    unscored_pairs: int = 0
    """Pairs with a response that has no reward: they have no preference any more."""
    repeated: int = 0
    """Preferences of the data beyond the first of their pair."""
    margins_dropped: int = 0
    """Preferences whose margin was not kept: it was of the other labels."""
    ranked: int = 0
    """Groups whose ranks were made anew."""
    ranks_changed: int = 0
    """Those of them whose order or ties are others now."""


class RelabelCounts(_Counts, Record):
    """Counts of a relabelling: groups = scored + the sum of unscored; pairs = the six kinds below it."""

    agreement: Interval | None
    """Share of the pairs decided by both, of which both prefer the same response; null where there are none."""


class RelabelTally(_Counts):
    """The counts of a relabelling while it runs."""

    _agreement: LabelAgreement = PrivateAttr(default_factory=LabelAgreement)

    def compare(self, *, agreed: bool, prompt: str) -> None:
        """Count a pair that both the data and the gold reward decide."""
        self.agreed += agreed
        self.swapped += not agreed
        self._agreement.add(prompt, right=agreed)

    def counts(self) -> RelabelCounts:
        """Return the counts as a record; the interval of the agreement resamples prompts."""
        return RelabelCounts(**self.model_dump(), agreement=self._agreement.interval())


def relabelled(scorer: Scorer, groups: Iterable[Group], *, rule: RelabelRule, tally: RelabelTally) -> Iterator[Group]:
    """Yield every group with the labels that ``scorer`` gives it, in order, streaming.

    Of a scorer of win rates soft labels are made of its strengths, which are log-odds.

    Raises:
        ConfigError: for soft labels of rewards that are no log-odds, without a temperature.
        DataError: when a group has a rating of a name that is to be written.
        ModelError: when the scorer gives something else than was asked for.
    """
    rule.check(info_of(scorer))
    for group, _, item in scored_with_rewards(scorer, groups, in_log_odds=rule.labels == "soft"):
        yield relabelled_group(group, item.rewards, rule=rule, tally=tally, reason=item.reason)


def relabelled_group(
    group: Group,
    rewards: Sequence[float | None],
    *,
    rule: RelabelRule,
    tally: RelabelTally,
    reason: str | None = None,
) -> Group:
    """Return the group under the labels that ``rewards``, one per response, give it.

    Its preferences are of the pairs that ``rule.pairs`` asks for, in the order of the data and then by index; its
    ranks, where it has some, follow the rewards; the rewards become the rating ``rule.attribute``. Responses, other
    ratings, outcomes, steps, id and source stay. A pair with a response without a reward gets no preference.

    Raises:
        DataError: when the group has a rating of a name that is to be written.
    """
    tally.groups += 1
    if None in rewards:
        tally.unscored[(reason or "no reward").split(":")[0]] += 1
    else:
        tally.scored += 1
    said = _said(group, tally)
    match rule.pairs:
        case "given":
            pairs = list(said)
        case "all":
            pairs = [*said, *(each for each in combinations(range(len(rewards)), 2) if each not in said)]
        case _:
            assert_never(rule.pairs)
    made = [_preference(pair, said.get(pair), rewards, rule, tally, group.prompt_key) for pair in pairs]
    return replace(
        group,
        preferences=tuple(each for each in made if each is not None),
        ranks=None if group.ranks is None else _ranks(group.ranks, rewards, tally),
        ratings=_ratings(group, rewards, rule),
    )


def _said(group: Group, tally: RelabelTally) -> dict[_Pair, int | None]:
    """Return {pair, the smaller index first: the response that the data prefer}, None where they decide nothing."""
    said: dict[_Pair, int | None] = {}
    for preference in group.preferences:
        tally.margins_dropped += preference.margin is not None
        better = preferred(preference)
        pair = (min(preference.chosen, preference.rejected), max(preference.chosen, preference.rejected))
        if pair not in said:
            said[pair] = better
            continue
        tally.repeated += 1
        if said[pair] != better:
            said[pair] = None
    return said


def _preference(
    pair: _Pair,
    said: int | None,
    rewards: Sequence[float | None],
    rule: RelabelRule,
    tally: RelabelTally,
    prompt: str,
) -> Preference | None:
    """Return the gold preference of a pair, counted; None where there is none."""
    tally.pairs += 1
    first, second = rewards[pair[0]], rewards[pair[1]]
    if first is None or second is None:
        tally.unscored_pairs += 1
        return None
    if first == second:
        tally.ties += 1
        return Preference(*pair, probability=0.5) if rule.labels == "soft" else None
    chosen, rejected = pair if first > second else pair[::-1]
    if said is None:
        tally.newly_decided += 1
    else:
        tally.compare(agreed=said == chosen, prompt=prompt)
    match rule.labels:
        case "hard":
            return Preference(chosen, rejected)
        case "soft":
            lead = abs(first - second) / (rule.temperature or 1.0)
            return Preference(chosen, rejected, probability=1.0 / (1.0 + math.exp(-lead)))
        case _:
            assert_never(rule.labels)


def _ranks(given: Sequence[int | None], rewards: Sequence[float | None], tally: RelabelTally) -> tuple[int | None, ...]:
    made = ranks_of(rewards)
    tally.ranked += 1
    tally.ranks_changed += made != ranks_of([None if rank is None else -rank for rank in given])
    return made


def check_names(group: Group, rule: RelabelRule) -> None:
    """Raise DataError when the group has a rating of a name that is to be written."""
    written = (rule.attribute, ORIGINAL_WINS, ORIGINAL_RANK) if rule.keep_original else (rule.attribute,)
    for name in written:
        if name in group.ratings:
            raise DataError(f"group {group.id!r} has a rating {name!r} already, which would be written over")


def _ratings(group: Group, rewards: Sequence[float | None], rule: RelabelRule) -> dict[str, tuple[float | None, ...]]:
    check_names(group, rule)
    added: dict[str, tuple[float | None, ...]] = {}
    if rule.keep_original and group.preferences:
        added[ORIGINAL_WINS] = _wins(group)
    if rule.keep_original and group.ranks is not None:
        added[ORIGINAL_RANK] = tuple(None if rank is None else float(rank) for rank in group.ranks)
    added[rule.attribute] = tuple(rewards)
    return {**group.ratings, **added}


def _wins(group: Group) -> tuple[float | None, ...]:
    """Return the mean over a response's preferences of the probability that it is the better one; None without any."""
    won = [0.0] * len(group.responses)
    named = [0] * len(group.responses)
    for preference in group.preferences:
        probability = 1.0 if preference.probability is None else preference.probability
        for index, share in ((preference.chosen, probability), (preference.rejected, 1.0 - probability)):
            won[index] += share
            named[index] += 1
    return tuple(wins / count if count else None for wins, count in zip(won, named, strict=True))


# ------------------------------------------------------------------------------------------------ relabelled files


class RelabelRecord(MadeRecord):
    """Record beside a relabelled file: its inputs, the rule, and counts."""

    identity: dict[str, Any]
    """The gold scorer as it was named, its hashes and that of the data, the shard, and options that fix rewards."""
    labels: Labels
    """Kind of labels: hard preferences, or with their probability."""
    temperature: float
    """Divisor of the reward differences."""
    unit: RewardScale | None = None
    """Scale of the rewards, or of the strengths of a model that compares; null where nothing said so."""
    pairs: PairsOf
    """The pairs that were labelled."""
    attribute: str
    """Rating that the rewards are."""
    keep_original: bool
    """True where the data's own labels were kept as ratings."""
    counts: RelabelCounts
    """Counts of groups and pairs."""
    resumed: int
    """Groups that an earlier run had scored."""
    dropped_rows: dict[str, int] = Field(default_factory=dict)
    """For each reason, the rows of the input that could not be used."""


def relabel_file(
    model: str,
    input_path: str,
    output: Path,
    *,
    rule: RelabelRule,
    reading: ReadingOptions | None = None,
    max_tokens: int | None = None,
    aggregation: Aggregation | None = None,
    trust_remote_code: bool = False,
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RelabelRecord:
    """Write every group of the input, in its order, under the labels of ``model``, and return the record beside it.

    While it runs the rewards go to ``OUTPUT.partial``, where ``read_rewards`` can read them. A later call with the same
    model, input and shard goes on after the last whole window of it; the file it writes is that of an uninterrupted
    run. Another rule may be given then; of it rewards depend only on whether a scorer of win rates makes soft labels.

    Raises:
        ConfigError: when the output exists or is the input, or its partial file is of another model, input or shard.
        DataError, ModelError, CheckpointError: about the input and the model.
        OutputError: when the output cannot be written, or does not end in .jsonl or .jsonl.gz.
    """
    if not output.name.endswith((".jsonl", ".jsonl.gz")):
        raise OutputError(f"cannot write {output}: groups are written to .jsonl or .jsonl.gz")
    check_output(output, source=input_path, overwrite=overwrite)
    check_shard(*shard)
    groups = read_groups(input_path, reading)
    for group in groups:
        check_names(group, rule)
    scorer = open_scorer(model, max_tokens=max_tokens, aggregation=aggregation, trust_remote_code=trust_remote_code)
    rule.check(info := info_of(scorer))
    in_log_odds = rule.labels == "soft" and info.strengths is not None
    options: dict[str, JsonValue] = {"aggregation": aggregation, "in_log_odds": in_log_odds}
    options |= {} if max_tokens is None else {"max_tokens": max_tokens}
    worker = ScoringWorker(scorer, groups, model=model, in_log_odds=in_log_odds, options=options)
    part, tally = shard_of(worker, *shard), RelabelTally()
    with locked(output), part.journal(output, worker.header, worker.window) as journal:
        check_new(output, overwrite=overwrite)
        resumed = fill(journal, worker, part, progress, overwrite=overwrite)
        journal.resume(total=len(part))
        with journal.commit() as files:
            rows = iter(worker.rows(part.first, part.last))
            write_groups(files.stage(output), _relabelled(journal, rows, rule, tally))
            identity = {**worker.header.identity, "data_fingerprint": worker.header.data, "shard": list(shard)}
            settings: dict[str, Any] = dataclasses.asdict(rule) | {"temperature": rule.temperature or 1.0}
            record = RelabelRecord(
                **made_now(),
                **settings,
                unit=unit_of(info) if in_log_odds else info.scale,
                identity=identity,
                counts=tally.counts(),
                resumed=resumed,
                dropped_rows=groups.report.dropped,
            )
            write_record(files.stage(record_path(output)), record)
    return record


def _relabelled(journal: Journal, groups: Iterator[Group], rule: RelabelRule, tally: RelabelTally) -> Iterator[Group]:
    for group, rewards, place in journal.matched(groups, parse_rewards):
        check_rewards_of(group, rewards, place)
        item = item_score(group, rewards)
        yield relabelled_group(group, item.rewards, rule=rule, tally=tally, reason=item.reason)
