"""What plaudit computed before it was rearranged, it computes now: every figure of ``frozen_figures.json``.

What is another number now stands in ``moved_figures.json``, which ``python tests/golden/frozen.py --moved`` writes. A
figure may be there only where a table below says why, and is held to what is written there, so that it cannot move
again unseen. The fixture itself stays as it is; CHANGELOG.md lists what moved under *Numbers*.

Entries of the tables are one whole key or any run of its parts, as ``preference/accuracy`` is of
``hh/gold/preference/accuracy/baseline:longer_response``; one that is of no key fails.
"""

from __future__ import annotations

import pytest

from .frozen import (
    CASES,
    FIXTURE,
    MOVED,
    TOLERANCES,
    Absent,
    Place,
    fields_that_differ,
    figures_of,
    read_figures,
)

RENAMED: dict[str, str] = {"step/not_tested/first_error_f1_tuned": "step/steps/first_error_f1_tuned"}
"""Key, or parts of one, in the fixture → what it is called now; the longest entry that fits comes first."""

_STUDENT = "Student's quantile for as many clusters as both classes rest on, in place of the normal one"
_JACKKNIFE = "the jackknife over prompts with Student's quantile, in place of 200 resamples"
_RANGE = "bounded: on the logit scale, so that the ends stay within the range and few prompts have a width"
_EQUAL = "fractions that are all equal have Wilson's interval over prompts, and no empty one"
_FEW = "of fewer than twenty prompts no closer than Student's with the jackknife"
_CHANCE = "what chance explains is taken off: the lower end is 0 where the model may be calibrated"

_SPLIT = "of fewer than 200 prompts the nearest number is held out, and every conversation is cut by itself"
_KEPT = "pairs with one empty response are groups now, in which that response has no reward"
OTHER_ITEMS: dict[str, str] = {
    "whole_hh": _KEPT,
    **dict.fromkeys(("recipe_hh_scratch", "recipe_gsm8k_outcome", "recipe_bbm_process"), _SPLIT),
}
"""Case → why it rests on other items than before: every figure of it may be another, with its n."""

MOVED_INTERVALS: dict[str, str] = {
    "step/steps/first_error_f1/difference": (
        "prompts are drawn in the order in which they appear, and no longer those with an error first: other resamples"
    ),
    **dict.fromkeys(("auc", "step_auc", "response_auc", "earlier_step"), _STUDENT),
    **dict.fromkeys(("auc_GPQA", "auc_MATH", "auc_MMLU-Pro"), _JACKKNIFE),
    **dict.fromkeys(
        (
            "step_error_f1", "excess_risk_coverage", "margin_length_correlation", "reward_length_correlation",
            "spearman", "pearson",
        ),
        _JACKKNIFE,
    ),
    **dict.fromkeys(("expected_calibration_error", "expected_calibration_error_after_temperature"), _CHANCE),
    "temperature": "the sandwich error on the log scale, in place of 200 resamples",
    **dict.fromkeys(("brier", "brier_after_temperature", "verbosity", "kendall_tau"), _RANGE),
    **dict.fromkeys(("first_error_f1", "first_error_f1_tuned"), f"1,000 resamples in place of 200; {_FEW}"),
    "best_of_n:1": _EQUAL,
    **dict.fromkeys(("best_of_n", "recovered"), _EQUAL),
    **dict.fromkeys((f"best_of_n:{n}/oracle" for n in (2, 4, 8)), _EQUAL),
    **dict.fromkeys(("best_of_k/baseline:random", "best_of_k_decidable/baseline:random"), _EQUAL),
    "benchmark": _FEW,
}  # fmt: skip
"""Key as it is called now, or parts of one → why the ends of its interval are others; value and n stay."""

_ONCE = "metrics of the same rows as another are no hypotheses of their own: the family is smaller"
_FAMILY = "first_error_f1_tuned is tested too: p-values of the family are adjusted for one more test"
MOVED_VALUES: dict[str, str] = {
    "step/steps/first_error_f1/p_value": (
        "prompts are swapped in the order in which they appear, and no longer those with an error first: other swaps"
    ),
    "benchmark/sections": _ONCE,
    "gold/count:failures": "responses in four more styles, of which as many fail",
    **dict.fromkeys(
        ("probe_world/gold/style:longer", "probe_hh/gold/style:heading", "probe_hh/gold/style:line break"),
        "adjusted for the four styles of invented exchanges",
    ),
    **{
        f"step/steps/{name}/{adjusted}": _FAMILY
        for name in (
            "step_auc",
            "step_accuracy",
            "step_error_f1",
            "first_error_accuracy",
            "first_error_accuracy_erroneous",
            "first_error_accuracy_correct",
            "first_error_accuracy_tuned",
            "first_error_f1",
            "response_auc",
        )
        for adjusted in ("p_holm", "p_false_discovery")
    },
}
"""Key as it is called now, or parts of one → why its value is another."""

