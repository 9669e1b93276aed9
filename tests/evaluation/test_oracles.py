"""Oracles: of every kind of label each metric of a perfect, a constant and a random scorer.

Rewards that follow the labels reach the ceiling of each metric, equal rewards its documented floor, and rewards at
random have its chance value within the interval. A metric that is in none of the tables fails, so that no new one goes
unchecked.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from plaudit.data.schema.group import THREE_CLASSES, TWO_CLASSES, Group, Preference, conversation
from plaudit.data.schema.steps import join_steps
from plaudit.evaluation.result import measure_labels
from plaudit.evaluation.store.items import item_score
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings
from plaudit.worlds.labels import LABELS
from plaudit.worlds.world import World

SURE = 30.5
"""A log-odds that is sure: σ of it is 1 to thirteen digits."""
SETTINGS = IntervalSettings(confidence=0.999, resamples=200)
GROUPS, WORDS = 120, ("so", "it", "is", "as", "we", "say")


def texts(rng, count):
    return tuple(" ".join(rng.choice(WORDS, size=rng.integers(2, 12))) + f" {k}" for k in range(count))


def group(number, rng, **labels):
    count = labels.pop("count", 4)
    responses = labels.pop("responses", None) or texts(rng, count)
    return Group(conversation(f"question {number}"), responses, id=f"g{number}", **labels)


def preferences(number, rng):
    order = rng.permutation(4).tolist()
    return group(number, rng, preferences=(Preference(order[0], order[1]), Preference(order[2], order[3])))


def ranks(number, rng):
    return group(number, rng, ranks=tuple(int(each) + 1 for each in rng.permutation(4)))


def ratings(number, rng):
    return group(number, rng, ratings={"tone": tuple(rng.integers(0, 5, size=4).astype(float).tolist())})


def outcomes(number, rng):
    return group(number, rng, outcomes=tuple(bool(each) for each in rng.random(4) < 0.5))


def steps_of(classes, draw):
    def make(number, rng):
        made = []
        for k in range(2):
            labels = draw(rng, int(rng.integers(2, 6)))
            made.append(join_steps([(f"step {k} {place} x", label) for place, label in enumerate(labels)], "\n"))
        responses, steps = zip(*made, strict=True)
        return group(number, rng, responses=responses, steps=steps, step_classes=classes)

    return make


KINDS = {
    "preferences": preferences,
    "ranks": ranks,
    "ratings": ratings,
    "outcomes": outcomes,
    "steps of 2 classes": steps_of(TWO_CLASSES, lambda rng, n: (rng.random(n) < 0.75).astype(float).tolist()),
    "steps of 3 classes": steps_of(
        THREE_CLASSES, lambda rng, n: rng.choice([-1.0, 0, 1], n, p=[0.2, 0.4, 0.4]).tolist()
    ),
    "soft steps": steps_of(TWO_CLASSES, lambda rng, n: rng.choice([0.1, 0.4, 0.6, 0.9, 1.0], n).tolist()),
    "soft steps of 3 classes": steps_of(THREE_CLASSES, lambda rng, n: rng.choice([-0.9, -0.25, 0.5], n).tolist()),
}
"""Makes a labelled group of each kind."""
EVERY_KIND = [*KINDS, *(f"world {label}" for label in LABELS)]
SCALES = {"outcomes": "log_odds_values", "preferences": "log_odds_differences"}


def data(kind):
    rng = np.random.default_rng(zlib.crc32(kind.encode()))
    if kind.startswith("world "):
        label = kind.removeprefix("world ")
        return list(World(seed=3, temperature=0.0).groups(GROUPS, labels=(label,), responses=4, split="train"))
    return [KINDS[kind](number, rng) for number in range(GROUPS)]


def is_right(label, classes):
    return label > (classes[0] + classes[1]) / 2


def perfect(each, rng):
    """Rewards that follow every label of the group."""
    count, steps = len(each.responses), None
    attributes = dict(each.ratings)
    rewards = [0.0] * count
    if each.steps is not None:
        steps = tuple(tuple(float(is_right(step.label, each.step_classes)) for step in own) for own in each.steps)
        rewards = [min(own) for own in steps]
    if each.outcomes is not None:
        rewards = [SURE if outcome else -SURE for outcome in each.outcomes]
    if each.ratings:
        rewards = list(next(iter(each.ratings.values())))
    if each.ranks is not None:
        rewards = [-SURE * rank for rank in each.ranks]
    for _ in range(count):  # as deep as a response is preferred
        for pair in each.preferences:
            rewards[pair.chosen] = max(rewards[pair.chosen], rewards[pair.rejected] + SURE)
    return GroupRewards(each.id, tuple(rewards), attributes=attributes, steps=steps)


def constant(each, rng):
    steps = None if each.steps is None else tuple((0.5,) * len(own) for own in each.steps)
    attributes = {name: (1.0,) * len(values) for name, values in each.ratings.items()}
    return GroupRewards(each.id, (0.0,) * len(each.responses), attributes=attributes, steps=steps)


def drawn(each, rng):
    steps = None if each.steps is None else tuple(tuple(rng.random(len(own)).tolist()) for own in each.steps)
    attributes = {name: tuple(rng.normal(size=len(values)).tolist()) for name, values in each.ratings.items()}
    rewards = tuple(rng.normal(size=len(each.responses)).tolist())
    return GroupRewards(each.id, rewards, attributes=attributes, steps=steps)


def measures(kind, scorer):
    rng = np.random.default_rng(7)
    stated = {"reward_scale": SCALES.get(kind.removeprefix("world ")), "step_scale": "probabilities"}
    items = [item_score(each, scorer(each, rng), **stated) for each in data(kind)]
    return measure_labels(items, tie_rule="loss", settings=SETTINGS, relative=False)[0]


def beside(rule):
    """The value of a baseline of the same metric."""
    return lambda measure, name: measure.baselines[name][rule].value


def of_data(measure, name):
    """A metric of the data, or in units of the reward: it has no ceiling."""
    return measure.metrics[name].value


ABSENT = None
"""The metric has no value, and a reason."""
DATA = dict.fromkeys(
    (
        "chosen_longer", "prefers_longer", "decidable_groups", "chosen_reward", "rejected_reward", "margin",
        "reward_length_correlation", "margin_length_correlation",
    ),
    of_data,
)  # fmt: skip
CEILINGS = DATA | {
    "best_of_k": beside("oracle"),
    "verbosity": 0.0,
    "excess_risk_coverage": 0.0,
    "brier": 0.0,
    "expected_calibration_error": 0.0,
    "brier_after_temperature": ABSENT,
    "expected_calibration_error_after_temperature": ABSENT,
    "temperature": ABSENT,
    "rmse": 0.0,
}
"""Value of a metric for rewards that follow the labels; 1 where it is not here."""
FLOORS = DATA | {
    "reward_length_correlation": ABSENT,
    "margin_length_correlation": ABSENT,
    "kendall_tau": ABSENT,
    "spearman": ABSENT,
    "pearson": ABSENT,
    "top_one": beside("random"),
    "best_of_k": beside("random"),
    "best_of_k_decidable": beside("random"),
    "auc": 0.5,
    "accuracy outcome": beside("always_correct"),
    "step_auc": 0.5,
    "response_auc": 0.5,
    "step_accuracy": beside("always_right"),
    # every step passes at ½, so no error is said to be anywhere
    "first_error_accuracy": beside("no_error"),
    "first_error_accuracy_tuned": beside("no_error"),
    "first_error_accuracy_correct": 1.0,
    "prefers_longer": 0.5,
    "verbosity": of_data,
    "excess_risk_coverage": ABSENT,
    "brier": 0.25,
    "expected_calibration_error": ABSENT,
    "brier_after_temperature": ABSENT,
    "expected_calibration_error_after_temperature": ABSENT,
    "temperature": ABSENT,
    "rmse": of_data,
}
"""Value of a metric for equal rewards; 0 where it is not here."""
UNKNOWN = object()
CHANCES = {
    "spearman": 0.0,
    "pearson": 0.0,
    "kendall_tau": 0.0,
    "reward_length_correlation": 0.0,
    "margin_length_correlation": 0.0,
    "top_one": beside("random"),
    "best_of_k": beside("random"),
    "best_of_k_decidable": beside("random"),
    **dict.fromkeys(
        (
            "chosen_longer", "verbosity", "decidable_groups", "chosen_reward", "rejected_reward", "brier",
            "excess_risk_coverage", "expected_calibration_error", "brier_after_temperature", "temperature",
            "expected_calibration_error_after_temperature", "rmse", "step_error_f1", "first_error_accuracy",
            "first_error_accuracy_erroneous", "first_error_accuracy_correct", "first_error_f1",
            "first_error_accuracy_tuned", "first_error_f1_tuned",
        ),
        UNKNOWN,
    ),
    "margin": 0.0,
}  # fmt: skip
"""Value of a metric that rewards at random have on average; ½ where it is not here, ``UNKNOWN`` where none is."""


def wanted(table, measure, name, default):
    found = table.get(f"{name} {measure.kind}", table.get(name, default))
    return found(measure, name) if callable(found) and found is not UNKNOWN else found


def names_of(measure):
    return {*measure.metrics, *measure.absent} - {"best_of_n"}


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize(("scorer", "table", "default"), [(perfect, CEILINGS, 1.0), (constant, FLOORS, 0.0)])
def test_a_perfect_scorer_reaches_every_ceiling_and_a_constant_one_every_floor(kind, scorer, table, default):
    for measure in measures(kind, scorer):
        assert names_of(measure)
        for name in names_of(measure):
            if name not in measure.metrics:
                assert measure.absent[name], f"{measure.name} {name} is absent without a reason"
                if scorer is perfect:
                    # it has no ceiling, or the scale of the rewards gives it no meaning
                    meaningless = any(word in measure.absent[name] for word in ("σ", "threshold"))
                    assert table.get(name, default) in (ABSENT, of_data) or meaningless, name
                continue
            figure, value = measure.metrics[name], wanted(table, measure, name, default)
            assert value is not ABSENT, f"{measure.name} {name} is {figure.value}, and was to be absent"
            assert figure.value == pytest.approx(value, abs=1e-8), f"{measure.name} {name}"
            assert figure.low - 1e-12 <= figure.value <= figure.high + 1e-12


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_random_scorer_has_the_chance_value_of_every_metric_within_its_interval(kind):
    for measure in measures(kind, drawn):
        for name, figure in measure.metrics.items():
            value = wanted(CHANCES, measure, name, 0.5)
            assert value is UNKNOWN or figure.low <= value <= figure.high, f"{measure.name} {name}: {figure}"


@pytest.mark.parametrize("kind", EVERY_KIND)
@pytest.mark.parametrize("scorer", [perfect, constant, drawn])
def test_no_interval_of_a_bounded_metric_leaves_its_range_or_is_empty(kind, scorer):
    unbounded = {"chosen_reward", "rejected_reward", "margin", "temperature", "rmse"}
    signed = {
        "spearman",
        "pearson",
        "kendall_tau",
        "verbosity",
        "reward_length_correlation",
        "margin_length_correlation",
    }
    for measure in measures(kind, scorer):
        for name, figure in measure.metrics.items():
            if name in unbounded:
                continue
            least = -1.0 if name in signed else 0.0
            assert least - 1e-12 <= figure.low <= figure.value <= figure.high <= 1.0 + 1e-12, f"{name}: {figure}"
            assert figure.low < figure.high or figure.method.startswith("exact"), f"{name}: {figure}"
