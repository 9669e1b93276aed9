"""``score_file`` writes every group in order, and a killed and resumed run writes the same bytes."""

from __future__ import annotations

import json
import sys

import pytest

from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.errors import ConfigError, DataError, ModelError, OutputError
from plaudit.journal import locked
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.opening import load, open_scorer
from plaudit.scoring import files
from plaudit.scoring.files import read_rewards
from plaudit.scoring.local import engine
from plaudit.scoring.local.engine import RewardScorer
from plaudit.scoring.scorer import GroupRewards, ScorerInfo, info_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
GROUPS = 23


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(engine, "WINDOW", 5)


def score_file(model, source, output, *, shard=(0, 1), **options):
    """Score the groups in a file with the model of a name."""
    return files.score_file(open_scorer(model, **options), read_groups(source), output, model=model, shard=shard)


@pytest.fixture
def model(make_decoder, tmp_path):
    save_reward_model(make_decoder(), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def source(make_groups, tmp_path):
    path = tmp_path / "groups.jsonl"
    write_groups(path, make_groups(GROUPS, words=(2, 130)))
    return str(path)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_group_is_a_line_in_the_order_of_the_input(model, source, tmp_path):
    report = score_file(model, source, tmp_path / "out.jsonl")
    rows = lines(tmp_path / "out.jsonl")
    assert [row["id"] for row in rows] == [f"g{k}" for k in range(GROUPS)]
    assert report.groups == GROUPS == report.scored + sum(report.left_out.values())
    # some conversations are longer than the model's 128 positions: they say so, and what is too long is null
    left = [row for row in rows if "reason" in row]
    assert report.left_out.total() == len(left) > 0
    assert all(None in row["rewards"] for row in left)
    assert list(tmp_path.glob("*.partial*")) == []


class Killed(Exception):
    """Stands for the end of the process."""


def kill_after(monkeypatch, windows):
    """Let a scorer die after so many windows."""
    original = RewardScorer.score_window
    seen = []

    def dying(self, groups):
        if len(seen) == windows:
            raise Killed
        seen.append(1)
        return original(self, groups)

    monkeypatch.setattr(RewardScorer, "score_window", dying)
    return lambda: monkeypatch.setattr(RewardScorer, "score_window", original)


@pytest.mark.parametrize(("windows", "torn"), [(0, 0), (2, 0), (2, 1), (3, 40), (4, 7), (2, "line")])
def test_a_killed_and_resumed_run_writes_the_same_bytes(model, source, tmp_path, monkeypatch, windows, torn):
    score_file(model, source, tmp_path / "whole.jsonl")
    revive = kill_after(monkeypatch, windows)
    out = tmp_path / "out.jsonl"
    with pytest.raises(Killed):
        score_file(model, source, out)
    assert not out.exists()
    partial = tmp_path / "out.jsonl.partial"
    assert partial.exists() == (windows > 0)
    assert not windows or len(lines(partial)) == 1 + 5 * windows
    assert not windows or len(list(read_rewards(partial))) == 5 * windows
    if torn == "line":
        partial.write_bytes(b"".join(partial.read_bytes().splitlines(keepends=True)[:-1]))
    elif torn:
        # the last write reached the disk in part only
        partial.write_bytes(partial.read_bytes()[:-torn])
    revive()
    report = score_file(model, source, out)
    assert report.resumed == 5 * (windows - bool(torn))
    assert report.groups == GROUPS
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_side_by_side_are_the_bytes_of_the_whole(model, source, tmp_path, count):
    score_file(model, source, tmp_path / "whole.jsonl")
    parts = [tmp_path / f"part{number}.jsonl" for number in range(count)]
    for number, part in enumerate(parts):
        score_file(model, source, part, shard=(number, count))
    assert b"".join(part.read_bytes() for part in parts) == (tmp_path / "whole.jsonl").read_bytes()
    assert not count < 5 or all(part.stat().st_size for part in parts)


def test_a_shard_that_does_not_exist_is_refused(model, source, tmp_path):
    for shard in ((3, 3), (-1, 2), (0, 0)):
        with pytest.raises(ConfigError, match="does not exist; shards are numbered from 0"):
            score_file(model, source, tmp_path / "out.jsonl", shard=shard)


def interrupted(model, source, out, monkeypatch, **options):
    revive = kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        score_file(model, source, out, **options)
    revive()


def test_the_partial_file_of_another_model_input_or_shard_is_refused(
    model, source, tmp_path, monkeypatch, make_decoder, make_groups
):
    out = tmp_path / "out.jsonl"
    interrupted(model, source, out, monkeypatch)
    save_reward_model(make_decoder(), tmp_path / "other")
    write_groups(tmp_path / "others.jsonl", make_groups(GROUPS, seed=9))
    wrong = [
        ((str(tmp_path / "other"), source), {}, "model .*model there and .*other here"),
        ((model, str(tmp_path / "others.jsonl")), {}, "data .* there and .* here"),
        ((model, source), {"max_tokens": 100}, "max_tokens 16384 there and 100 here"),
    ]
    for arguments, options, words in wrong:
        with pytest.raises(ConfigError, match=f"was begun by another run: {words}; remove it to start again"):
            score_file(*arguments, out, **options)
    interrupted(model, source, out, monkeypatch, shard=(0, 2))
    (tmp_path / "out.jsonl.0-of-2.partial").rename(tmp_path / "out.jsonl.1-of-2.partial")
    with pytest.raises(ConfigError, match="shard 0/2 there and 1/2 here"):
        score_file(model, source, out, shard=(1, 2))
    assert score_file(model, source, out).resumed == 5


def test_a_model_trained_again_in_the_same_folder_does_not_go_on_with_the_old_rewards(
    model, source, tmp_path, monkeypatch, make_decoder
):
    out = tmp_path / "out.jsonl"
    interrupted(model, source, out, monkeypatch)
    save_reward_model(make_decoder(seed=1), tmp_path / "model")
    with pytest.raises(ConfigError, match=r"weights_hash \w+ there and \w+ here"):
        score_file(model, source, out)


def test_unfinished_rewards_of_an_older_version_are_refused_and_kept(model, source, tmp_path):
    partial = tmp_path / "out.jsonl.partial"
    partial.write_text('{"id": "g0", "rewards": [1.0]}\n')
    with pytest.raises(DataError, match=r"out\.jsonl\.partial:1: not the start of unfinished work of this version"):
        score_file(model, source, tmp_path / "out.jsonl")
    assert partial.read_text() == '{"id": "g0", "rewards": [1.0]}\n'


def test_a_run_killed_before_its_last_rename_only_renames(model, source, tmp_path, monkeypatch):
    score_file(model, source, tmp_path / "whole.jsonl")
    original = files.merge

    def killed(*arguments):
        raise Killed

    monkeypatch.setattr(files, "merge", killed)
    out = tmp_path / "out.jsonl"
    with pytest.raises(Killed):
        score_file(model, source, out)
    monkeypatch.setattr(files, "merge", original)
    assert score_file(model, source, out).resumed == GROUPS
    assert out.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_python_function_scores_a_file(source, tmp_path, monkeypatch):
    (tmp_path / "lengths.py").write_text("def reward(prompt, responses):\n    return [len(r) for r in responses]\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    score_file("lengths:reward", source, tmp_path / "out.jsonl")
    sources = lines(tmp_path / "groups.jsonl")
    for row, group in zip(lines(tmp_path / "out.jsonl"), sources, strict=True):
        assert row["rewards"] == [len(response) for response in group["responses"]]


# ------------------------------------------------------------------------------- attributes and steps


@pytest.fixture
def richer(make_decoder, tmp_path):
    """Return a function that saves a model with a head, and gives its folder and scorer."""
    from plaudit.models.heads.kinds import head_class

    def make(kind, **fields):
        save_reward_model(make_decoder(head=head_class(kind)(**fields)), tmp_path / "richer")
        return str(tmp_path / "richer"), load(tmp_path / "richer", max_tokens=2000)

    return make


def assert_read_back(out, scorer, source):
    wanted = [each for window in windows(read_groups(source)) for each in scorer.score_groups(window)]
    assert list(read_rewards(out)) == wanted
    return wanted


def windows(groups):
    groups = list(groups)
    return [groups[first : first + 5] for first in range(0, len(groups), 5)]


def test_attributes_are_written_and_read_back(richer, source, tmp_path):
    model, scorer = richer("attributes", attributes=("help", "safe"))
    score_file(model, source, tmp_path / "out.jsonl", max_tokens=2000)
    wanted = assert_read_back(tmp_path / "out.jsonl", scorer, source)
    assert set(wanted[0].attributes) == {"help", "safe"}
    assert wanted[0].rewards[0] == pytest.approx(sum(each[0] for each in wanted[0].attributes.values()) / 2)
    assert any(None in each.attributes["help"] for each in wanted)


def test_rewards_of_steps_are_written_and_read_back_with_the_aggregation_asked_for(richer, source, tmp_path):
    model, _ = richer("token", classes=(0.0, 1.0), step_separator=" ")
    for how in ("min", "mean"):
        score_file(model, source, tmp_path / f"{how}.jsonl", aggregation=how, max_tokens=2000)
        assert_read_back(tmp_path / f"{how}.jsonl", load(model, max_tokens=2000, aggregation=how), source)
    lowest, mean = (list(read_rewards(tmp_path / f"{how}.jsonl")) for how in ("min", "mean"))
    assert [each.steps for each in lowest] == [each.steps for each in mean]
    assert any(steps is None for each in lowest for steps in each.steps)
    assert lowest[0].rewards == pytest.approx([min(steps) for steps in lowest[0].steps])
    assert mean[0].rewards != lowest[0].rewards


def test_another_aggregation_does_not_go_on_with_a_partial_file(richer, source, tmp_path, monkeypatch):
    model, _ = richer("token", classes=(0.0, 1.0))
    out = tmp_path / "out.jsonl"
    interrupted(model, source, out, monkeypatch, aggregation="min")
    with pytest.raises(ConfigError, match="aggregation min there and mean here"):
        score_file(model, source, out, aggregation="mean")
    assert score_file(model, source, out, aggregation="min").resumed == 5


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not a line of rewards: it is no JSON"),
        ("[1]", "not a line of rewards: it is of type list"),
        ('{"id": "a"}', "rewards is missing"),
        ('{"id": "a", "rewards": ["1"]}', r"rewards\[0\] is '1'; it must be a number or null"),
        ('{"id": "a", "rewards": [1.0], "steps": [null, [0.5]]}', "steps has 2 entries for 1 rewards"),
        ('{"id": "a", "rewards": [1.0], "reward": 1}', "reward is not a field of a row of rewards"),
    ],
)
def test_a_line_that_is_not_of_rewards_is_named(tmp_path, line, words):
    (tmp_path / "out.jsonl").write_text('{"id": "a", "rewards": [1.0, null], "reason": "long"}\n' + line + "\n")
    found = read_rewards(tmp_path / "out.jsonl")
    assert next(found).rewards == (1.0, None)
    with pytest.raises(DataError, match=rf"out\.jsonl:2: .*{words}"):
        next(found)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        next(read_rewards(tmp_path / "nothing.jsonl"))


