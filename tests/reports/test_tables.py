import pytest

from plaudit.records import Interval, LabelCounts, Measure, Result
from plaudit.reports.primary_metric import preference_sentences
from plaudit.reports.tables import (
    counts_sentence,
    data_words,
    interval_text,
    measure_table,
    model_words,
    number,
    scale_of,
    share,
)

NBSP = "\N{NO-BREAK SPACE}"


def interval(value: float, low: float, high: float, n: int = 100) -> Interval:
    return Interval(value=value, low=low, high=high, method="wilson", n=n)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (-0.5, "−0.500"),
        (1.0, "1.00"),
        (9.996, "10.00"),
        (12.34, "12.3"),
        (-345.6, "−346"),
        (123456.4, "123,456"),
        (-1234567.0, "−1.23e+06"),
        (0.00012345, "0.000123"),
    ],
)
def test_numbers_are_short_and_have_a_true_minus(value: float, text: str):
    assert number(value) == text


def test_a_share_is_a_percentage_with_one_decimal():
    assert share(0.71349) == "71.3%"
    assert interval_text(interval(0.7, 0.6, 0.81), "share") == f"60.0{NBSP}–{NBSP}81.0%"
    assert share(-0.0312) == "−3.1%"
    assert interval_text(interval(0.0, -0.25, -0.05), "share") == f"−25.0{NBSP}–{NBSP}−5.0%"
    assert interval_text(interval(0.7, -0.25, 0.81), "number") == f"−0.250{NBSP}–{NBSP}0.810"


def preferences(**changes) -> Measure:
    counts = LabelCounts(n=9, scored=9, unscored=0, failed=0)
    return Measure(kind="preference", primary="accuracy", counts=counts, **changes)


def test_a_metric_without_words_is_shown_under_its_own_name():
    metrics = {
        "accuracy": interval(0.7, 0.6, 0.8),
        "brier": interval(0.2, 0.1, 0.3),
        "own_one": interval(0.5, 0.4, 0.6),
    }
    assert [(row.label, row.value, row.n) for row in measure_table(preferences(metrics=metrics)).rows] == [
        ("Accuracy", "70.0%", "100"),
        ("Brier score", "0.200", "100"),
        ("own one", "0.500", "100"),
    ]


def test_metrics_without_a_value_and_rules_are_said_below_the_table():
    absent = {"own": "why not", "accuracy": "no pair"}
    table = measure_table(preferences(absent=absent, rules={"rewards": "margins are read as log-odds"}))
    assert table.notes == [
        "own: none, because why not.",
        "Accuracy: none, because no pair.",
        "Rewards: margins are read as log-odds.",
    ]


def test_baselines_of_preferences_are_rows_below_the_metrics():
    beside = {"longer_response": interval(0.55, 0.5, 0.6)}
    metrics = {"accuracy": interval(0.7, 0.6, 0.8), "margin": interval(0.7, 0.6, 0.8)}
    table = measure_table(preferences(metrics=metrics, baselines={"accuracy": beside}))
    assert [(row.label, row.value, row.beside) for row in table.rows] == [
        ("Accuracy", "70.0%", ()),
        ("Mean margin", "0.700", ()),
        ("Baseline: longer response", "55.0%", ()),
    ]
    assert table.baselines == []


def test_slices_stand_worst_first_and_one_without_a_source_says_so():
    slices = {
        "": {"accuracy": interval(0.75, 0.7, 0.8, n=1234)},
        "low": {"accuracy": interval(0.5, 0.4, 0.6), "longer_response": interval(0.25, 0.2, 0.3)},
        "no accuracy": {"longer_response": interval(0.5, 0.4, 0.6)},
    }
    table = measure_table(preferences(slices=slices))
    assert table.slice_baselines == ["longer response"]
    assert [(row.label, row.value, row.beside[0][0], row.n) for row in table.slices] == [
        ("low", "50.0%", "25.0%", "100"),
        ("(no source)", "75.0%", "–", "1,234"),
    ]


