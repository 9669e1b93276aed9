"""The rounds of semi-supervised training: what each is trained on, from what, and how a cut run goes on."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from plaudit.config import load_config
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group
from plaudit.errors import ConfigError, DataError, ModelError
from plaudit.labeling import semi_supervised
from plaudit.labeling.config import SemiSupervisedConfig
from plaudit.labeling.pseudo_label import write_pseudo_labels
from plaudit.labeling.semi_supervised import (
    SemiSupervisedRecord,
    model_hash,
    resumable,
    round_config,
    train_semi_supervised,
)
from plaudit.opening import load
from plaudit.scoring.scorer import GroupRewards, ScorerInfo
from plaudit.training.prepare import prepare_groups, prepare_model

pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = """
train:
  name: small
  model: {init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}, max_length: 128}
  data: {train: [{path: labelled.jsonl}], held_out: [{path: held_out.jsonl}]}
  optim: {lr: 1e-2}
  step: {groups_per_step: 8, max_steps: 3, threads: 1, log_every: 1, trackers: []}
unlabelled: [{path: unlabelled.jsonl}]
rounds: 2
threshold: 0.52
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_groups):
    """The working directory of all runs of this file: 12 labelled, 6 held-out and 20 unlabelled groups.

    Two of the unlabelled groups have prompts of the held-out ones.
    """
    path = tmp_path_factory.mktemp("runs")
    write_groups(path / "labelled.jsonl", make_groups(12, seed=1))
    held_out = make_groups(6, seed=2)
    write_groups(path / "held_out.jsonl", held_out)
    unlabelled = make_groups(20, seed=3)
    unlabelled[:2] = [Group(held_out[k].prompt, unlabelled[k].responses, id=f"g{k}") for k in range(2)]
    write_groups(path / "unlabelled.jsonl", unlabelled)
    (path / "config.yaml").write_text(CONFIG)
    with contextlib.chdir(path):
        yield path


@pytest.fixture(scope="module")
def whole(folder):
    """A run that nothing interrupted."""
    return folder / "whole", train_semi_supervised(config(), run_dir=folder / "whole")


@pytest.fixture
def run(folder, request):
    return folder / request.node.name.translate(str.maketrans("[]", "--"))


def config(*overrides):
    return load_config(SemiSupervisedConfig, Path("config.yaml"), overrides)