ADDED: dict[str, str] = {
    "benchmark/not_tested": _ONCE,
    **{
        f"benchmark/accuracy_ties_won_{how}": "ties won, of RewardMATH's accuracy under each aggregation"
        for how in ("geometric_mean", "last", "max", "mean", "mean_logit", "mean_odds", "min", "product")
    },
    **{
        f"benchmark/sections/accuracy_ties_won_{how}": "ties won, tested beside the accuracy of the aggregation"
        for how in ("last", "max")
    },
    "benchmark/count:detail:pairs_whose_games_contradict_each_other": "JudgeBench's second games are looked at",
    "benchmark/count:detail:pairs_with_a_second_game": "JudgeBench's second games are looked at",
    "baseline:calibrated_model": "the calibration error that chance alone gives a calibrated model",
    "step/steps/first_error_f1_tuned": "a formula of totals as first_error_f1 is, it is tested; it was not before",
    **{
        f"style:{name} exchange": "an attack by the control tokens of a chat template; there was none"
        for name in ("ChatML", "Llama 3", "Phi", "Gemma")
    },
}
"""Key, or parts of one, that the fixture does not have → what it is."""

REMOVED: dict[str, str] = (
    {
        f"outcome/accuracy{rule}": (
            "the scorers do not say what their rewards are, so no threshold parts right from wrong"
        )
        for rule in ("", "/baseline:always_correct", "/baseline:always_wrong")
    }
    | {
        f"benchmark/subsets/gsm8k/{field}": "the only subset is the whole, and no hypothesis beside it"
        for field in (
            *("count:left_out", "count:n", "count:n_second", "count:prompts", "difference", "first", "second"),
            *("p_false_discovery", "p_holm", "p_value"),
        )
    }
    | {
        "preference/accuracy/baseline:first_response": (
            "the responses of a benchmark stand in the order in which its rows were put together, which says nothing"
        ),
    }
)
"""End of a key in the fixture → why it has no value any more."""

SHOWN = 40
"""Differences that are shown."""


def has(key, parts):
    return f"/{parts}/" in f"/{key}/"


def new_name(key):
    for old in sorted(RENAMED, key=len, reverse=True):
        key = f"/{key}/".replace(f"/{old}/", f"/{RENAMED[old]}/").strip("/")
    return key


def says(table, key):
    return any(has(key, parts) for parts in table)


def differences(frozen, now, moved, tolerance=None):
    """Every difference of two mappings of figures, in words; those in ``moved`` are what they are there."""
    expected = {new_name(key): figure for key, figure in frozen.items()}
    found = []
    if len(expected) < len(frozen):
        found.append(f"{len(frozen) - len(expected)} keys are renamed to what another key is called")
    moved = {name: each for name, each in moved.items() if each["value"] is not None or not ends_with(REMOVED, name)}
    for name, figure in moved.items():
        fields = set(fields_that_differ(expected[name], figure, tolerance)) if name in expected else {"key"}
        if says(OTHER_ITEMS, name):
            continue
        free = {"key"} if says(ADDED, name) else {"value"} if says(MOVED_VALUES, name) else set()
        free |= {"low", "high"} if says(MOVED_INTERVALS, name) else set()
        if fields - free:
            found.append(f"may not be in {MOVED.name}: {name} for its {', '.join(sorted(fields - free))}")
    expected |= moved
    for name, figure in expected.items():
        if ends_with(REMOVED, name) and now.get(name, NOTHING)["value"] is None:
            continue
        if name not in now:
            untested = no_hypothesis(name)
            if untested == name or untested not in now:
                found.append(f"missing: {name}")
            elif name.endswith(("/first", "/second")) and fields_that_differ(figure, now[untested], tolerance):
                found.append(f"moved: {name}: {figure['value']} before, {now[untested]['value']} now, not tested")
            continue
        for field in fields_that_differ(figure, now[name], tolerance):
            found.append(f"moved: {name} {field}: {figure.get(field)} before, {now[name].get(field)} now")
    return [*found, *(f"extra: {name}" for name in now if name not in expected)]


def no_hypothesis(name):
    """The key of a figure of a metric that is not tested any more, since it is of the same rows as another one."""
    if "/benchmark/sections/" not in name:
        return name
    metric, _, field = name.replace("/benchmark/sections/", "/benchmark/not_tested/").rpartition("/")
    return f"{metric}/{field if field in ('first', 'second') else 'first'}"


NOTHING = {"value": None}


def ends_with(table, key):
    return any(key.endswith(f"/{parts}") for parts in table)


def report(found):
    more = f"\n… and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"{len(found)} differences:\n" + "\n".join(found[:SHOWN]) + more


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("frozen"))


@pytest.fixture(scope="session")
def fixture():
    return read_figures(FIXTURE)


