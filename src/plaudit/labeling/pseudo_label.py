"""Pseudo-preferences: where a scorer is sure which of two unlabelled responses is better, that becomes the label.

Source: He et al. (2024), Semi-Supervised Reward Modeling via Iterative Self-Training, arXiv 2409.06903. The label is
*applied*: chosen is the response that the scorer prefers, wherever it stands in the group. What the data say of their
responses is never used as a label; preferences among it only measure how often the pseudo-labels are right.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from plaudit.data.reading.write import write_groups
from plaudit.data.schema.columns import hash64
from plaudit.data.schema.group import Group, Preference
from plaudit.errors import ConfigError, DataError
from plaudit.evaluation.metrics.estimates import Estimator
from plaudit.labeling.predicted_preferences import Guess, PairChoice, guess_pairs
from plaudit.records import Interval, Record, first_problem, write_record
from plaudit.scoring.scorer import Scorer

DEFAULT_THRESHOLD = 0.8
CONFIDENCE = 0.95
RESAMPLES = 1000


class PseudoLabels(Record):
    """What a labelling was made with, and what came out of it: pairs = kept + below + ties + unscored."""

    model: str
    """Hash of the model that gave the labels."""
    data_fingerprint: str | None = None
    """Hash of the unlabelled data."""
    threshold: float
    """Least confidence at which a label is kept."""
    pairs_of: PairChoice
    """Which pairs of a group were looked at."""
    soft: bool
    """Whether the labels carry their probability."""
    temperature: float
    """What the log-odds were divided by."""
    groups: int
    """Groups read."""
    groups_kept: int
    """Groups with a kept pseudo-label: those that were written."""
    single_responses: int
    """Groups of one response, which hold no pair."""
    pairs: int
    """Pairs looked at."""
    kept: int
    """Pairs whose confidence reached the threshold."""
    below: int
    """Pairs whose confidence did not."""
    ties: int
    """Pairs of confidence exactly ½, which are never kept."""
    unscored: int
    """Pairs that could not be scored."""
    responses_left_out: int
    """Responses of written groups that no kept pseudo-label names."""
    largest_confidence: float | None
    """Largest confidence of any pair; null where none was scored."""
    reasons: dict[str, int]
    """Groups with a response that could not be scored, by reason."""
    contradictory_gold: int
    """Pairs whose gold preferences contradict each other; they are not in the accuracies."""
    accuracy: Interval | None
    """Agreement of all pseudo-labels, kept or not, with the gold preferences; null where the data have none."""
    accuracy_kept: Interval | None
    """The same of those that were kept."""


@dataclass(slots=True)
class PseudoTally:
    """The counts of a labelling while it runs; named as in ``PseudoLabels``."""

    groups: int = 0
    groups_kept: int = 0
    single_responses: int = 0
    pairs: int = 0
    kept: int = 0
    below: int = 0
    ties: int = 0
    unscored: int = 0
    responses_left_out: int = 0
    contradictory_gold: int = 0
    largest_confidence: float | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    # One entry for each pseudo-label with a gold preference; arrays, so that a million of them are 10 MB.
    _right: array[int] = field(default_factory=lambda: array("b"))
    _was_kept: array[int] = field(default_factory=lambda: array("b"))
    _prompts: array[int] = field(default_factory=lambda: array("Q"))

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
        self._right.append(right)
        self._was_kept.append(kept)
        self._prompts.append(hash64(prompt.encode()))

    def accuracy(self, *, kept_only: bool) -> Interval | None:
        """Return how often the pseudo-labels agree with the gold preferences; None where there is no such pair.

        Wilson's interval where every prompt comes once, else a bootstrap over prompts. Ties and unscored pairs make no
        pseudo-label and are not in it.
        """
        chosen = np.asarray(self._was_kept, dtype=bool) if kept_only else np.ones(len(self._right), dtype=bool)
        right = np.asarray(self._right, dtype=np.float64)[chosen]
        estimate = Estimator(confidence=CONFIDENCE, resamples=RESAMPLES, seed=0)
        return estimate.share(right, np.asarray(self._prompts, dtype=np.uint64)[chosen])


def pseudo_labelled(
    scorer: Scorer,
    groups: Iterable[Group],
    *,
    model: str,
    tally: PseudoTally,
    threshold: float = DEFAULT_THRESHOLD,
    pairs: PairChoice = "all",
    soft: bool = False,
    temperature: float = 1.0,
) -> Iterator[Group]:
    """Yield the groups of which a pair reaches the threshold, with those pairs as their only labels, streaming.

    With p the scorer's probability that response i is better than j (see ``guess_pairs``), a pair is kept where its
    confidence max(p, 1 − p) is at least ``threshold``, and above ½; chosen is then i where p > ½, else j. ``soft``
    keeps the confidence as the label's probability.

    A yielded group has the id of its group and the source ``pseudo:<model>``; responses that no kept pair names are
    left out of it. ``tally`` counts everything.

    Raises:
        ConfigError: for a threshold outside ½ to 1, or a temperature that is not positive.
        ModelError: when the scorer gives something else than was asked for.
    """
    _check_rule(threshold, temperature)
    for group, guesses, reason in guess_pairs(scorer, groups, pairs=pairs, temperature=temperature):
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
    temperature: float = 1.0,
    data_fingerprint: str | None = None,
) -> PseudoLabels:
    """Write what ``pseudo_labelled`` yields to ``path`` and return its record, which then stands beside it.

    Both are written atomically, the record last (see ``record_path``): a file of pseudo-labels with a record is whole.

    Raises:
        ConfigError, ModelError: see ``pseudo_labelled``.
        OutputError: when a file cannot be written.
    """
    tally = PseudoTally()
    record_path(path).unlink(missing_ok=True)
    write_groups(
        path,
        pseudo_labelled(
            scorer,
            groups,
            model=model,
            tally=tally,
            threshold=threshold,
            pairs=pairs,
            soft=soft,
            temperature=temperature,
        ),
    )
    record = PseudoLabels(
        model=model,
        data_fingerprint=data_fingerprint,
        threshold=threshold,
        pairs_of=pairs,
        soft=soft,
        temperature=temperature,
        groups=tally.groups,
        groups_kept=tally.groups_kept,
        single_responses=tally.single_responses,
        pairs=tally.pairs,
        kept=tally.kept,
        below=tally.below,
        ties=tally.ties,
        unscored=tally.unscored,
        responses_left_out=tally.responses_left_out,
        largest_confidence=tally.largest_confidence,
        reasons=dict(tally.reasons),
        contradictory_gold=tally.contradictory_gold,
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


def _check_rule(threshold: float, temperature: float) -> None:
    if not 0.5 <= threshold <= 1.0:
        raise ConfigError(f"threshold is {threshold}; it must lie between 0.5 and 1")
    if not (temperature > 0.0 and math.isfinite(temperature)):
        raise ConfigError(f"temperature is {temperature}; it must be a number above 0")


def _gold(group: Group, tally: PseudoTally) -> Mapping[frozenset[int], int | None]:
    """Return {pair: the response that the data prefer}, None where they say both; a probability of ½ says nothing."""
    found: dict[frozenset[int], int | None] = {}
    for preference in group.preferences:
        probability = 1.0 if preference.probability is None else preference.probability
        if probability == 0.5:
            continue
        better = preference.chosen if probability > 0.5 else preference.rejected
        pair = frozenset((preference.chosen, preference.rejected))
        if found.setdefault(pair, better) not in (better, None):
            found[pair] = None
            tally.contradictory_gold += 1
    return found


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
