import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from plaudit.data.schema.group import Group, Preference, Step, conversation
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.evaluation.result import assemble_result
from plaudit.evaluation.run import evaluate
from plaudit.records import Result, read_items
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo


def pair(index: int, *, chosen: str = "good", rejected: str = "bad", **fields) -> Group:
    return Group(
        prompt=conversation(f"question {index}"),
        responses=(chosen, rejected),
        preferences=fields.pop("preferences", (Preference(0, 1),)),
        id=f"g{index}",
        **fields,
    )


class ByTable:
    """Gives the reward that a table holds for a response; remembers what it was asked."""

    def __init__(self, table: dict[str, float | None], *, stop_after: int | None = None) -> None:
        self.table = table
        self.asked: list[str] = []
        self.stop_after = stop_after

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        for group in groups:
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(group.id)
            yield GroupRewards(id=group.id, rewards=tuple(self.table[text] for text in group.responses))


class Wrapped:
    """Changes what a right scorer gives."""

    def __init__(self, change: Callable[[list[GroupRewards]], Iterable[GroupRewards]]) -> None:
        self.change = change

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        rewards = [GroupRewards(id=group.id, rewards=(1.0,) * len(group.responses)) for group in groups]
        yield from self.change(rewards)


def run(scorer, groups: list[Group], folder: Path, **options) -> Result:
    return evaluate(scorer, groups, name="held-out", model="table", output_dir=folder, **options)


def test_a_scorer_is_run_from_groups_to_files(tmp_path: Path):
    groups = [pair(0), pair(1, chosen="worse", rejected="better", source="b"), pair(2)]
    table = {"good": 2.0, "bad": -1.0, "worse": -3.0, "better": 4.0}
    seen: list[int] = []
    result = run(ByTable(table), groups, tmp_path / "out", progress=seen.append, recipe_hash="r", data_fingerprint="d")

    assert seen == [0, 1, 2, 3]
    assert result.preference.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert (result.n, result.scored, result.unscored, result.failed, result.preference.details["ties"]) == (
        3,
        3,
        0,
        0,
        0,
    )
    assert (result.recipe_hash, result.data_fingerprint) == ("r", "d")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confident_errors.json",
        "items.jsonl",
        "result.json",
        "scoring.json",
    ]
    assert Result.model_validate_json((tmp_path / "out" / "result.json").read_text()) == result
    items = read_items(tmp_path / "out" / "items.jsonl")
    assert [item.id for item in items] == ["g0", "g1", "g2"]
    assert items[1].rewards == (-3.0, 4.0)
    assert items[1].lengths == (5, 6)
    assert items[0].prompt_key != items[1].prompt_key
    wrong = json.loads((tmp_path / "out" / "confident_errors.json").read_text())["pairs"]
    assert [(entry["id"], entry["chosen"], entry["rejected"]) for entry in wrong] == [("g1", "worse", "better")]


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path):
    groups = [pair(index) for index in range(5)]
    table = {"good": 2.0, "bad": -1.0}
    with pytest.raises(KeyboardInterrupt):
        run(ByTable(table, stop_after=3), groups, tmp_path)
    assert not (tmp_path / "result.json").exists()
    with (tmp_path / "items.partial.jsonl").open("a") as file:
        file.write('{"version":1,"item":{"id":"g3","sou')  # what a kill in the middle of a write leaves

    second = ByTable(table)
    seen: list[int] = []
    result = run(second, groups, tmp_path, progress=seen.append)

    assert second.asked == ["g3", "g4"]
    assert seen == [3, 4, 5]  # first those on file
    assert result.scored == 5
    whole = run(ByTable(table), groups, tmp_path / "whole")
    assert result.model_copy(update={"created": ""}) == whole.model_copy(update={"created": ""})
    assert (tmp_path / "items.jsonl").read_bytes() == (tmp_path / "whole" / "items.jsonl").read_bytes()
    assert not (tmp_path / "items.partial.jsonl").exists()