def test_two_shards_at_a_time_do_not_replace_each_others_output(model, source, tmp_path):
    out = tmp_path / "out.jsonl"
    with locked(out), pytest.raises(OutputError, match="is writing it"):
        score_file(model, source, out, shard=(1, 2))
    assert not out.exists()


@pytest.mark.parametrize("order", [[1, 0, *range(2, GROUPS)], range(GROUPS - 1)])
def test_a_scorer_that_loses_its_place_is_named_before_a_line_is_written(source, tmp_path, order):
    class Lost:
        def score_groups(self, groups):
            every = list(groups)
            for k in order:
                yield GroupRewards(every[k].id, (0.0,) * len(every[k].responses))

    with pytest.raises(ModelError, match="the scorer gave"):
        files.score_file(Lost(), read_groups(source), tmp_path / "out.jsonl", model="lost")
    assert not (tmp_path / "out.jsonl").exists()


def test_what_a_scorer_of_the_first_version_says_is_still_asked():
    class Old:
        recipe_hash, head_hash, compares = "recipe", "weights", True

    class Broken:
        @property
        def info(self):
            return self.no_such_thing

    class Other:
        info = "text"

    assert info_of(Old()) == ScorerInfo("recipe", "weights", relative=True)
    with pytest.raises(AttributeError, match="no_such_thing"):
        info_of(Broken())
    with pytest.raises(ModelError, match="info of Other is str; it must be a ScorerInfo"):
        info_of(Other())
