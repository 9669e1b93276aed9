"""Models, rewards and data gone wrong in ``plaudit evaluate``: an error that names the place, or a count on file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plaudit.records import Result

FUNCTIONS = """
def lengths(prompt, responses):
    return [len(response) for response in responses]
def yields(prompt, responses):
    yield from lengths(prompt, responses)
def yields_and_fails(prompt, responses):
    yield 1.0
    raise ValueError("half\\nway")
def endless(prompt, responses):
    while True:
        yield 1.0
def leaves(prompt, responses):
    raise SystemExit(0)
def unordered(prompt, responses):
    return set(lengths(prompt, responses))
def huge(prompt, responses):
    return [1.7e308 if prompt[0].content.endswith("3?") else 1.0, -1.7e308]
"""


@pytest.fixture
def evaluations(place):
    """The working folder, with functions that go wrong in more ways and twelve groups that have ids."""
    (place / "functions_that_fail.py").write_text(FUNCTIONS)
    write("groups.jsonl", [group(number) for number in range(12)])
    return place


def group(number, **fields):
    preferred = [{"chosen": 0, "rejected": 1}]
    return {
        "id": f"g{number}",
        "prompt": f"Which {number}?",
        "responses": ["a good one", "bad"],
        "preferences": preferred,
    } | fields


def write(path, rows):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    Path(path).write_text("".join(f"{line}\n" for line in lines))


def result_in(folder):
    return Result.model_validate_json((Path(folder) / "result.json").read_text())


def refused(shown):
    """Return the error of a command that ended in one line."""
    assert isinstance(shown.exception, SystemExit), repr(shown.exception)
    assert shown.exit_code == 2, shown.output
    (line,) = shown.stderr.strip().splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("yields_and_fails", "error: the reward function failed on group 'g0': ValueError: half way"),
        ("leaves", "error: the reward function failed on group 'g0': SystemExit: 0"),
        ("endless", "error: the reward function returned more than 2 rewards for the 2 responses of group 'g0'"),
        ("unordered", "error: the reward function returned set for group 'g0'; it must return a list"),
    ],
)
def test_a_function_that_goes_wrong_while_it_is_read_is_named_with_the_group(name, says, evaluations, invoke):
    shown = invoke("evaluate", f"functions_that_fail:{name}", "groups.jsonl", "-o", "out")
    assert refused(shown).startswith(says)


def test_a_function_may_yield_its_rewards(evaluations, invoke):
    assert invoke("evaluate", "functions_that_fail:yields", "groups.jsonl", "-o", "out").exit_code == 0
    assert result_in("out/groups").scored == 12


def test_rewards_too_large_to_compare_are_missing_and_say_why(evaluations, invoke):
    shown = invoke("evaluate", "functions_that_fail:huge", "groups.jsonl", "-o", "out")
    assert shown.exit_code == 0, shown.output
    result = result_in("out/groups")
    assert (result.scored, result.failed, result.details["missing_rewards"]) == (0, 12, 13)
    both = "the reward of response {} is {}, which is too large to compute with"
    one, other = both.format(0, 1.7e308), both.format(1, -1.7e308)
    assert result.reasons == {other: 11, f"{one}; {other}": 1}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "g1", "rewards": [1, 0], "version": 2}, "version is 2; this plaudit reads version 1"),
        (
            {"id": "g1", "rewards": [1, 0], "attributes": {"tone": [1]}},
            "attributes['tone'] has 1 entries for 2 rewards",
        ),
    ],
)
def test_a_row_of_rewards_of_another_form_is_an_error_with_its_line(row, says, evaluations, invoke):
    write("rewards.jsonl", [{"id": "g0", "rewards": [1, 0]}, row])
    shown = invoke("rescore", "rewards.jsonl", "groups.jsonl", "-o", "out")
    assert refused(shown) == f"error: rewards.jsonl:2: {says}"


def test_integers_beyond_any_float_in_a_file_of_rewards_are_missing_rewards(evaluations, invoke):
    large = "9" * 400
    write("rewards.jsonl", [f'{{"id": "g0", "rewards": [{large}, -{large}]}}', {"id": "g1", "rewards": [1, 0]}])
    shown = invoke("rescore", "rewards.jsonl", "groups.jsonl", "-o", "out")
    assert shown.exit_code == 0, repr(shown.exception)
    result = result_in("out/groups")
    assert (result.scored, result.failed) == (1, 11)
    assert result.reasons["the reward of response 0 is inf; the reward of response 1 is -inf"] == 1


def test_a_rating_whose_square_overflows_is_refused(evaluations, invoke):
    write("rated.jsonl", [group(0), group(1, ratings={"tone": [1e308, 1.0]})])
    shown = invoke("evaluate", "functions_that_fail:lengths", "rated.jsonl", "-o", "out")
    says = "rated.jsonl:2: ratings['tone'][0] is 1e+308; it must lie within -1e+100 and 1e+100"
    assert refused(shown) == f"error: {says}"


def test_rows_that_were_left_out_are_counted_in_the_result_and_in_those_made_of_it(evaluations, invoke):
    write("holes.jsonl", [group(0), group(1, responses=["a", 3]), group(2, id=""), "{"])
    command = ("evaluate", "functions_that_fail:lengths", "holes.jsonl", "-o", "out", "--on-error", "skip")
    assert invoke(*command).exit_code == 0
    left_out = {"malformed responses[]": 1, "malformed JSON": 1}
    assert result_in("out/holes").left_out == left_out
    assert invoke("rescore", "out/holes/items.jsonl", "-o", "again").exit_code == 0
    assert result_in("again/holes").left_out == left_out


def test_pairs_that_are_preferred_both_ways_are_counted(evaluations, invoke):
    ways = [{"chosen": 0, "rejected": 1}, {"chosen": 1, "rejected": 0}]
    soft = [{"chosen": 0, "rejected": 1}, {"chosen": 1, "rejected": 0, "probability": 0.2}]
    write("both.jsonl", [group(0, preferences=ways), group(1, preferences=soft), group(2)])
    assert invoke("evaluate", "functions_that_fail:lengths", "both.jsonl", "-o", "out").exit_code == 0
    assert result_in("out/both").preference.details["contradictory_pairs"] == 1
    assert invoke("evaluate", "functions_that_fail:lengths", "groups.jsonl", "-o", "out").exit_code == 0
    assert "contradictory_pairs" not in result_in("out/groups").preference.details


def test_ranks_from_a_rating_that_no_group_has_are_an_error(evaluations, invoke):
    command = ("evaluate", "functions_that_fail:lengths", "-o", "out", "--ranks-from", "tone")
    says = "error: groups.jsonl: ranks_from is 'tone', but no group has that rating; found: "
    assert refused(invoke(*command, "groups.jsonl")) == f"{says}no ratings"
    write("rated.jsonl", [group(number, ratings={"taste": [1, 2]}) for number in range(2)])
    assert refused(invoke(*command, "rated.jsonl")) == f"{says}ratings: taste".replace("groups.jsonl", "rated.jsonl")
    write("some.jsonl", [group(0), group(1, ratings={"tone": [2, 1]})])
    assert invoke(*command, "some.jsonl").exit_code == 0
    assert result_in("out/some").labels["ranking"].scored == 1


EDITS = [
    ({"rewards": [1, 2, 3]}, "lengths has 2 entries for 3 rewards"),
    ({"rewards": [1e300, 0]}, "Input should be less than or equal to"),
    ({"lengths": [1]}, "lengths has 1 entries for 2 rewards"),
    ({"preferences": [[0, 9]]}, "a preference is [0, 9]; it must be two of 2 responses, from 0"),
    ({"preferences": [[0, -1]]}, "a preference is [0, -1]; it must be two of 2 responses, from 0"),
    ({"preferences": [[1, 1]]}, "a preference is [1, 1]; it must be two of 2 responses, from 0"),
    ({"probabilities": [0.9, 0.8]}, "probabilities has 2 entries for 1 preferences"),
    ({"margins": [0.9, 0.8]}, "margins has 2 entries for 1 preferences"),
    ({"ratings": {"tone": [1, 2, 3]}}, "ratings['tone'] has 3 entries for 2 rewards"),
    ({"attributes": {"tone": [1]}}, "attributes['tone'] has 1 entries for 2 rewards"),
    ({"outcomes": [True]}, "outcomes has 1 entries for 2 rewards"),
    ({"step_labels": [[1]]}, "step_labels has 1 entries for 2 rewards"),
]


@pytest.mark.parametrize(("change", "says"), EDITS, ids=[next(iter(change)) for change, _ in EDITS])
def test_an_item_edited_so_that_it_no_longer_fits_together_is_refused(change, says, evaluations, invoke):
    command = ("evaluate", "functions_that_fail:lengths", "groups.jsonl", "-o", "out")
    assert invoke(*command).exit_code == 0
    items = Path("out/groups/items.jsonl")
    lines = items.read_text().splitlines()
    write(items, [*lines[:3], json.loads(lines[3]) | change, *lines[4:]])
    for again in (command, ("rescore", items), ("compare", "out/groups", "out/groups")):
        line = refused(invoke(*again))
        assert line.startswith(f"error: {items}:4: not an item of plaudit: ")
        assert says in line


def test_items_with_lines_missing_or_twice_are_not_taken_for_those_of_the_result(evaluations, invoke):
    assert invoke("evaluate", "functions_that_fail:lengths", "groups.jsonl", "-o", "out").exit_code == 0
    items = Path("out/groups/items.jsonl")
    lines = items.read_text().splitlines()
    for kept, found in ((lines[:-2], 20), ([*lines, lines[0]], 26)):
        write(items, kept)
        line = refused(invoke("rescore", items, "-o", "again"))
        assert f"{items}: holds {found} rewards, and out/groups/result.json was made of 24" in line
    Path("out/groups/result.json").unlink()
    write(items, lines[:-2])
    assert invoke("rescore", items, "-o", "again").exit_code == 0
    assert result_in("again/groups").n == 10


def test_a_file_of_a_benchmark_that_is_there_twice_counts_its_repeated_ids(evaluations, invoke):
    row = {"input": "do", "output_1": "longer", "output_2": "one", "label": 1}
    for folder in ("bar/Natural", "bar/copy/Natural"):
        Path(folder).mkdir(parents=True)
        Path(folder, "dataset.json").write_text(json.dumps([row] * 3))
    shown = invoke("evaluate", "functions_that_fail:lengths", "llmbar=bar", "-o", "out")
    assert "3 rows repeat an id" in shown.stderr
    measure = result_in("out/llmbar").measures[0]
    assert measure.details["rows_of_a_repeated_id"] == 3
    assert measure.missing["Natural"] == "6 of 100 rows"


def test_predictions_that_name_no_step_are_counted(evaluations, invoke):
    rows = [
        {"id": f"gsm8k-{number}", "problem": f"Sum {number}", "steps": ["a", "b"], "label": 1, "prediction": prediction}
        for number, prediction in enumerate([1, -1, 2, 99, -7, None])
    ]
    rows.append({"id": "gsm8k-9", "problem": "Sum", "steps": ["a"], "label": -1, "prediction": -1})
    write("gsm8k_error.jsonl", rows)
    shown = invoke("rescore", "gsm8k_error.jsonl", "processbench", "-o", "out")
    assert shown.exit_code == 0, shown.output
    details = result_in("out/processbench").measures[0].details
    assert (details["predictions_of_no_step"], details["solutions_without_a_prediction"]) == (3, 1)


def test_a_probe_is_not_replaced_by_that_of_another_model_or_of_other_data(evaluations, invoke, files_of):
    command = ("-o", "probed", "--no-transforms")
    assert invoke("stress", "functions_that_fail:lengths", "groups.jsonl", *command).exit_code == 0
    before = files_of(evaluations / "probed")
    write("others.jsonl", [group(number) for number in range(3)])
    for model, data in (("yields", "groups.jsonl"), ("lengths", "others.jsonl")):
        line = refused(invoke("stress", f"functions_that_fail:{model}", data, *command))
        assert line.startswith(
            "error: probed holds the stress test of 'groups.jsonl' with model 'functions_that_fail:lengths'"
        )
        assert files_of(evaluations / "probed") == before
    assert invoke("stress", "functions_that_fail:lengths", "groups.jsonl", *command, "--seed", 1).exit_code == 0
    assert invoke("stress", "functions_that_fail:lengths", "others.jsonl", *command, "--overwrite").exit_code == 0
    assert json.loads((evaluations / "probed/stress.json").read_text())["name"] == "others.jsonl"
