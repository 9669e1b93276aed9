"""Records of version 2, and those of version 1 that are read: no number of them changes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from plaudit.records import ItemScore, LabelCounts, Measure, Result, read_items

OLD = Path(__file__).parent / "records_v1"
NONE = LabelCounts(n=0, scored=0, unscored=0, failed=0)


@pytest.fixture
def old() -> dict:
    """The result of version 1: preferences, ranks, ratings and outcomes of fourteen items."""
    return json.loads((OLD / "result.json").read_text())


def dumped(values: dict) -> dict:
    return {name: each.model_dump() for name, each in values.items()}


def test_preferences_of_a_result_of_version_1_are_a_measure(old):
    result = Result.model_validate(old)
    preference = result.preference
    assert preference is not None
    assert (preference.kind, preference.primary) == ("preference", "accuracy")
    assert dumped(preference.metrics) == old["figures"]
    assert dumped(preference.baselines["accuracy"]) == old["baselines"]
    assert {source: dumped(each) for source, each in preference.slices.items()} == old["slices"]
    for name in ("curves", "absent", "rules"):
        assert getattr(preference, name) == old[name]
    assert preference.details == {
        "pairs": old["details"]["pairs"],
        "pairs_of_equal_length": old["details"]["pairs_of_equal_length"],
        "contradictory_pairs": old["details"]["contradictory_pairs"],
        "ties": old["ties"],
    }
    assert (old["ties"], old["details"]["pairs"], old["details"]["contradictory_pairs"]) == (1, 12, 1)


def test_the_rest_of_a_result_of_version_1_stays_as_it_is(old):
    result = Result.model_validate_json((OLD / "result.json").read_text())
    assert {name: each.model_dump() for name, each in result.labels.items()} == old["labels"]
    assert [measure.name for measure in result.measures] == ["preference", "ranking", "rating depth", "outcome"]
    for measure, before in zip(result.measures[1:], old["measures"], strict=True):
        assert dumped(measure.metrics) == before["figures"]
        assert (measure.primary, measure.absent) == (before["headline"], before["absent"])
    for name in ("n", "scored", "unscored", "failed", "reasons", "left_out", "tie_rule", "created", "versions"):
        assert getattr(result, name) == old[name]
    assert result.details == {name: old["details"][name] for name in old["details"] if "pairs" not in name}
    assert Result.model_validate_json(result.model_dump_json()) == result


def test_the_official_measure_of_a_benchmark_of_version_1_stays_first(old):
    official = {**old["measures"][0], "kind": "benchmark"}
    result = Result.model_validate({**old, "measures": [official, *old["measures"]]})
    assert [measure.kind for measure in result.measures][:3] == ["benchmark", "preference", "ranking"]


def test_a_result_from_before_labels_were_counted_is_refused_with_the_command_that_makes_it_again(old):
    del old["labels"]
    with pytest.raises(ValidationError, match="plaudit rescore ITEMS"):
        Result.model_validate(old)


def test_a_result_of_version_1_without_preferences_has_no_measure_of_them(old):
    counts = {name: each for name, each in old["labels"].items() if name != "preference"}
    result = Result.model_validate({**old, "figures": {}, "baselines": {}, "absent": {}, "labels": counts})
    assert result.preference is None


def test_items_of_version_1_are_read(old):
    items = read_items(OLD / "items.jsonl")
    rows = [json.loads(line) for line in (OLD / "items.jsonl").read_text().splitlines()]
    assert [item.metadata for item in items] == [row["facts"] for row in rows]
    assert [list(map(list, item.comparisons)) for item in items] == [row["orders"] for row in rows]
    assert {row["reward_unit"] for row in rows} == {"log_odds"}
    assert {item.reward_scale for item in items} == {"log_odds_differences"}
    assert ItemScore.model_validate_json(items[0].model_dump_json()) == items[0]


@pytest.mark.parametrize("kind", [Result, Measure, ItemScore])
def test_a_later_version_is_refused_and_an_unknown_field_too(kind):
    with pytest.raises(ValidationError, match="less than or equal to 2"):
        kind.model_validate({"version": 3})
    with pytest.raises(ValidationError, match="Extra inputs"):
        kind.model_validate({"version": 1, "unheard_of": 0})


def test_old_names_of_fields_are_read_with_a_warning_that_names_the_new_one(old):
    result = Result.model_validate(old)
    (item, *_) = read_items(OLD / "items.jsonl")
    for record, name, value, words in (
        (result, "figures", result.preference.metrics, r"Result\.preference\.metrics"),
        (result, "baselines", result.preference.baselines["accuracy"], r"Result\.preference\.baselines"),
        (result, "slices", result.preference.slices, r"Result\.preference\.slices"),
        (result, "curves", result.preference.curves, r"Result\.preference\.curves"),
        (result, "absent", result.preference.absent, r"Result\.preference\.absent"),
        (result, "rules", result.preference.rules, r"Result\.preference\.rules"),
        (result, "ties", 1, r"Result\.preference\.details"),
        (result.preference, "figures", result.preference.metrics, r"Measure\.metrics"),
        (result.preference, "headline", "accuracy", r"Measure\.primary"),
        (item, "facts", item.metadata, r"ItemScore\.metadata"),
        (item, "orders", item.comparisons, r"ItemScore\.comparisons"),
        (item, "reward_unit", "log_odds_differences", r"ItemScore\.reward_scale"),
    ):
        with pytest.warns(DeprecationWarning, match=rf"{words}.* now; the old name is dropped in 0\.3"):
            assert getattr(record, name) == value


def test_old_names_make_a_measure_with_a_warning():
    with pytest.warns(DeprecationWarning, match="is called") as warned:
        measure = Measure(kind="ranking", headline="auc", figures={}, counts=NONE)
    assert measure == Measure(kind="ranking", primary="auc", counts=NONE)
    assert {each.filename for each in warned} == {__file__}


def test_a_result_without_preferences_answers_old_names_with_nothing():
    result = Result(name="d", model="m", tie_rule="loss", n=0, scored=0, unscored=0, failed=0)
    with pytest.warns(DeprecationWarning, match=r"dropped in 0\.3"):
        assert (result.figures, result.baselines, result.ties) == ({}, {}, 0)
