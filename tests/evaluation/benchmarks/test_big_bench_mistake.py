"""BIG-Bench Mistake: how exactly the first mistake of a trace is located, beside constant answers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from plaudit.errors import DataError
from plaudit.evaluation.official.benchmarks.big_bench_mistake import BIG_BENCH_MISTAKE, TASKS
from plaudit.evaluation.store.items import item_score
from plaudit.records import ItemScore
from plaudit.scoring.scorer import GroupRewards
from plaudit.statistics.metric import IntervalSettings

DATA = Path(os.environ.get("PLAUDIT_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
SHARED = DATA / "big_bench_mistake" / "steps.jsonl"


def write_task(folder, task, traces):
    """Write the official rows of a task, of (input, number of steps, first mistake)."""
    lines = [
        json.dumps(
            {
                "input": prompt,
                "steps": [f"Thought {k}." for k in range(count)],
                "target": "1",
                "answer": "2",
                "mistake_index": mistake,
            }
        )
        for prompt, count, mistake in traces
    ]
    (folder / f"{task}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def items_of(loaded, rewards):
    """Return the items of a model that gives the trace with an id ``rewards[id]``, one per step."""
    items = list(loaded.refused)
    for group in loaded.groups:
        facts = dict(loaded.facts[group.id])
        steps = tuple(rewards[id] for id in facts["ids"])
        whole = tuple(None if each is None else min(each) for each in steps)
        items.append(
            item_score(group, GroupRewards(group.id, whole, steps=steps)).model_copy(update={"metadata": facts})
        )
    return items


@pytest.fixture(scope="module")
def estimate():
    return IntervalSettings(confidence=0.95, resamples=100, seed=0)


def test_a_small_case_worked_by_hand(tmp_path, estimate):
    write_task(tmp_path, "word_sorting", [("a", 3, 1), ("b", 3, 2), ("c", 2, None), ("d", 4, 0)])
    write_task(tmp_path, "dyck_languages", [("e", 1, None)])
    rewards = {
        "word_sorting-0": (0.9, 0.1, 0.1),  # right
        "word_sorting-1": (0.9, 0.1, 0.9),  # a mistake, at another step
        "word_sorting-2": (0.5, 0.5),  # right: no step is below ½
        "word_sorting-3": None,  # no prediction
        "dyck_languages-0": (0.4,),  # none there
    }
    loaded = BIG_BENCH_MISTAKE.load(str(tmp_path))
    measure = BIG_BENCH_MISTAKE.measure(items_of(loaded, rewards), estimate)
    value = {name: interval.value for name, interval in measure.metrics.items()}
    assert value["accuracy"] == pytest.approx(2 / 5)
    assert value["accuracy_scored"] == pytest.approx(2 / 4)
    assert value["accuracy_mean_of_tasks"] == pytest.approx((2 / 4 + 0) / 2)
    assert value["location_accuracy"] == pytest.approx(1 / 3)
    assert value["correct_accuracy"] == pytest.approx(1 / 2)
    assert value["f1"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))
    assert value["word_sorting_accuracy"] == pytest.approx(1 / 2)
    assert value["word_sorting_location_accuracy"] == pytest.approx(1 / 3)
    # A mistake is said of a, b and e, none of c, nothing of d: hits a and b, missed d, false e.
    assert value["detection_accuracy"] == pytest.approx(3 / 5)
    assert value["detection_f1"] == pytest.approx(2 * 2 / (2 * 2 + 2))
    beside = {rule: interval.value for rule, interval in measure.baselines["accuracy"].items()}
    assert beside["no_error"] == pytest.approx(2 / 5)
    assert beside["first_step"] == beside["longest_step"] == pytest.approx(1 / 5)
    assert beside["random"] == pytest.approx((1 / 4 + 1 / 4 + 1 / 3 + 1 / 5 + 1 / 2) / 5)
    random = measure.baselines["detection_accuracy"]["random"].value
    assert random == pytest.approx((3 / 4 + 3 / 4 + 1 / 3 + 4 / 5 + 1 / 2) / 5)
    assert measure.baselines["detection_f1"]["first_step"].value == pytest.approx(2 * 3 / (2 * 3 + 2))
    assert measure.baselines["f1"]["no_error"].value == 0.0
    assert [*measure.slices] == ["dyck_languages", "word_sorting"]
    assert (measure.counts.scored, measure.counts.failed) == (4, 1)
    assert measure.details["solutions_without_a_prediction"] == 1


@pytest.mark.parametrize("seed", range(4))
def test_figures_equal_a_slow_reading(tmp_path, estimate, seed):
    rng = np.random.default_rng(seed)
    truth, rewards = {}, {}
    for task in ("word_sorting", "logical_deduction"):
        traces = []
        for number in range(25):
            count = int(rng.integers(1, 6))
            mistake = None if rng.random() < 0.4 else int(rng.integers(0, count))
            traces.append((f"{task} {number % 10}", count, mistake))
            truth[f"{task}-{number}"] = mistake
            own = tuple(rng.choice([0.2, 0.5, 0.9], count, p=[0.2, 0.3, 0.5]).tolist())
            rewards[f"{task}-{number}"] = None if rng.random() < 0.1 else own
        write_task(tmp_path, task, traces)
    measure = BIG_BENCH_MISTAKE.measure(items_of(BIG_BENCH_MISTAKE.load(str(tmp_path)), rewards), estimate)
    right, kinds = {}, {}
    for id, mistake in truth.items():
        own = rewards[id]
        said = "nothing" if own is None else next((place for place, each in enumerate(own) if each < 0.5), None)
        right[id] = said == mistake
        kinds[id] = (mistake is not None, said is not None if said != "nothing" else None)

    def share(ids):
        return np.mean([right[id] for id in ids])

    wrong = [id for id in truth if truth[id] is not None]
    fine = [id for id in truth if truth[id] is None]
    value = {name: interval.value for name, interval in measure.metrics.items()}
    assert value["accuracy"] == pytest.approx(share(truth))
    assert value["location_accuracy"] == pytest.approx(share(wrong))
    assert value["correct_accuracy"] == pytest.approx(share(fine))
    assert value["f1"] == pytest.approx(2 * share(wrong) * share(fine) / (share(wrong) + share(fine)))
    assert value["detection_accuracy"] == pytest.approx(np.mean([there == said for there, said in kinds.values()]))


def test_the_official_files_are_read_by_their_names_and_what_is_missing_is_named(tmp_path):
    write_task(tmp_path, "word_sorting", [("a", 3, 1), ("a", 2, None)])
    loaded = BIG_BENCH_MISTAKE.load(str(tmp_path))
    assert [group.id for group in loaded.groups] == ["big_bench_mistake/word_sorting-0"]
    assert [[step.label for step in steps] for steps in loaded.groups[0].steps] == [[1.0, 0.0, None], [1.0, 1.0]]
    assert loaded.missing["word_sorting"] == "2 of 300 rows"
    assert loaded.missing["dyck_languages"] == "0 of 986 rows"
    assert sum(TASKS.values()) == 2186


def test_a_file_of_another_name_or_row_is_refused_with_its_place(tmp_path):
    write_task(tmp_path, "sorting", [("a", 3, 1)])
    with pytest.raises(DataError, match=r"sorting\.jsonl:1: the file is called 'sorting'; it must be one of dyck_lang"):
        BIG_BENCH_MISTAKE.load(str(tmp_path / "sorting.jsonl"))
    write_task(tmp_path, "word_sorting", [("a", 3, 1), ("b", 3, 3)])
    with pytest.raises(DataError, match=r"word_sorting\.jsonl:2: mistake_index is 3; .* 3 steps, from 0, or null"):
        BIG_BENCH_MISTAKE.load(str(tmp_path / "word_sorting.jsonl"))
    path = tmp_path / "steps.jsonl"
    path.write_text('{"prompt": "a", "steps": ["b"], "subset": "word_sorting", "id": "x"}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"steps\.jsonl:1: first_error is missing"):
        BIG_BENCH_MISTAKE.load(str(path))


def test_a_model_without_step_rewards_has_no_figure_and_a_reason(tmp_path, estimate):
    write_task(tmp_path, "word_sorting", [("a", 3, 1), ("b", 2, None)])
    items = items_of(BIG_BENCH_MISTAKE.load(str(tmp_path)), {"word_sorting-0": (0.2,), "word_sorting-1": (0.9,)})
    measure = BIG_BENCH_MISTAKE.measure(items, estimate)
    assert measure.metrics == {}
    assert measure.absent["accuracy"] == "the model gives no rewards to steps"
    assert measure.counts.failed == 2


@pytest.mark.parametrize("constant", ["no_error", "first_step"])
def test_a_constant_model_reaches_what_stands_beside_it_on_all_traces(estimate, constant):
    if not SHARED.exists():
        pytest.skip("big_bench_mistake/steps.jsonl is not here; set PLAUDIT_DATA to the folder that holds it")
    loaded = BIG_BENCH_MISTAKE.load(str(SHARED))
    assert loaded.missing == {}
    assert loaded.refused == ()
    first = 0.9 if constant == "no_error" else 0.1
    steps = {
        id: (first, *[0.9] * (count - 1))
        for facts in loaded.facts.values()
        for id, count in zip(facts["ids"], facts["num_steps"], strict=True)
    }
    items = items_of(loaded, steps)
    measure = BIG_BENCH_MISTAKE.measure(items, estimate)
    for figure, interval in measure.metrics.items():
        if figure != "accuracy_scored":
            assert interval == measure.baselines[figure][constant], figure
    # 478 of the 2,186 traces hold no mistake; none has it in its first step.
    assert measure.metrics["accuracy"].value == (pytest.approx(478 / 2186) if constant == "no_error" else 0.0)
    assert measure.metrics["detection_accuracy"].value == pytest.approx(
        (478 if constant == "no_error" else 1708) / 2186
    )
    again = [ItemScore.model_validate_json(item.model_dump_json()) for item in items]
    assert BIG_BENCH_MISTAKE.measure(again, estimate) == measure
