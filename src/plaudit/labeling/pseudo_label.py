"""Pseudo-preferences: where a scorer is sure which of two unlabelled responses is better, that becomes the label.

Source: He et al. (2024), Semi-Supervised Reward Modeling via Iterative Self-Training, arXiv 2409.06903. The label is
*applied*: chosen is the response that the scorer prefers, wherever it stands in the group. What the data say of their
responses is never used as a label; preferences among it only measure how often the pseudo-labels are right.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np
from pydantic import BaseModel, Field, PrivateAttr

from plaudit.data.reading.write import write_groups
from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group import Group, Preference
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.store.items import scored_with_rewards
from plaudit.records import Interval, Record, RewardScale, first_problem, write_record
from plaudit.scoring.scorer import Scorer, ScorerInfo, info_of
from plaudit.statistics.intervals import proportion_interval

DEFAULT_THRESHOLD = 0.8

PairChoice = Literal["all", "best_vs_worst"]


@dataclass(slots=True)
class LabelAgreement:
    """Agreement of labels with those of the data: one entry per pair that both decide.

    Arrays, so that a million of them are 9 MB.
    """

    _right: array[int] = field(default_factory=lambda: array("b"))
    _prompts: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, prompt: str, *, right: bool) -> None:
        """Note whether the label of a pair of responses to ``prompt`` agrees."""
        self._right.append(right)
        self._prompts.append(hash64(prompt.encode()))

    def interval(self) -> Interval | None:
        """Return the share of labels that agree, clustered by prompt; None where there is no such pair."""
        return proportion_interval(self._right, np.asarray(self._prompts, dtype=np.uint64))


class PseudoCounts(BaseModel):
    """Counts of a labelling: pairs = kept + below + ties + unscored."""

    groups: int = 0
    """Groups read."""
    groups_kept: int = 0
    """Groups with a kept pseudo-label: those that were written."""
    single_responses: int = 0
    """Groups of one response, which hold no pair."""
    pairs: int = 0
    """Pairs looked at."""
    kept: int = 0
    """Pairs whose confidence reached the threshold."""
    below: int = 0
    """Pairs whose confidence did not."""
    ties: int = 0
    """Pairs of confidence exactly ½, which are never kept."""
    unscored: int = 0
    """Pairs that could not be scored."""
    responses_left_out: int = 0
    """Responses of written groups that no kept pseudo-label names."""
    largest_confidence: float | None = None
    """Largest confidence of any pair; null where none was scored."""
    reasons: Counter[str] = Field(default_factory=Counter)
    """Groups with a response that could not be scored, by reason."""
    contradictory_gold: int = 0
    """Pairs whose gold preferences contradict each other; they are not in the accuracies."""


class PseudoLabels(PseudoCounts, Record):
    """Record of a labelling: its inputs, settings and counts."""

    model: str
    """Hash of the model that gave the labels."""
    data_fingerprint: str | None = None
    """Hash of the unlabelled data."""
    threshold: float
    """Least confidence at which a label is kept."""
    pairs_of: PairChoice
    """Choice of pairs in a group."""
    soft: bool
    """True where the labels carry their probability."""
    temperature: float
    """Divisor that made log-odds of the differences of rewards."""
    unit: RewardScale | None = None
    """Scale of the rewards, or of the strengths of a model that compares; null where nothing said so, and in records
    of plaudit 0.1."""
    accuracy: Interval | None
    """LabelAgreement of all pseudo-labels, kept or not, with the gold preferences; null where the data have none."""
    accuracy_kept: Interval | None
    """The same of those that were kept."""


class PseudoTally(PseudoCounts):
    """The counts of a labelling while it runs."""

    _all: LabelAgreement = PrivateAttr(default_factory=LabelAgreement)
    _kept: LabelAgreement = PrivateAttr(default_factory=LabelAgreement)

    def count(self, guess: Guess, *, kept: bool) -> None:
        """Count one pair."""
        self.pairs += 1
        self.kept += kept
        if guess.confidence is None:
            self.unscored += 1
            return
        self.largest_confidence = max(self.largest_confidence or 0.0, guess.confidence)
        if not guess.prefers:
            self.ties += 1
        elif not kept:
            self.below += 1

    def compare(self, *, right: bool, kept: bool, prompt: str) -> None:
        """Note whether a pseudo-label agrees with the gold preference of its pair."""
        for agreement in (self._all, self._kept) if kept else (self._all,):
            agreement.add(prompt, right=right)

    def accuracy(self, *, kept_only: bool) -> Interval | None:
        """Return how often the pseudo-labels agree with the gold preferences; None where there is no such pair.

        Wilson's interval where every prompt comes once, else Student's over prompts. Ties and unscored pairs make no
        pseudo-label and are not in it.
        """
        return (self._kept if kept_only else self._all).interval()


def pseudo_labelled(
    scorer: Scorer,
    groups: Iterable[Group],
    *,
    model: str,
    tally: PseudoTally,
    threshold: float = DEFAULT_THRESHOLD,
    pairs: PairChoice = "all",
    soft: bool = False,
    temperature: float | None = None,
) -> Iterator[Group]:
    """Yield the groups of which a pair reaches the threshold, with those pairs as their only labels, streaming.

    With p the scorer's probability that response i is better than j (see ``guess_pairs``), of rewards that are log-odds
    or are made such by a fitted ``temperature``, a pair is kept where its confidence max(p, 1 − p) is at least
    ``threshold``, and above ½; chosen is then i where p > ½, else j. ``soft`` keeps the confidence as the label's
    probability.

    A yielded group has the id of its group and the source ``pseudo:<model>``; responses that no kept pair names are
    left out of it. ``tally`` counts everything.

    Raises:
        ConfigError: for a threshold outside ½ to 1; see ``log_odds_divisor``.
        ModelError: when the scorer gives something else than was asked for.
    """
    _check_threshold(threshold)
    divisor = log_odds_divisor(info_of(scorer), temperature)
    for group, guesses, reason in guess_pairs(scorer, groups, pairs=pairs, divisor=divisor):
        tally.groups += 1
        tally.single_responses += len(group.responses) == 1
        if reason is not None:
            tally.reasons[reason.split(":")[0]] += 1
        gold = _gold(group, tally)
        kept: list[Guess] = []
        for guess in guesses:
            is_kept = guess.prefers and guess.confidence is not None and guess.confidence >= threshold
            tally.count(guess, kept=is_kept)
            better = gold.get(frozenset((guess.chosen, guess.rejected)))
            if guess.prefers and better is not None:
                tally.compare(right=guess.chosen == better, kept=is_kept, prompt=group.prompt_key)
            if is_kept:
                kept.append(guess)
        if kept:
            tally.groups_kept += 1
            yield _relabelled(group, kept, model, tally, soft=soft)


def write_pseudo_labels(
    path: Path,
    scorer: Scorer,
    groups: Iterable[Group],
    *,
    model: str,
    threshold: float = DEFAULT_THRESHOLD,
    pairs: PairChoice = "all",
    soft: bool = False,
    temperature: float | None = None,
    data_fingerprint: str | None = None,
) -> PseudoLabels:
    """Write the groups of ``pseudo_labelled`` to ``path`` and return the record, which then stands beside it.

    Both are written atomically, the record last (see ``record_path``): a file of pseudo-labels with a record is whole.

    Raises:
        ConfigError, ModelError: see ``pseudo_labelled``.
        OutputError: when a file cannot be written.
    """
    tally, info = PseudoTally(), info_of(scorer)
    divisor = log_odds_divisor(info, temperature)
    record_path(path).unlink(missing_ok=True)
    rule: dict[str, Any] = {"threshold": threshold, "soft": soft, "temperature": divisor}
    write_groups(path, pseudo_labelled(scorer, groups, model=model, tally=tally, pairs=pairs, **rule))
    record = PseudoLabels(
        **tally.model_dump(),
        **rule,
        unit=unit_of(info),
        model=model,
        data_fingerprint=data_fingerprint,
        pairs_of=pairs,
        accuracy=tally.accuracy(kept_only=False),
        accuracy_kept=tally.accuracy(kept_only=True),
    )
    write_record(record_path(path), record)
    return record


def record_path(path: Path) -> Path:
    """Return where the record of a file of pseudo-labels stands: ``a.jsonl`` has ``a.record.json``."""
    return path.with_name(f"{path.name.removesuffix('.gz').removesuffix('.jsonl')}.record.json")


def read_pseudo_labels(path: Path) -> PseudoLabels | None:
    """Return the record of the pseudo-labels in ``path``, or None where they are missing or were not finished.

    Raises:
        DataError: when the record is none of plaudit's.
    """
    record = record_path(path)
    if not path.exists() or not record.exists():
        return None
    try:
        return PseudoLabels.model_validate_json(record.read_bytes())
    except ValueError as error:
        raise DataError(f"{record}: not a record of pseudo-labels: {first_problem(error)}; remove it") from None


def _check_threshold(threshold: float) -> None:
    if not 0.5 <= threshold <= 1.0:
        raise ConfigError(f"threshold is {threshold}; it must lie between 0.5 and 1")


def _gold(group: Group, tally: PseudoTally) -> Mapping[frozenset[int], int | None]:
    """Return {pair: the response that the data prefer}, None where they say both; a probability of ½ says nothing."""
    found: dict[frozenset[int], int | None] = {}
    for preference in group.preferences:
        better, pair = preferred(preference), frozenset((preference.chosen, preference.rejected))
        if better is not None and found.setdefault(pair, better) not in (better, None):
            found[pair] = None
            tally.contradictory_gold += 1
    return found


def preferred(preference: Preference) -> int | None:
    """Return the response that a preference of the data holds to be better; None for a probability of ½."""
    if preference.probability is None or preference.probability > 0.5:
        return preference.chosen
    return preference.rejected if preference.probability < 0.5 else None


def _relabelled(group: Group, kept: Sequence[Guess], model: str, tally: PseudoTally, *, soft: bool) -> Group:
    """Return the group with the kept guesses as its preferences, and the responses that they name in their order."""
    named = sorted({k for guess in kept for k in (guess.chosen, guess.rejected)})
    place = {k: position for position, k in enumerate(named)}
    tally.responses_left_out += len(group.responses) - len(named)
    return Group(
        group.prompt,
        tuple(group.responses[k] for k in named),
        tuple(
            Preference(place[guess.chosen], place[guess.rejected], probability=guess.confidence if soft else None)
            for guess in kept
        ),
        id=group.id,
        source=f"pseudo:{model}",
    )


# ------------------------------------------------------------------------------------------------ guesses


def log_odds_divisor(info: ScorerInfo, temperature: float | None) -> float:
    """Return the divisor that makes log-odds of the differences of a scorer's rewards, or of its strengths.

    It is 1 where they are log-odds already, and else a temperature that was fitted to them.

    Raises:
        ConfigError: for a temperature that is not positive; where there is none, and the rewards are no log-odds.
    """
    if temperature is not None:
        if not (temperature > 0.0 and math.isfinite(temperature)):
            raise ConfigError(f"temperature is {temperature}; it must be a number above 0")
        return temperature
    scale = unit_of(info)
    match scale:
        case "log_odds_values" | "log_odds_differences" | "assumed_log_odds_differences":
            return 1.0
        case "ratings" | "probabilities" | "win_rates" | "order":
            found = "of which only the order counts" if scale == "order" else f"that are {scale.replace('_', ' ')}"
        case None:
            found = "that it does not say what they are"
        case _:
            assert_never(scale)
    raise ConfigError(
        f"the model gives rewards {found}, so no difference of them is a log-odds; give the temperature that fits "
        "their differences (plaudit evaluate measures it on labelled pairs)"
    )


def unit_of(info: ScorerInfo) -> RewardScale | None:
    """Return the scale of the numbers whose differences are read as log-odds: the strengths where there are some."""
    return info.scale if info.strengths is None else info.strengths


@dataclass(frozen=True, slots=True)
class Guess:
    """Prediction for two responses of a group: ``chosen`` is better with probability ``confidence`` ≥ ½.

    At exactly ½ it is a tie, and which one is called chosen means nothing; None says that the pair was not scored.
    """

    chosen: int
    rejected: int
    confidence: float | None

    @property
    def prefers(self) -> bool:
        """True where one response is preferred: neither a tie nor unscored."""
        return self.confidence is not None and self.confidence > 0.5


def guess_pairs(
    scorer: Scorer, groups: Iterable[Group], *, pairs: PairChoice, divisor: float
) -> Iterator[tuple[Group, list[Guess], str | None]]:
    """Yield each group with the guesses of ``scorer`` about it, and why one of it has none, in order, streaming.

    P(i better than j) = σ((r_i − r_j) ÷ divisor), r being the strengths of a scorer of win rates and the rewards of any
    other; for the divisor see ``log_odds_divisor``. ``all``: every pair of the group. ``best_vs_worst``: the responses
    with the highest and the lowest reward; of equals, the first.

    Raises:
        ModelError: when the scorer gives something else than was asked for.
    """
    for group, _, item in scored_with_rewards(scorer, groups, in_log_odds=True):
        chosen = _choose(item.rewards, pairs)
        yield group, [_from_rewards(item.rewards, i, j, divisor) for i, j in chosen], item.reason


def _choose(rewards: Sequence[float | None], choice: PairChoice) -> list[tuple[int, int]]:
    """Return the pairs of responses to look at; with fewer than two rewards, best and worst are the first two."""
    match choice:
        case "all":
            return list(itertools.combinations(range(len(rewards)), 2))
        case "best_vs_worst":
            scored = [(reward, k) for k, reward in enumerate(rewards) if reward is not None]
            if len(scored) < 2:
                return [(0, 1)] if len(rewards) > 1 else []
            best = max(scored, key=lambda each: each[0])[1]
            worst = min((each for each in scored if each[1] != best), key=lambda each: each[0])[1]
            return [(best, worst)]
        case _:
            assert_never(choice)


def _from_rewards(rewards: Sequence[float | None], i: int, j: int, divisor: float) -> Guess:
    first, second = rewards[i], rewards[j]
    if first is None or second is None:
        return Guess(i, j, None)
    chosen, rejected = (i, j) if first >= second else (j, i)
    return Guess(chosen, rejected, 1.0 / (1.0 + math.exp(-abs(first - second) / divisor)))