def test_a_scale_has_round_ends_and_places_in_per_cent():
    scale = scale_of([0.13, 0.86], percent=True)
    assert scale.ticks == ((0.0, "0%"), (20.0, "20%"), (40.0, "40%"), (60.0, "60%"), (80.0, "80%"), (100.0, "100%"))
    assert scale.span(interval(0.5, 0.4, 0.6)) == {"at": 50.0, "low": 40.0, "width": 20.0}
    assert [label for _, label in scale_of([-0.02, 0.031], signed=True, ticks=3).ticks] == [
        "−0.02",
        "0.00",
        "+0.02",
        "+0.04",
    ]


def of_preferences(rule: str, ties: int, metrics: dict[str, Interval] | None = None, **counts: int) -> Result:
    preference = Measure(
        kind="preference",
        primary="accuracy",
        counts=LabelCounts(**counts),
        details={"ties": ties},
        metrics=metrics or {},
    )
    return Result(name="d", model="m", tie_rule=rule, measures=(preference,), **counts)


@pytest.mark.parametrize(
    ("ties", "rule", "words"),
    [
        (0, "loss", "no exact ties (an exact tie counts as wrong)"),
        (1, "half", "1 exact tie (an exact tie counts as half right)"),
        (2000, "other", "2,000 exact ties (tie rule: other)"),
    ],
)
def test_every_item_is_accounted_for_in_words(ties: int, rule: str, words: str):
    result = of_preferences(rule, ties, n=2010, scored=2003, unscored=5, failed=2)
    assert counts_sentence(result) == f"2,010 items: 2,003 scored, 5 unscored, 2 failed; {words}."


def test_data_of_a_run_are_described_in_sentences():
    read = {"path": "pairs.csv", "format": "pairs", "rows": 1210, "groups": 1203, "joined": 0, "dropped": {"blank": 7}}
    facts = {
        "fingerprint": "ab",
        "read": {**read, "version": 1, "examples": {}, "ignored_fields": []},
        "encoded": {"groups": 1203, "kept": 1200, "dropped": {"over_long": 3}, "changed": {"system turn": 2}},
        "groups": 1200,
        "labels": "preferences",
        "without_labels": 1,
        "preferences": 2400,
        "tokens_separate": 9000,
        "tokens_shared": 6000,
        "skipped": {"later": 5},
    }
    assert data_words(facts) == (
        "1,200 groups with 2,400 preferences. Read from pairs.csv (format pairs). Left out: blank 7, over long 3, "
        "groups without preferences 1. System turn: 2. 6,000 tokens with shared prefixes, 9,000 without. "
        "Skipped: later 5. Fingerprint ab."
    )
    assert data_words({"groups": 3}) == "3 groups. Nothing was left out."


def test_the_model_of_a_run_is_described_in_words_and_an_unknown_fact_under_its_name():
    model = {"architecture": "Llama", "parameters": 1500, "trainable": 20, "layout": "shared_prefix", "new_fact": 7}
    assert model_words(model) == [
        ("Model", "Llama, 1,500 parameters, 20 trained"),
        ("Layout of batches", "shared prefix"),
        ("New fact", "7"),
    ]


@pytest.mark.parametrize(
    ("rule", "pairs", "ending"),
    [("loss", "pairs", ""), ("half", "pairs", ", a tie counting as half"), ("exclude", "pairs without a tie", "")],
)
def test_the_sentence_of_the_accuracy_says_what_a_tie_counted(rule, pairs, ending):
    accuracy = Interval(value=0.6, low=0.3, high=0.8, method="wilson", n=10)
    result = of_preferences(rule, 2, {"accuracy": accuracy}, n=10, scored=10, unscored=0, failed=0)
    assert preference_sentences(result) == [
        f"In 60.0% of 10 {pairs}, the model gives the preferred response the higher reward{ending}."
    ]
