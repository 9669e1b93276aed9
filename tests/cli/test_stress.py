"""``plaudit stress`` from the command line: a planted shortcut is named, files are written, bad input is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from plaudit.cli.main import app
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.stress.robustness import StressReport, stress_report
from plaudit.models.checkpoint.files import save_reward_model
from plaudit.records import read_items

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    """A file of twelve pairs, in the working directory, beside a module whose function likes line breaks."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shortcut.py").write_text(
        "def breaks(prompt, responses):\n    return [len(r.split()[0]) + 0.3 * r.count(chr(10)) for r in responses]\n"
    )
    sys.modules.pop("shortcut", None)
    texts = [(f"Better {i}. It is so.", f"Bad {i}. It is so.") for i in range(12)]
    groups = [Group(conversation(f"q {i}?"), pair, (Preference(0, 1),), id=str(i)) for i, pair in enumerate(texts)]
    write_groups(tmp_path / "pairs.jsonl", groups)
    yield tmp_path
    sys.modules.pop("shortcut", None)


def test_a_function_that_likes_line_breaks_is_found_out(pairs):
    ran = CliRunner().invoke(app, ["stress", "shortcut:breaks", "pairs.jsonl", "-o", "out"])
    assert ran.exit_code == 0, ran.output
    assert "line break" in ran.output
    report = StressReport.model_validate_json((pairs / "out" / "stress.json").read_text())
    found = {each.name: each for each in report.styles}
    assert found["line break"].difference is not None
    assert found["line break"].difference.value == pytest.approx(0.3)
    assert (found["line break"].verdict, found["polite"].verdict) == ("found", "not found")
    assert (report.groups, report.name, report.model) == (12, "pairs.jsonl", "shortcut:breaks")
    again = stress_report(read_items(pairs / "out" / "stress_items.jsonl"), name="pairs.jsonl", model="shortcut:breaks")
    assert (again.transforms, again.styles) == (report.transforms, report.styles)


def test_a_model_is_probed_on_the_first_groups_of_a_file(pairs, make_decoder):
    save_reward_model(make_decoder(num_layers=1), pairs / "model")
    ran = CliRunner().invoke(app, ["stress", "model", "pairs.jsonl", "-o", "out", "--limit", "3"])
    assert ran.exit_code == 0, ran.output
    report = StressReport.model_validate_json((pairs / "out" / "stress.json").read_text())
    assert (report.groups, sum(each.failed for each in report.transforms)) == (3, 0)
    assert report.recipe_hash is not None
    assert sum(each.changed for each in report.styles) > 20


def test_data_without_preferences_is_refused_in_one_line_and_styles_can_be_probed_alone(pairs):
    rated = [Group(conversation(f"q {i}?"), ("Yes.", "No."), ratings={"help": (1.0, 2.0)}) for i in range(3)]
    write_groups(pairs / "rated.jsonl", rated)
    ran = CliRunner().invoke(app, ["stress", "shortcut:breaks", "rated.jsonl", "-o", "out"])
    assert ran.exit_code == 2
    assert "rated.jsonl: no group has a preference" in ran.stderr
    assert "ratings (3 groups)" in ran.stderr
    assert not (pairs / "out").exists()
    ran = CliRunner().invoke(app, ["stress", "shortcut:breaks", "rated.jsonl", "-o", "out", "--no-transforms"])
    assert ran.exit_code == 0, ran.output


MORTAL = """
import os, pathlib, signal
class Killed(BaseException):
    pass
def lengths(prompt, responses):
    left = pathlib.Path("lives")
    if left.exists():
        lives = int(left.read_text()) - 1
        left.write_text(str(lives))
        if lives < 0:
            left.unlink()
            if os.environ["DIES"] == "process":
                os.kill(os.getpid(), signal.SIGKILL)
            raise Killed
    with open("asked", "a") as asked:
        print(len(responses), file=asked)
    return [len(r) + 0.3 * r.count(chr(10)) for r in responses]
"""


@pytest.mark.parametrize("dies", ["here", pytest.param("process", marks=pytest.mark.slow)])
def test_a_killed_probe_goes_on_by_the_same_command_with_the_same_result(pairs, monkeypatch, dies):
    (pairs / "mortal.py").write_text(MORTAL)
    monkeypatch.setenv("DIES", dies)
    monkeypatch.delitem(sys.modules, "mortal", raising=False)
    command = [sys.executable, "-m", "plaudit", "stress", "mortal:lengths", "pairs.jsonl", "-o"]

    def start(folder):
        """Return the exit code, the output and the number of requests of a run into ``folder``."""
        (pairs / "asked").unlink(missing_ok=True)
        if dies == "process":
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(pairs / "cache")}
            ended = subprocess.run(
                [*command, folder], cwd=pairs, env=environment, text=True, capture_output=True, timeout=120
            )
            code, output = ended.returncode, ended.stdout + ended.stderr
        else:
            try:
                ran = CliRunner().invoke(app, [*command[3:], folder])
                code, output = ran.exit_code, ran.output
            except BaseException as error:
                if type(error).__name__ != "Killed":
                    raise
                code, output = -signal.SIGKILL, ""
        return code, output, len((pairs / "asked").read_text().splitlines())

    code, output, whole = start("whole")
    assert code == 0, output
    (pairs / "lives").write_text("100")
    code, _, first = start("killed")
    assert (code, first) == (-signal.SIGKILL, 100)
    assert not (pairs / "killed" / "stress.json").exists()
    kept = len((pairs / "killed" / "stress_items.partial.jsonl").read_text().splitlines()) - 1
    assert kept > 50
    code, output, second = start("killed")
    assert code == 0, output
    assert "read it with: plaudit report killed" in output
    assert first + second <= whole + 64  # no more is asked again than the scorer had read ahead
    assert second < whole
    one, other = (
        StressReport.model_validate_json((pairs / folder / "stress.json").read_text()) for folder in ("killed", "whole")
    )
    assert one.model_copy(update={"created": ""}) == other.model_copy(update={"created": ""})
    for name in ("stress_items.jsonl", "flipped_pairs.json"):
        assert (pairs / "killed" / name).read_bytes() == (pairs / "whole" / name).read_bytes()


def test_a_missing_reward_is_told_with_its_reason_and_the_spread_is_named(pairs):
    (pairs / "headless.py").write_text(
        "def lengths(prompt, responses):\n"
        "    return [float('nan') if r.startswith('# ') else float(len(r)) for r in responses]\n"
    )
    ran = CliRunner().invoke(app, ["stress", "headless:lengths", "pairs.jsonl", "-o", "out", "--no-transforms"])
    assert ran.exit_code == 0, ran.output
    assert "items without a reward: " in ran.output
    assert "how far the model sets responses to one prompt apart" in ran.output


def test_the_old_name_of_the_verb_does_the_same_and_names_the_new_one(pairs):
    command = ["shortcut:breaks", "pairs.jsonl", "--no-transforms"]
    old = CliRunner().invoke(app, ["probe", *command, "-o", "old"])
    assert old.exit_code == 0, old.output
    assert "plaudit probe is now plaudit stress; the old spelling is dropped in 0.3" in " ".join(old.stderr.split())
    new = CliRunner().invoke(app, ["stress", *command, "-o", "new"])
    assert "is now" not in new.stderr
    items = [(pairs / folder / "stress_items.jsonl").read_bytes() for folder in ("old", "new")]
    assert items[0] == items[1]
    assert "probe" not in CliRunner().invoke(app, ["--help"]).stdout
