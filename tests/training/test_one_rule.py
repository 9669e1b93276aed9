"""Training, scoring and evaluation cut, leave out and count by one rule: the numbers at the end of a run come back."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from plaudit.config import load_config
from plaudit.data.reading.read import read_groups
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.evaluation.run import evaluate
from plaudit.opening import load
from plaudit.training.config import TrainConfig
from plaudit.training.run import train

pytestmark = pytest.mark.filterwarnings("ignore")

CONFIG = """
name: cut
model:
  init: {type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}
  max_length: 40
  truncation: TRUNCATION
data: {train: [{path: pairs.jsonl}], held_out: [{path: held_out.jsonl}]}
optim: {lr: 3e-2}
step: {groups_per_step: 8, max_steps: 4, threads: 1, trackers: []}
"""


def uneven(count, seed):
    """Pairs whose longer side is too long by itself or with its prompt; every seventh has an empty response."""
    made = []
    for number in range(count):
        prompt = "red cat sees the " * ((number * 5 + seed) % 13 + 1) + str(number)
        long = "blue dog " * ((number * 7) % 24 + 1)
        short = "" if number % 7 == 3 else "yes please"
        order = Preference(0, 1) if number % 2 else Preference(1, 0)
        made.append(Group(conversation(prompt), (long, short), (order,), id=f"g{number}"))
    return made


@pytest.mark.parametrize("truncation", ["truncate_prompt", "drop"])
def test_the_accuracy_at_the_end_of_training_is_that_of_an_evaluation(tmp_path, truncation):
    write_groups(tmp_path / "pairs.jsonl", uneven(40, 0))
    write_groups(tmp_path / "held_out.jsonl", uneven(60, 1))
    (tmp_path / "config.yaml").write_text(CONFIG.replace("TRUNCATION", truncation))
    with contextlib.chdir(tmp_path):
        run = train(load_config(TrainConfig, Path("config.yaml")), run_dir=tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    counts = record["data"]["held_out"]["encoded"]
    scorer, groups = load(run), read_groups(run / "data" / "held_out.jsonl")
    rewards = [each.rewards for each in scorer.score_groups(groups)]
    both = [each for each in rewards if None not in each]
    # what is judged here is uneven: some cut, some left out
    assert 0 < len(both) < 60
    assert (
        counts["changed"].get("conversations whose prompt was truncated from the left", 0) > 0 or truncation == "drop"
    )
    assert sum(counts["dropped"].values()) == sum(each.count(None) for each in rewards)
    assert counts["changed"]["preferences with a response that was left out"] == 60 - len(both)
    result = evaluate(scorer, groups, name="held out", model="run", output_dir=tmp_path / "result")
    accuracy = result.preference.metrics["accuracy"]
    assert accuracy.n == len(both)
    assert accuracy.value == pytest.approx(record["figures"]["eval/rm/accuracy"], abs=1e-9)