@pytest.fixture(scope="session")
def moved():
    return read_figures(MOVED)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable`:FutureWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if case.slow else ()) for name, case in CASES.items()]
)
def test_every_figure_is_what_it_was(name, place, fixture, moved):
    try:
        now = figures_of(name, place)
    except Absent as absent:
        pytest.skip(str(absent))
    frozen, other = (
        {key: figure for key, figure in figures.items() if key.startswith(f"{name}/")} for figures in (fixture, moved)
    )
    assert frozen, f"the fixture has no figures of {name}"
    found = differences(frozen, now, other, TOLERANCES.get(name))
    if found:
        pytest.fail(report(found), pytrace=False)


def test_every_benchmark_of_the_catalogue_is_frozen():
    from .frozen import benchmark_names

    later = {"code_pref_bench", "mr_math"}  # the frozen commit does not have them
    assert {name for name in benchmark_names() if f"made_up_{name}" not in CASES} == later


def test_the_fixture_holds_no_figures_of_a_case_that_is_not_made(fixture):
    assert {key.partition("/")[0] for key in fixture} == set(CASES)


def test_every_entry_of_the_tables_is_of_a_figure_and_every_reason_is_given(fixture, moved):
    tables = MOVED_INTERVALS | MOVED_VALUES | ADDED | OTHER_ITEMS
    unused = [parts for parts in RENAMED if not any(has(key, parts) for key in fixture)]
    unused += [parts for parts in REMOVED if not any(ends_with((parts,), key) for key in fixture)]
    unused += [parts for parts in tables if not any(has(key, parts) for key in moved)]
    assert unused == []
    assert [parts for parts, why in (tables | REMOVED).items() if not why.strip()] == []


FIGURE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}


def test_a_figure_that_moves_is_missing_or_extra_is_seen():
    frozen = {"c/s/k/m": FIGURE, "c/s/k/gone": {"value": 1}, "c/s/k/none": {"value": None}}
    now = {"c/s/k/m": FIGURE | {"value": 0.5 + 1e-11, "low": 0.4 + 2e-9, "n": 11}, "c/s/k/new": {"value": 2},
           "c/s/k/none": {"value": 0.0}}  # fmt: skip
    assert differences(frozen, now, {}) == [
        "moved: c/s/k/m value: 0.5 before, 0.50000000001 now",
        "moved: c/s/k/m low: 0.4 before, 0.400000002 now",
        "moved: c/s/k/m n: 10 before, 11 now",
        "missing: c/s/k/gone",
        "moved: c/s/k/none value: None before, 0.0 now",
        "extra: c/s/k/new",
    ]
    assert differences(frozen, frozen, {}) == []
    near = FIGURE | {"value": 0.5 + 1e-13, "high": 0.6 + 1e-10}
    assert differences({"c/s/k/m": FIGURE}, {"c/s/k/m": near}, {}) == []
    assert differences({"c/s/k/m": FIGURE}, {"c/s/k/m": FIGURE | {"value": 0.5 + 5e-7}}, {}, 1e-6) == []


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.setitem(RENAMED, "k/old", "k/m")
    monkeypatch.setitem(MOVED_INTERVALS, "s/k/m", "another estimator")
    monkeypatch.setitem(MOVED_VALUES, "k/p", "one more test")
    monkeypatch.setitem(ADDED, "k/new", "it is new")


NARROW = FIGURE | {"low": 0.45}
MOVING = {"c/s/k/m": NARROW, "c/s/k/p": {"value": 0.2}, "c/s/k/new": FIGURE}


def test_what_the_tables_name_is_what_the_file_of_moved_figures_says(tables):
    frozen = {"c/s/k/old": FIGURE, "c/s/k/p": {"value": 0.1}, "c/s/k/mm": FIGURE}
    now = MOVING | {"c/s/k/mm": FIGURE}
    assert differences(frozen, now, MOVING) == []
    assert len(differences(frozen, now | {"c/s/k/m": FIGURE}, MOVING)) == 1
    assert len(differences(frozen, now | {"c/s/k/new": NARROW}, MOVING)) == 1
    assert differences(frozen, now | {"c/s/k/newer": FIGURE}, MOVING) == ["extra: c/s/k/newer"]


@pytest.mark.parametrize(
    ("name", "figure", "words"),
    [("c/s/k/m", NARROW | {"value": 0.51}, "c/s/k/m for its value"), ("c/s/k/p", {"value": 0.2, "n": 1}, "its n"),
     ("c/s/k/mm", NARROW, "c/s/k/mm for its low"), ("c/s/k/newer", FIGURE, "c/s/k/newer for its key")],
)  # fmt: skip
def test_what_the_tables_do_not_name_may_not_be_among_the_moved_figures(tables, name, figure, words):
    frozen = {"c/s/k/old": FIGURE, "c/s/k/p": {"value": 0.1}, "c/s/k/mm": FIGURE}
    moved = MOVING | {name: figure}
    (found,) = differences(frozen, {"c/s/k/mm": FIGURE} | moved, moved)
    assert words in found


def test_no_more_than_the_first_differences_are_shown():
    words = report([f"missing: {k}" for k in range(100)])
    assert words.startswith("100 differences:")
    assert words.endswith("missing: 39\n… and 60 more")