def groups_in(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def what_was_found(record):
    """Everything of a record but times."""
    rounds = [each.model_copy(update={"seconds": 0.0}) for each in record.rounds]
    return record.status, record.message, record.data, rounds


def weights(run):
    return load_file(run / "model" / "model.safetensors")


# ------------------------------------------------------------------------------------------------- the rounds


def test_round_0_is_trained_on_the_labels_and_later_ones_on_the_kept_pseudo_labels_too(whole):
    run, record = whole
    assert (record.status, record.message, [each.number for each in record.rounds]) == ("finished", None, [0, 1, 2])
    first, *others = record.rounds
    assert first.pseudo is None
    assert first.groups == 12
    labelled = sum(len(row["preferences"]) for row in groups_in(run / "data" / "labelled.jsonl"))
    assert first.preferences == labelled
    for done in others:
        assert done.pseudo.groups == 18
        assert done.pseudo.kept > 0
        assert done.groups == 12 + done.pseudo.groups_kept
        assert done.preferences == labelled + done.pseudo.kept
        rows = groups_in(run / "pseudo" / f"round_{done.number}.jsonl")
        assert len(rows) == done.pseudo.groups_kept
        assert {row["source"] for row in rows} == {f"pseudo:{model_hash(run / f'round_{done.number - 1}')}"}


def test_the_record_on_disk_is_the_one_returned(whole):
    run, record = whole
    assert SemiSupervisedRecord.model_validate_json((run / "ssrm.json").read_bytes()) == record


def test_every_round_is_evaluated_on_the_same_held_out_groups(whole):
    run, record = whole
    for done in record.rounds:
        result = json.loads((run / f"round_{done.number}" / "eval" / "held_out" / "result.json").read_text())
        assert result["n"] == 6
        assert result["measures"][0]["metrics"]["accuracy"] == done.accuracy.model_dump()
        described = json.loads((run / f"round_{done.number}" / "run.json").read_text())["data"]["held_out"]
        assert described["fingerprint"] == record.data["held_out"]["fingerprint"]


def test_unlabelled_groups_of_held_out_prompts_are_left_out_and_counted(whole):
    run, record = whole
    found = record.data["unlabelled"]
    assert (found["groups"], found["left_out"]) == (18, {"groups whose prompt is held out": 2})
    ids = {row["id"] for number in (1, 2) for row in groups_in(run / "pseudo" / f"round_{number}.jsonl")}
    assert not {"g0", "g1"} & ids


@pytest.mark.slow
def test_held_out_prompts_that_are_split_off_stay_the_same_in_every_round(folder, run):
    record = train_semi_supervised(config("train.data.held_out=[]", "train.data.held_out_share=0.3"), run_dir=run)
    counts = record.data["labelled"]["groups"], record.data["held_out"]["groups"]
    assert sum(counts) == 12
    assert min(counts) > 0
    assert [each.groups - (each.pseudo.groups_kept if each.pseudo else 0) for each in record.rounds] == [counts[0]] * 3


@pytest.mark.slow
def test_a_run_without_held_out_groups_has_no_accuracy(folder, run):
    options = ("train.data.held_out=[]", "train.data.held_out_share=0", "rounds=1")
    record = train_semi_supervised(config(*options), run_dir=run)
    assert [each.accuracy for each in record.rounds] == [None, None]
    assert record.rounds[0].groups == 12
    assert record.data["unlabelled"]["groups"] == 20


@pytest.mark.slow
def test_the_preferences_of_the_unlabelled_groups_change_nothing_but_the_measured_accuracy(folder, run, whole):
    rows = groups_in(folder / "unlabelled.jsonl")
    for row in rows:
        row["preferences"] = []
    (folder / "bare.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = train_semi_supervised(config("unlabelled.0.path=bare.jsonl", "rounds=1"), run_dir=run)
    old, _ = whole
    assert (run / "pseudo" / "round_1.jsonl").read_bytes() == (old / "pseudo" / "round_1.jsonl").read_bytes()
    assert record.rounds[1].pseudo.accuracy is None
    assert whole[1].rounds[1].pseudo.accuracy is not None


@pytest.mark.slow
def test_a_pairwise_preference_model_labels_with_the_strengths_of_its_comparisons(folder, run):
    head = ("train.model.head={type: comparison}", "train.objective={type: process}", "rounds=1", "threshold=0.5")
    # weights large enough for answers that are far from one half
    record = train_semi_supervised(config(*head, "train.model.init.init_std=0.3"), run_dir=run)
    _, done = record.rounds
    assert record.status == "finished"
    assert done.pseudo.kept > 0
    assert done.pseudo.unit == "log_odds_differences"
    assert done.groups == 12 + done.pseudo.groups_kept
    assert done.accuracy is not None
    kept = list(read_groups(run / "pseudo" / "round_1.jsonl", format="groups", cache_dir=run / "cache"))
    found = load(run / "round_0").score_groups(kept)
    leads = [
        rewards.strengths[each.chosen] - rewards.strengths[each.rejected]
        for group, rewards in zip(kept, found, strict=True)
        for each in group.preferences
    ]
    assert len(leads) == done.pseudo.kept == done.pseudo.pairs - done.pseudo.ties
    assert min(leads) > -1e-5
    assert np.mean(leads) > 0.02
    assert {each.chosen < each.rejected for group in kept for each in group.preferences} == {True, False}


def test_an_objective_of_no_log_odds_is_refused_before_any_round_is_trained(folder, run):
    with pytest.raises(ConfigError, match="only the order counts, so no difference of them is a log-odds; set temper"):
        train_semi_supervised(config("train.objective.label_smoothing=0.1"), run_dir=run)
    assert not (run / "round_0").exists()


def test_unlabelled_groups_of_one_response_are_refused_before_any_round_is_trained(folder, run, make_groups):
    single = [Group(group.prompt, group.responses[:1], id=group.id) for group in make_groups(3, seed=9)]
    write_groups(folder / "single.jsonl", single)
    with pytest.raises(DataError, match=r"none of the 3 unlabelled groups has two responses.* group_by_prompt: true"):
        train_semi_supervised(config("unlabelled.0.path=single.jsonl"), run_dir=run)
    assert not (run / "round_0").exists()


# -------------------------------------------------------------------------------------------- where it starts


def test_every_round_starts_from_the_same_weights_and_tokenizer(whole):
    run, _ = whole
    made = []
    for number in (0, 2):
        settings = round_config(config(), run, number, labelled_groups=12)
        groups, _ = prepare_groups(settings.data, cache_dir=run / "data")
        model, _ = prepare_model(settings, groups)
        made.append((model.tokenizer.backend_tokenizer.to_str(), model.network.state_dict()))
    (one, first), (other, second) = made
    assert one == other
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["initial", "previous"])
def test_a_round_starts_where_it_was_told_to(folder, run, whole, start):
    settings = config(f"start={start}", "rounds=1", "train.optim.lr=0.03")
    settings = settings.model_copy(update={"train": settings.train})
    train_semi_supervised(settings, run_dir=run)
    # the same round again, with steps too small to leave the start
    still = settings.train.optim.model_copy(update={"lr": 1e-12})
    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"optim": still})})
    again = round_config(settings, run, 1, labelled_groups=12)
    semi_supervised.train(again, run_dir=run / "still")
    found, before = weights(run / "still"), weights(run / "round_0")
    largest = max(float((found[name] - before[name]).abs().max()) for name in before)
    assert (largest < 1e-6) == (start == "previous")