def test_a_resumed_run_still_finds_the_wrong_pairs_of_its_first_part(tmp_path: Path):
    groups = [pair(0, chosen="bad", rejected="good"), pair(1), pair(2)]
    table = {"good": 2.0, "bad": -1.0}
    with pytest.raises(KeyboardInterrupt):
        run(ByTable(table, stop_after=2), groups, tmp_path)
    run(ByTable(table), groups, tmp_path)
    wrong = json.loads((tmp_path / "confident_errors.json").read_text())["pairs"]
    assert [entry["id"] for entry in wrong] == ["g0"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model", "model table there and other here"),
        ("name", "name held-out there and other here"),
        ("recipe_hash", "recipe_hash nothing there and other here"),
        ("weights_hash", "weights_hash nothing there and other here"),
        ("data_fingerprint", "data nothing there and other here"),
    ],
)
def test_an_unfinished_evaluation_of_something_else_is_not_taken_up(tmp_path: Path, change: str, words: str):
    groups = [pair(0), pair(1)]
    scorer = ByTable({"good": 1.0, "bad": 0.0}, stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        run(scorer, groups, tmp_path)
    options = {"name": "held-out", "model": "table", change: "other"}
    with pytest.raises(ConfigError, match=rf"items\.partial\.jsonl was begun by another run: {words}; remove it"):
        evaluate(ByTable({"good": 1.0, "bad": 0.0}), groups, output_dir=tmp_path, **options)


def test_other_weights_of_the_same_recipe_are_refused_and_the_same_ones_go_on(tmp_path: Path):
    groups = [pair(0), pair(1)]
    table = {"good": 1.0, "bad": 0.0}
    with pytest.raises(KeyboardInterrupt):
        run(ByTable(table, stop_after=1), groups, tmp_path, recipe_hash="r", weights_hash="w1")
    with pytest.raises(ConfigError, match="another run: weights_hash w1 there and w2 here;"):
        run(ByTable(table), groups, tmp_path, recipe_hash="r", weights_hash="w2")
    again = ByTable(table)
    run(again, groups, tmp_path, recipe_hash="r", weights_hash="w1")
    assert again.asked == ["g1"]


def test_an_unfinished_evaluation_of_other_data_is_not_taken_up(tmp_path: Path):
    scorer = ByTable({"good": 1.0, "bad": 0.0}, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        run(scorer, [pair(0), pair(1), pair(2)], tmp_path)
    with pytest.raises(DataError, match=r"partial\.jsonl:3: item 'g1' is not group 'g7'"):
        run(ByTable({}), [pair(0), pair(7), pair(2)], tmp_path)
    with pytest.raises(DataError, match=r"holds 2 lines, but the data has only 1 items"):
        run(ByTable({}), [pair(0)], tmp_path)
    other_prompt = Group(
        prompt=conversation("another question"),
        responses=("good", "bad"),
        preferences=(Preference(0, 1),),
        id="g0",
    )
    with pytest.raises(DataError, match=r"partial\.jsonl:2: item 'g0' is not group 'g0'"):
        run(ByTable({}), [other_prompt, pair(1)], tmp_path)


def test_a_reward_that_is_no_number_makes_a_failed_item_and_never_a_comparison(tmp_path: Path):
    groups = [pair(0), pair(1, rejected="nan"), pair(2, chosen="inf"), pair(3, rejected="none")]
    table = {"good": 1.0, "bad": 0.0, "nan": math.nan, "inf": math.inf, "none": None}
    result = run(ByTable(table), groups, tmp_path)
    assert (result.n, result.scored, result.failed) == (4, 1, 3)
    assert result.preference.metrics["accuracy"].n == 1
    items = read_items(tmp_path / "items.jsonl")
    assert items[1].rewards == (1.0, None)
    assert [item.reason for item in items] == [
        None,
        "the reward of response 1 is nan",
        "the reward of response 0 is inf",
        "the scorer gave no reward and no reason",
    ]


def test_groups_without_preferences_are_unscored_and_counted(tmp_path: Path):
    groups = [pair(0), pair(1, preferences=()), pair(2, preferences=(Preference(0, 1, probability=0.5),))]
    result = run(ByTable({"good": 1.0, "bad": 0.0}), groups, tmp_path)
    assert (result.n, result.scored, result.unscored, result.failed) == (3, 1, 2, 0)


def test_no_groups_give_an_empty_result(tmp_path: Path):
    result = run(ByTable({}), [], tmp_path)
    assert (result.n, result.measures, result.details) == (0, (), {})
    assert read_items(tmp_path / "items.jsonl") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rewards: rewards[:-1], "stopped after 2 groups; 1 are without rewards"),
        (lambda rewards: [*rewards, rewards[-1]], "more results than the 3 groups"),
        (lambda rewards: rewards[::-1], "rewards of group 'g2' where those of 'g0' were due"),
        (
            lambda rewards: [GroupRewards(id=r.id, rewards=(1.0,)) for r in rewards],
            "gave 1 rewards for the 2 responses",
        ),
    ],
    ids=["too few", "too many", "another order", "another number of rewards"],
)
def test_a_scorer_that_breaks_the_protocol_is_an_error(tmp_path: Path, change, message: str):
    with pytest.raises(ModelError, match=message):
        run(Wrapped(change), [pair(0), pair(1), pair(2)], tmp_path)
    assert not (tmp_path / "result.json").exists()


