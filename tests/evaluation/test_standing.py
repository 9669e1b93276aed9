"""A result is not replaced by another model's unseen; one of the same rewards is taken as it is."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.errors import ConfigError, DataError, OutputError
from plaudit.evaluation.run import evaluate, recompute
from plaudit.evaluation.store import result_folder
from plaudit.evaluation.store.precomputed import StoredItems, StoredRewards, holds_items
from plaudit.evaluation.store.result_folder import ScoringRecord, existing_result
from plaudit.records import Result, read_items
from plaudit.scoring.scorer import GroupRewards, ResponseTruncation, ScorerInfo

FILES = ("items.jsonl", "result.json", "scoring.json", "confident_errors.json")


def pair(index: int, **fields) -> Group:
    texts = ("good", "bad") if index % 3 else ("bad", "good")
    prompt = conversation(f"question {index}")
    return Group(prompt, texts, (Preference(0, 1),), id=f"g{index}", **fields)


class ByLength:
    """Rewards length, and tells of every second group that a response lost tokens; stops on demand."""

    def __init__(self, *, stop_after: int | None = None) -> None:
        self.asked: list[str] = []
        self.stop_after = stop_after

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        for group in groups:
            if len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(group.id)
            rewards = GroupRewards(id=group.id, rewards=tuple(float(len(text)) for text in group.responses))
            number = int(group.id[1:])
            yield dataclasses.replace(
                rewards, truncation=ResponseTruncation((number, 0), number % 4 == 0) if number % 2 == 0 else None
            )


GROUPS = [pair(index) for index in range(1, 9)]
SAME = {"model": "m", "recipe_hash": "r", "weights_hash": "w", "data_fingerprint": "d", "settings": {"max_length": 256}}


def run(folder: Path, scorer: ByLength | None = None, groups: list[Group] = GROUPS, **changes) -> Result:
    options = {"replace": "nothing"} | SAME | changes
    return evaluate(scorer or ByLength(), groups, name="pairs", output_dir=folder, **options)


def bare(folder: Path) -> dict[str, object]:
    """Return what stands in the files of a result, without its time."""
    read = {name: (folder / name).read_bytes() for name in FILES if name != "result.json"}
    result = json.loads((folder / "result.json").read_text())
    return {**read, "result.json": {**result, "created": ""}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "other"}, r"and this is 'other'"),
        (
            {"recipe_hash": "r2", "settings": {"max_length": 512}},
            r"with other settings \(max_length 256 there and 512 here\)",
        ),
        ({"recipe_hash": "r2", "settings": {}}, "with another scoring recipe"),
        ({"weights_hash": "w2"}, "with other weights"),
        ({"data_fingerprint": "d2"}, "on other data"),
    ],
    ids=["model", "settings", "recipe", "weights", "data"],
)
def test_what_another_evaluation_found_is_kept_and_named_unless_told_otherwise(tmp_path: Path, changes, words: str):
    created = run(tmp_path).created
    before = bare(tmp_path)
    asked = ByLength()
    date = created[:16].replace("T", " ")
    named = f"holds the result of model 'm' of {date}, {words}; give another folder with -o, or --overwrite"
    with pytest.raises(ConfigError, match=named):
        run(tmp_path, asked, **changes)
    assert asked.asked == []
    assert bare(tmp_path) == before
    result = run(tmp_path, asked, replace="all", **changes)
    assert len(asked.asked) == 8
    assert result.model == changes.get("model", "m")
    scoring = ScoringRecord.model_validate_json((tmp_path / "scoring.json").read_text())
    assert scoring.evaluation.model == result.model
    assert scoring.settings == changes.get("settings", SAME["settings"])


def test_the_same_evaluation_is_not_scored_again_and_its_figures_follow_the_tie_rule(tmp_path: Path):
    tied = [*GROUPS, Group(conversation("tie"), ("same", "size"), (Preference(0, 1),), id="g20")]
    first = run(tmp_path, groups=tied, tie_rule="loss")
    before, asked = bare(tmp_path), ByLength()
    again = run(tmp_path, asked, groups=tied, tie_rule="loss")
    assert asked.asked == []
    assert again.model_copy(update={"created": ""}) == first.model_copy(update={"created": ""})
    assert bare(tmp_path) == before
    # "good" is longer, and chosen in all but g3 and g6: 6 of 8 are right, and one more is tied
    assert first.preference.metrics["accuracy"].value == pytest.approx(6 / 9)
    half = run(tmp_path, asked, groups=tied, tie_rule="half")
    assert asked.asked == []
    assert (half.tie_rule, half.preference.metrics["accuracy"].value) == ("half", pytest.approx(6.5 / 9))


def test_a_finished_evaluation_is_scored_again_where_that_is_asked_for(tmp_path: Path):
    run(tmp_path)
    asked = ByLength()
    run(tmp_path, asked, replace="all")
    assert len(asked.asked) == 8


def test_another_answer_pattern_is_found_in_the_texts_without_scoring(tmp_path: Path):
    texts = ("so 1, not 3", "so 2, not 4")
    groups = [Group(conversation("q"), texts, outcomes=(True, False), id="g2")]
    run(tmp_path, groups=groups)
    assert read_items(tmp_path / "items.jsonl")[0].answers == ("3", "4")
    asked = ByLength()
    run(tmp_path, asked, groups=groups, answer_pattern=r"so (\d)")
    assert asked.asked == []
    assert read_items(tmp_path / "items.jsonl")[0].answers == ("1", "2")


def test_an_unfinished_evaluation_of_another_model_is_replaced_only_where_all_is(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ByLength(stop_after=3))
    with pytest.raises(ConfigError, match="was begun by another run: model m there and other here"):
        run(tmp_path, model="other")
    asked = ByLength()
    run(tmp_path, asked, model="other", replace="all")
    assert len(asked.asked) == 8


def test_an_evaluation_that_stopped_before_its_first_item_stands_in_nobodys_way(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ByLength(stop_after=0))
    assert list(tmp_path.iterdir()) == []
    assert run(tmp_path, model="other").model == "other"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "items.partial.jsonl").write_text('{"mine": 1}\n')
    with pytest.raises(DataError, match="not the start of unfinished work of this version of plaudit"):
        run(tmp_path / "mine")


def test_replacing_goes_on_with_its_own_unfinished_items(tmp_path: Path):
    run(tmp_path, model="old")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, ByLength(stop_after=5), replace="all")
    standing = existing_result(tmp_path)
    assert standing is not None
    assert standing.result.model == "old"
    asked = ByLength()
    run(tmp_path, asked, replace="all")
    assert asked.asked == ["g6", "g7", "g8"]


def test_what_is_no_record_of_plaudit_is_not_written_over(tmp_path: Path):
    (tmp_path / "result.json").write_text('{"mine": 1}')
    with pytest.raises(DataError, match=r"result\.json is no record of plaudit"):
        run(tmp_path)
    assert (tmp_path / "result.json").read_text() == '{"mine": 1}'


class InWindows:
    """Gives rewards that depend on the place in a window of three, as batches move last digits; asks in windows."""

    info = ScorerInfo(window=3)

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        for place, group in enumerate(groups):
            self.asked.append(group.id)
            yield GroupRewards(id=group.id, rewards=tuple(len(text) + place % 3 / 8 for text in group.responses))


@pytest.mark.parametrize(("stop", "goes_on_at"), [(1, "g1"), (3, "g4"), (5, "g4"), (7, "g7"), (8, None)])
def test_a_scorer_of_windows_goes_on_at_the_end_of_one(tmp_path: Path, stop: int, goes_on_at: str | None):
    def stopping(done: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    run(tmp_path / "whole", InWindows())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", InWindows(), progress=stopping)
    second = InWindows()
    run(tmp_path / "killed", second)
    assert second.asked[:1] == ([] if goes_on_at is None else [goes_on_at])
    assert bare(tmp_path / "killed") == bare(tmp_path / "whole")


def test_an_unfinished_evaluation_of_another_model_keeps_every_item(tmp_path: Path):
    def stopping(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=stopping)
    before = (tmp_path / "items.partial.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="was begun by another run: model m there"):
        run(tmp_path, InWindows(), model="other")
    assert (tmp_path / "items.partial.jsonl").read_bytes() == before


# ----------------------------------------------------------------------------------------- what was cut


def test_what_was_cut_is_in_the_result_and_by_group_beside_it(tmp_path: Path):
    result = run(tmp_path)
    # g2, g4, g6 and g8 lost as many tokens as their number says; g4 and g8 made a response identical
    counts = {"truncated_groups": 4, "truncated_responses": 4, "truncated_tokens": 20, "identical_after_truncation": 2}
    assert {name: result.details[name] for name in counts} == counts
    scoring = json.loads((tmp_path / "scoring.json").read_text())
    assert scoring["truncated"] == {"version": 1, "groups": 4, "responses": 4, "tokens": 20, "identical": 2}
    assert [(cut["place"], cut["id"], cut["tokens"]) for cut in scoring["truncations"]] == [
        (1, "g2", [2, 0]),
        (3, "g4", [4, 0]),
        (5, "g6", [6, 0]),
        (7, "g8", [8, 0]),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_run_killed_again_and_again_counts_every_cut_once(tmp_path: Path, seed: int):
    run(tmp_path / "whole")
    draws = random.Random(seed)
    folder = tmp_path / "killed"
    for _ in range(4):
        try:
            run(folder, ByLength(stop_after=draws.randint(0, 3)))
        except KeyboardInterrupt:
            # what a kill leaves in the middle of a write
            if (folder / "items.partial.jsonl").exists():
                with (folder / "items.partial.jsonl").open("a") as file:
                    file.write(draws.choice(["", '{"version":1,"item":{"id":"g']))
    run(folder)
    assert bare(folder) == bare(tmp_path / "whole")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)


# -------------------------------------------------------------------------------------- items once more


def test_items_give_their_result_again_in_place_and_elsewhere(tmp_path: Path):
    run(tmp_path / "first")
    before = bare(tmp_path / "first")
    assert holds_items(str(tmp_path / "first" / "items.jsonl"))
    kept = StoredItems(str(tmp_path / "first" / "items.jsonl"))
    (tmp_path / "first" / "result.json").unlink()
    # killed while its result was replaced: scoring.json still names the evaluation
    recompute(StoredItems(str(tmp_path / "first" / "items.jsonl")), output_dir=tmp_path / "killed")
    assert bare(tmp_path / "killed") == before
    scoring = (tmp_path / "first" / "scoring.json").read_bytes()
    (tmp_path / "first" / "scoring.json").unlink()
    recompute(StoredItems(str(tmp_path / "first" / "items.jsonl")), output_dir=tmp_path / "without")
    assert existing_result(tmp_path / "without").result.model == str(tmp_path / "first" / "items.jsonl")
    (tmp_path / "first" / "scoring.json").write_bytes(scoring)
    recompute(kept, output_dir=tmp_path / "first", replace="nothing")
    assert bare(tmp_path / "first") == before
    recompute(kept, output_dir=tmp_path / "second", replace="nothing")
    assert bare(tmp_path / "second") == before
    run(tmp_path / "third", model="other")
    with pytest.raises(ConfigError, match="holds the result of model 'other'"):
        recompute(kept, output_dir=tmp_path / "third", replace="nothing")


def test_items_under_another_name_do_not_replace_those_beside_them(tmp_path: Path):
    run(tmp_path)
    before = (tmp_path / "items.jsonl").read_bytes()
    (tmp_path / "edited.jsonl").write_bytes(before)
    with pytest.raises(ConfigError, match=r"stands beside the items\.jsonl that would be replaced"):
        recompute(StoredItems(str(tmp_path / "edited.jsonl")), output_dir=tmp_path)
    assert (tmp_path / "items.jsonl").read_bytes() == before


def test_kept_rewards_are_those_of_the_same_texts_whatever_the_labels_are_now(tmp_path: Path):
    run(tmp_path / "first")
    scorer = StoredRewards([StoredItems(str(tmp_path / "first" / "items.jsonl"))])
    turned = [Group(each.prompt, each.responses, (Preference(1, 0),), id=each.id) for each in GROUPS[:-1]]
    options = {
        "model": scorer.identity.model,
        "recipe_hash": scorer.info.recipe_hash,
        "weights_hash": scorer.info.weights_hash,
    }
    result = evaluate(scorer, turned, name="pairs", output_dir=tmp_path / "turned", **options)
    # all labels turned: 6 of 8 were right, of the first 7 it was 5
    assert result.preference.metrics["accuracy"].value == pytest.approx(2 / 7)
    assert scorer.unused == ["g8"]
    assert result.details["truncated_tokens"] == 12
    stranger = Group(conversation("question 1"), ("good", "worse"), id="g1")
    with pytest.raises(DataError, match=r"items\.jsonl:1: item 'g1' is of another prompt or other responses"):
        list(scorer.score_groups([stranger]))
    (missing,) = scorer.score_groups([Group(conversation("new"), ("a",), id="g99")])
    assert (missing.rewards, missing.reason) == ((None,), "no item is of it")


def test_the_items_of_two_models_are_not_put_together(tmp_path: Path):
    run(tmp_path / "a", groups=GROUPS[:4])
    run(tmp_path / "b", groups=GROUPS[4:])
    run(tmp_path / "c", groups=GROUPS[4:], model="other")
    a, b, c = (StoredItems(str(tmp_path / name / "items.jsonl")) for name in "abc")
    assert len(list(StoredRewards([a, b]).score_groups(GROUPS))) == 8
    with pytest.raises(ConfigError, match="take the items of one model at a time"):
        StoredRewards([a, c])
    with pytest.raises(DataError, match="id 'g1' is also at"):
        StoredRewards([a, a])


# ------------------------------------------------------------------------------------------ files of plaudit 0.1


def test_a_result_of_an_older_version_is_taken_as_it_is_and_its_old_files_go(tmp_path: Path):
    run(tmp_path)
    before = bare(tmp_path)
    (tmp_path / "confident_errors.json").rename(tmp_path / "surprising.json")
    scoring = json.loads((tmp_path / "scoring.json").read_text())
    scoring["cuts"] = scoring.pop("truncations")
    (tmp_path / "scoring.json").write_text(json.dumps(scoring))
    stored = StoredItems(str(tmp_path / "items.jsonl"))
    assert [each.id for each in stored.truncations] == ["g2", "g4", "g6", "g8"]
    recompute(stored, output_dir=tmp_path, replace="nothing")
    assert bare(tmp_path) == before
    (tmp_path / "confident_errors.json").rename(tmp_path / "surprising.json")
    asked = ByLength()
    run(tmp_path, asked)
    assert (asked.asked, bare(tmp_path)) == ([], before)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)


def test_unfinished_items_of_an_older_version_are_refused_and_kept(tmp_path: Path):
    old = '{"version":1,"name":"pairs","model":"m","answer_pattern":"x"}\n{"version":1,"id":"g1"}\n'
    (tmp_path / "items.partial.jsonl").write_text(old)
    with pytest.raises(DataError, match=r"items\.partial\.jsonl:1: not the start of unfinished work of this version"):
        run(tmp_path)
    assert (tmp_path / "items.partial.jsonl").read_text() == old


def test_two_evaluations_do_not_write_one_folder(tmp_path: Path):
    def again(done: int) -> None:
        run(tmp_path)

    with pytest.raises(OutputError, match=r"cannot write .*items\.partial\.jsonl: process \d+ on .* is writing it"):
        run(tmp_path, progress=again)
    assert len(read_items(tmp_path / "items.jsonl") if (tmp_path / "items.jsonl").exists() else []) == 0


def test_a_full_disk_at_the_end_leaves_the_older_result_and_the_new_items(tmp_path: Path, monkeypatch):
    run(tmp_path, model="old")
    before = bare(tmp_path)
    original = result_folder.write_record

    def full(path: Path, record) -> None:
        if isinstance(record, Result):
            raise OutputError(28, "No space left on device")
        original(path, record)

    monkeypatch.setattr(result_folder, "write_record", full)
    with pytest.raises(OutputError, match="No space left"):
        run(tmp_path, replace="all")
    assert bare(tmp_path) == before
    monkeypatch.setattr(result_folder, "write_record", original)
    asked = ByLength()
    run(tmp_path, asked, replace="all")
    assert asked.asked == []
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