def test_adapters_that_stay_apart_are_nothing_to_start_from(folder):
    lora = ("train.model.init={type: pretrained, path: x}", "train.model.lora.merge=false")
    config(*lora)
    with pytest.raises(ConfigError, match=r"train\.model\.lora\.merge is false"):
        config(*lora, "start=previous")


# ------------------------------------------------------------------------------------------- cut and resumed


class Cut(Exception):
    """Stands for the end of the process."""


def cut_at(monkeypatch, name, call):
    """Let the function that the loop calls by ``name`` die at its ``call``-th call, from 1; return the calls."""
    original, calls = getattr(semi_supervised, name), []

    def dying(*arguments, **keywords):
        calls.append(arguments)
        if len(calls) == call:
            raise Cut
        return original(*arguments, **keywords)

    monkeypatch.setattr(semi_supervised, name, dying)
    return calls


@pytest.mark.parametrize(
    ("name", "call", "done", "trained", "labelled"),
    [
        pytest.param("train", 1, 0, 3, 2, marks=pytest.mark.slow),
        pytest.param("write_pseudo_labels", 1, 1, 2, 2, marks=pytest.mark.slow),
        ("train", 2, 1, 2, 1),
        pytest.param("held_out_accuracy", 2, 1, 1, 1, marks=pytest.mark.slow),
        pytest.param("write_pseudo_labels", 2, 2, 1, 1, marks=pytest.mark.slow),
        pytest.param("held_out_accuracy", 3, 2, 0, 0, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_was_cut_goes_on_and_ends_the_same(
    folder, run, whole, monkeypatch, name, call, done, trained, labelled
):
    with monkeypatch.context() as patch:
        cut_at(patch, name, call)
        with pytest.raises(Cut):
            train_semi_supervised(config(), run_dir=run)
    halfway = SemiSupervisedRecord.model_validate_json((run / "ssrm.json").read_bytes())
    assert (halfway.status, len(halfway.rounds)) == ("running", done)
    trainings, labellings = cut_at(monkeypatch, "train", 0), cut_at(monkeypatch, "write_pseudo_labels", 0)
    record = train_semi_supervised(config(), run_dir=run, resume=True)
    assert what_was_found(record) == what_was_found(whole[1])
    assert (len(trainings), len(labellings)) == (trained, labelled)
    for number in range(3):
        for key, value in weights(whole[0] / f"round_{number}").items():
            assert torch.equal(weights(run / f"round_{number}")[key], value)


class Dying:
    """A scorer that dies after so many groups, and remembers what it was asked."""

    def __init__(self, stop=math.inf):
        self.stop, self.asked = stop, []

    @property
    def info(self):
        return ScorerInfo(window=2, scale="log_odds_differences")

    def score_groups(self, groups):
        for group in groups:
            if len(self.asked) == self.stop:
                raise Cut
            self.asked.append(group.id)
            yield GroupRewards(group.id, tuple(float(len(text)) for text in group.responses))


class DyingPairs(Dying):
    """The same of a scorer that compares: the lengths are its strengths."""

    @property
    def info(self):
        return ScorerInfo(window=2, scale="win_rates", strengths="log_odds_differences", relative=True)

    def score_groups(self, groups):
        for found in super().score_groups(groups):
            yield replace(found, rewards=(0.5,) * len(found.rewards), strengths=found.rewards)


@pytest.mark.parametrize("kind", [Dying, DyingPairs])
def test_a_labelling_that_was_cut_goes_on_after_its_last_whole_window(tmp_path, make_groups, kind):
    groups, options = make_groups(9), {"model": "m", "data_fingerprint": "d"}
    whole = write_pseudo_labels(tmp_path / "whole.jsonl", kind(), groups, **options)
    out = tmp_path / "out.jsonl"

    def label(scorer, **changes):
        identity = {"model": "m", "data": "d"} | changes
        with resumable(scorer, out, **identity) as remembering:
            return write_pseudo_labels(out, remembering, groups, **options)

    with pytest.raises(Cut):
        label(kind(5))
    assert not out.exists()
    second = kind()
    assert label(second) == whole
    assert second.asked == [f"g{number}" for number in range(4, 9)]
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.jsonl", "out.record.json"]
    with pytest.raises(Cut):
        label(kind(5))
    other = kind()
    label(other, model="another")
    assert len(other.asked) == 9


def test_a_finished_run_is_left_as_it_is(folder, whole, monkeypatch):
    run, record = whole
    for name in ("train", "write_pseudo_labels", "held_out_accuracy"):
        cut_at(monkeypatch, name, 1)
    assert train_semi_supervised(config(), run_dir=run, resume=True) == record


@pytest.mark.slow
def test_pseudo_labels_of_another_model_are_made_again(folder, run, whole, monkeypatch):
    shutil.copytree(whole[0], run)
    record = json.loads((run / "ssrm.json").read_text())
    record |= {"rounds": record["rounds"][:1], "status": "running"}
    (run / "ssrm.json").write_text(json.dumps(record))
    stale = json.loads((run / "pseudo" / "round_1.record.json").read_text()) | {"model": "another"}
    (run / "pseudo" / "round_1.record.json").write_text(json.dumps(stale))
    for number in (1, 2):
        shutil.rmtree(run / f"round_{number}")
    labellings = cut_at(monkeypatch, "write_pseudo_labels", 0)
    found = train_semi_supervised(config(), run_dir=run, resume=True)
    # those of round 2 were whole, and made by the model that is trained again, digit for digit
    assert len(labellings) == 1
    assert what_was_found(found) == what_was_found(whole[1])


# ----------------------------------------------------------------------------------------------- nothing kept


def test_a_round_that_keeps_nothing_ends_the_run_and_says_so(folder, run):
    record = train_semi_supervised(config("threshold=1"), run_dir=run)
    assert (record.status, len(record.rounds)) == ("nothing_kept", 1)
    assert record.message is not None
    assert record.message.startswith("round 1: none of ")
    assert "pairs reached a confidence of 1 (the largest 0." in record.message
    assert "the model of round 0 is the last one. Lower threshold" in record.message
    assert not (run / "round_1").exists()
    assert train_semi_supervised(config("threshold=1"), run_dir=run, resume=True) == record


# ------------------------------------------------------------------------------------------- what is refused


def test_an_objective_that_learns_from_other_labels_is_refused(folder, run):
    with pytest.raises(ConfigError, match="plackett_luce, which learns from ranks; pseudo-labels are preferences"):
        train_semi_supervised(config("train.objective.type=plackett_luce"), run_dir=run)
    assert not run.exists()


def test_several_processes_are_refused(folder, run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="runs in one process, found 2"):
        train_semi_supervised(config(), run_dir=run)


def test_a_folder_is_of_one_run(folder, run, whole):
    with pytest.raises(ConfigError, match="holds a run already; add --resume"):
        train_semi_supervised(config(), run_dir=whole[0])
    with pytest.raises(ConfigError, match="the config differs from"):
        train_semi_supervised(config("threshold=0.6"), run_dir=whole[0], resume=True)
    with pytest.raises(ConfigError, match="holds no run to resume"):
        train_semi_supervised(config(), run_dir=run, resume=True)


@pytest.mark.parametrize("name", ["labelled", "held_out", "unlabelled"])
def test_a_run_is_not_resumed_on_other_data(folder, run, whole, name):
    shutil.copytree(whole[0], run)
    kept = (folder / f"{name}.jsonl").read_bytes()
    try:
        (folder / f"{name}.jsonl").write_bytes(b"".join(kept.splitlines(keepends=True)[:-1]))
        with pytest.raises(ConfigError, match=f"the {name} groups have changed"):
            train_semi_supervised(config(), run_dir=run, resume=True)
    finally:
        (folder / f"{name}.jsonl").write_bytes(kept)


def test_data_of_which_nothing_is_left_to_label_are_an_error(folder, run):
    with pytest.raises(DataError, match="the prompts of all 6 unlabelled groups are held out"):
        train_semi_supervised(config("unlabelled.0.path=held_out.jsonl"), run_dir=run)
    # nothing was claimed: the corrected config may have the folder
    assert not (run / "config.yaml").exists()


def test_a_damaged_round_is_an_error_that_says_what_to_remove(folder, run, whole):
    shutil.copytree(whole[0], run)
    record = json.loads((run / "ssrm.json").read_text())
    (run / "ssrm.json").write_text(json.dumps(record | {"rounds": record["rounds"][:1], "status": "running"}))
    (run / "round_0" / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"holds no whole model; remove .*round_0"):
        train_semi_supervised(config(), run_dir=run, resume=True)
    (run / "ssrm.json").write_text("{")
    with pytest.raises(ConfigError, match=r"ssrm\.json cannot be read"):
        train_semi_supervised(config(), run_dir=run, resume=True)


def test_rounds_of_a_head_of_ones_own_go_on(run, monkeypatch):
    import sys
    from dataclasses import dataclass
    from types import ModuleType

    from plaudit.models.heads.head import HeadSpec, without_attributes
    from plaudit.models.heads.kinds import CustomHead
    from plaudit.objectives.objective import Rewards

    @dataclass(frozen=True, kw_only=True)
    class Plain(CustomHead):
        scale = "log_odds_differences"

        def spec(self):
            return HeadSpec()

        def read(self, outputs, batch, model):
            return Rewards(response=outputs[:, 0])

        def decode(self, rewards, labels):
            return without_attributes(rewards.response)

    module = ModuleType("plain_heads")
    Plain.__module__, Plain.__qualname__ = "plain_heads", "Plain"
    module.Plain = Plain
    monkeypatch.setitem(sys.modules, "plain_heads", module)
    head = "train.model.head={type: custom, path: plain_heads:Plain}"
    record = train_semi_supervised(config(head, "rounds=1"), run_dir=run)
    assert len(record.rounds) == 2