def test_groups_are_read_no_further_ahead_than_the_scorer_reads(tmp_path: Path):
    read: list[int] = []

    def stream() -> Iterator[Group]:
        for index in range(4):
            read.append(index)
            yield pair(index)

    progress_at: list[tuple[int, int]] = []
    run(
        ByTable({"good": 1.0, "bad": 0.0}),
        stream(),
        tmp_path,
        progress=lambda done: progress_at.append((done, len(read))),
    )
    assert progress_at == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]


def labelled(index: int) -> Group:
    """A group with a label of every kind, whose second response is the better one."""
    return Group(
        prompt=conversation(f"question {index}"),
        responses=(f"so it is {index}\nthat is 1", f"so it is {index + 1}\nthat is 2 ok"),
        ranks=(2, 1),
        ratings={"clarity": (1, 2.5)},
        outcomes=(False, True),
        steps=((Step(8, 1.0), Step(18, 0.0)), (Step(8, 1.0), Step(20, None))),
        id=f"g{index}",
    )


class OfEveryKind:
    """Gives rewards, an attribute and step rewards; stops on demand."""

    def __init__(self, *, stop_after: int | None = None, **changes) -> None:
        self.asked = 0
        self.stop_after = stop_after
        self.changes = changes

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        for group in groups:
            if self.asked == self.stop_after:
                raise KeyboardInterrupt
            self.asked += 1
            fields = {
                "rewards": (0.1, 0.9),
                "attributes": {"clarity": (1.0, 2.0)},
                "steps": ((0.9, 0.2), (0.8, math.nan)),
            }
            yield GroupRewards(id=group.id, **(fields | self.changes))


def test_labels_and_what_the_model_says_of_them_are_in_the_items(tmp_path: Path):
    result = run(OfEveryKind(), [labelled(0), labelled(1)], tmp_path)
    (item, _) = read_items(tmp_path / "items.jsonl")
    assert (item.ranks, item.ratings, item.outcomes) == ((2, 1), {"clarity": (1.0, 2.5)}, (False, True))
    assert item.step_labels == ((1.0, 0.0), (1.0, None))
    assert item.attributes == {"clarity": (1.0, 2.0)}
    assert item.steps == ((0.9, 0.2), (0.8, None))  # NaN is no reward
    assert item.answers == ("1", "2")
    assert [measure.name for measure in result.measures] == ["ranking", "rating clarity", "outcome", "step"]
    assert [measure.counts.scored for measure in result.measures] == [2, 2, 2, 2]
    assert result.measures[3].details["chains_not_scored"] == 2  # a step of response 1 has no reward, in both groups
    assert assemble_result(read_items(tmp_path / "items.jsonl"), name="held-out", model="table").measures == (
        result.measures
    )


def test_a_killed_run_with_labels_goes_on_and_other_labels_are_other_data(tmp_path: Path):
    groups = [labelled(index) for index in range(4)]
    with pytest.raises(KeyboardInterrupt):
        run(OfEveryKind(stop_after=2), groups, tmp_path / "killed")
    partial = (tmp_path / "killed" / "items.partial.jsonl").read_bytes()
    for field, value in (
        ("ranks", (1, 2)),
        ("ratings", {"clarity": (1.0, 3.0)}),
        ("outcomes", (True, True)),
        ("steps", ((Step(8, 1.0), Step(18, 1.0)), (Step(8, 1.0), Step(20, None)))),
    ):
        changed = [dataclasses.replace(groups[0], **{field: value}), *groups[1:]]
        with pytest.raises(DataError, match=r"partial\.jsonl:2: item 'g0' is not group 'g0'"):
            run(OfEveryKind(), changed, tmp_path / "killed")
        (tmp_path / "killed" / "items.partial.jsonl").write_bytes(partial)
    with pytest.raises(ConfigError, match=r"answer_pattern .* there and so it is"):
        run(OfEveryKind(), groups, tmp_path / "killed", answer_pattern=r"so it is (\d+)")
    second = OfEveryKind()
    result = run(second, groups, tmp_path / "killed")
    whole = run(OfEveryKind(), groups, tmp_path / "whole")
    assert second.asked == 2
    assert result.model_copy(update={"created": ""}) == whole.model_copy(update={"created": ""})


def test_another_answer_pattern_finds_other_answers(tmp_path: Path):
    run(OfEveryKind(), [labelled(0)], tmp_path, answer_pattern=r"so it is (\d+)")
    assert read_items(tmp_path / "items.jsonl")[0].answers == ("0", "1")
    with pytest.raises(ConfigError, match="no regular expression"):
        run(OfEveryKind(), [labelled(0)], tmp_path / "bad", answer_pattern="(")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"attributes": {"clarity": (1.0,)}},
            "gave 1 numbers of attribute 'clarity' for the 2 responses of group 'g0'",
        ),
        ({"steps": ((0.9, 0.2),)}, "gave the steps of 1 responses for the 2 responses of group 'g0'"),
        ({"steps": ((0.9, 0.8, 0.7), None)}, "gave 3 step rewards for the 2 steps of response 0 of group 'g0'"),
    ],
)
def test_attributes_and_steps_that_do_not_fit_the_group_are_an_error(tmp_path: Path, changes, message: str):
    with pytest.raises(ModelError, match=message):
        run(OfEveryKind(**changes), [labelled(0)], tmp_path)


class Comparing:
    """Gives win rates, and strengths beside them."""

    info = ScorerInfo(scale="win_rates", strengths="log_odds_differences", relative=True)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        for group in groups:
            yield GroupRewards(id=group.id, rewards=(0.75, 0.25), strengths=(1.5, -1.5))


@pytest.mark.parametrize("scorer", [Comparing(), EnsembleScorer([Comparing(), Comparing()])])
def test_a_scorer_of_win_rates_is_asked_for_log_odds_and_has_no_figures_across_groups(tmp_path: Path, scorer):
    result = run(scorer, [labelled(0), labelled(1), pair(2), pair(3)], tmp_path)
    # the margin is 3 in every pair
    assert result.preference.metrics["brier"].value == pytest.approx((1 - 1 / (1 + math.exp(-3))) ** 2)
    outcome = next(measure for measure in result.measures if measure.name == "outcome")
    assert "best_of_k" in outcome.metrics
    assert set(outcome.absent) >= {"auc", "accuracy"}
