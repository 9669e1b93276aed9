"""An optimiser step does not depend on memory, layout, checkpointing or the number of processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from plaudit.data.reading.write import write_groups

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
MEANS = ("rm/accuracy", "rm/chosen_rewards", "rm/rejected_rewards", "rm/reward_margin", "rm/ties")


@pytest.fixture(scope="module")
def four_steps(make_decoder, make_groups, make_trainer):
    """Return a function that trains four steps and gives the logs and the weights after them."""

    def run(**options):
        model = make_decoder()
        trainer = make_trainer(model, make_groups(14), **options)
        trainer.train()
        assert len(trainer.logged) == 4
        weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
        return trainer.logged, weights

    return run


def assert_same_run(found, wanted, *, tolerance=1e-6):
    for row, expected in zip(found[0], wanted[0], strict=True):
        for name in ("rm/loss", "grad_norm"):
            assert row[name] == pytest.approx(expected[name], rel=tolerance)
        for name in MEANS:
            assert row[name] == pytest.approx(expected[name], abs=5 * tolerance)
    assert float((found[1] - wanted[1]).norm() / wanted[1].norm()) <= tolerance


# AdamW divides the first gradients by their own size, so where a gradient is nearly 0 its rounding decides the sign of
# an update; a larger epsilon keeps the comparison about the sums.
OPTIM = {"epsilon": 1e-4}
VARIANTS = [
    ("padded", 10**6),
    ("padded", 150),
    ("packed", 10**6),
    ("packed", 120),
    ("shared_prefix", 10**6),
    ("shared_prefix", 90),
    ("shared_prefix", 1),
]


@pytest.fixture(scope="module")
def reference(four_steps):
    return four_steps(layout="padded", max_tokens=10**6, optim=OPTIM)


@pytest.mark.parametrize(("layout", "max_tokens"), VARIANTS[1:])
def test_four_steps_are_the_same_in_any_layout_and_memory(four_steps, reference, layout, max_tokens):
    assert_same_run(four_steps(layout=layout, max_tokens=max_tokens, optim=OPTIM), reference)


def test_small_budgets_do_split_the_step(four_steps, monkeypatch):
    from plaudit.training import trainer as module

    splits = []
    original = module.RewardTrainer.training_step

    def counted(self, model, inputs, *rest):
        splits.append(len(inputs.batches))
        return original(self, model, inputs, *rest)

    monkeypatch.setattr(module.RewardTrainer, "training_step", counted)
    four_steps(layout="shared_prefix", max_tokens=10**6)
    assert splits == [1] * 4
    splits.clear()
    four_steps(layout="shared_prefix", max_tokens=1)
    # 14 groups in steps of 4: the fourth step is short and still taken
    assert splits == [4, 4, 4, 2]


def test_group_weights_and_every_option_of_the_loss_do_not_depend_on_the_layout(four_steps):
    objective = {"weight": "group", "centering": 0.01, "label_smoothing": 0.1, "use_margin": True}
    wanted = four_steps(layout="padded", max_tokens=10**6, optim=OPTIM, objective=objective)
    assert_same_run(four_steps(layout="shared_prefix", max_tokens=60, optim=OPTIM, objective=objective), wanted)


@pytest.mark.parametrize("layout", ["padded", "shared_prefix"])
def test_gradient_checkpointing_changes_nothing(four_steps, reference, layout):
    assert_same_run(four_steps(layout=layout, max_tokens=120, gradient_checkpointing=True, optim=OPTIM), reference)


def test_clipping_is_applied_once_to_the_whole_step(four_steps):
    small = {**OPTIM, "max_grad_norm": 0.01}
    wanted = four_steps(layout="padded", max_tokens=10**6, optim=small)
    assert wanted[0][0]["grad_norm"] > 0.1
    assert_same_run(four_steps(layout="shared_prefix", max_tokens=60, optim=small), wanted)


@pytest.mark.parametrize("layout", ["padded", "shared_prefix"])
def test_bfloat16_autocast_runs_and_is_close(four_steps, reference, layout):
    found = four_steps(layout=layout, max_tokens=120, precision="bfloat16", optim=OPTIM)
    for row, expected in zip(found[0], reference[0], strict=True):
        assert row["rm/loss"] == pytest.approx(expected["rm/loss"], rel=0.02)
    assert found[1].dtype == torch.float32
    assert float((found[1] - reference[1]).norm() / reference[1].norm()) < 5e-3


def test_the_loss_is_the_mean_over_the_pairs_of_the_step(make_decoder, make_groups, make_trainer):
    from plaudit.batching.batch import build_batch
    from plaudit.batching.planner import epoch_order
    from plaudit.objectives.pairwise import bradley_terry_loss

    model, groups = make_decoder(), make_groups(9)
    trainer = make_trainer(model, groups, max_steps=1, groups_per_step=5)
    rows = epoch_order(9, seed=0, epoch=0)[:5]
    batch = build_batch([trainer.train_tokens[int(row)] for row in rows], layout="padded", pad_id=0)
    with torch.no_grad():
        rewards = model(batch).response
    wanted = bradley_terry_loss(rewards[batch.pairs.chosen], rewards[batch.pairs.rejected]).mean()
    trainer.train()
    assert trainer.logged[0]["rm/loss"] == pytest.approx(float(wanted), rel=1e-6)


def test_evaluation_is_the_mean_over_all_pairs_whatever_the_budget(make_decoder, make_groups, make_trainer):
    model, groups = make_decoder(), make_groups(11)
    found = [
        make_trainer(model, groups, layout=layout, max_tokens=limit).evaluate()
        for layout, limit in (("padded", 10**6), ("padded", 60), ("shared_prefix", 50))
    ]
    assert found[0]["eval_rm/loss"] > 0
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-6, abs=1e-6)


# --------------------------------------------------------------------------------------- processes

CONFIG = """
name: ranks
model:
  init: {{type: scratch, hidden_size: 16, num_layers: 1, num_heads: 2, vocabulary: 400}}
  layout: {layout}
  head: {head}
objective: {objective}
data: {{train: [{{path: pairs.jsonl}}], held_out: [{{path: pairs.jsonl}}]}}
optim: {{lr: 1e-3, epsilon: 1.0e-4}}
step: {{groups_per_step: {groups}, max_steps: 6, max_tokens: 100, log_every: 1, trackers: [], threads: 1}}
"""


def train_with(folder, name, *launcher):
    run = folder / name
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "plaudit", "train", "config.yaml", "--run-dir", str(run)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    timed = ("tokens_per_second", "groups_per_second", "seconds")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith(timed)} for row in rows], run


OBJECTIVES = {
    "bradley_terry": ("{type: bradley_terry}", "null"),
    "odin": ("{type: odin}", "null"),
    "process": ("{type: process}", "null"),
    "turns": ("{type: process, over: vocabulary}", "{type: language_model, form: turns}"),
    "joint": ("{type: token_outcome, language_model: 0.5}", '{type: language_model, words: ["+"]}'),
    "grm": ("{type: bradley_terry, sft: 0.2}", "null"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "groups", "layout", "name"),
    [
        (7, 3, "padded", "bradley_terry"),
        (9, 8, "shared_prefix", "bradley_terry"),
        *((9, 4, "shared_prefix", name) for name in OBJECTIVES if name != "bradley_terry"),
    ],
)
def test_two_processes_train_as_one_does(tmp_path, make_labelled_groups, count, groups, layout, name):
    # 7 groups in steps of 3, 9 in steps of 8 or 4: the last step of an epoch holds one group for two processes
    write_groups(tmp_path / "pairs.jsonl", make_labelled_groups(count))
    objective, head = OBJECTIVES[name]
    text = CONFIG.format(layout=layout, groups=groups, objective=objective, head=head)
    (tmp_path / "config.yaml").write_text(text)
    one, first = train_with(tmp_path, "one")
    two, second = train_with(tmp_path, "two", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    assert [row["step"] for row in one] == [row["step"] for row in two] == [1, 2, 3, 4, 5, 6, 6]
    # the gradient of a correlation is divided by the spread of rewards that are nearly equal at first, rounding with it
    tolerance = 1e-5 if name == "odin" else 2e-6
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=tolerance, abs=1e-6)
    from safetensors.torch import load_file

    weights = [load_file(run / "model" / "model.safetensors") for run in (first, second)]
    for name, wanted in weights[0].items():
        torch.testing.assert_close(weights[1][name], wanted, rtol=1e-5, atol=1e-6)
    record = json.loads((second / "run.json").read_text())
    assert (record["processes"], record["status"]) == (2, "finished")


def test_with_dropout_both_passes_of_a_step_see_the_same_rewards(make_decoder, make_groups, make_trainer):
    # the correlation of the step is that of the rewards whose gradients are taken, under the same masks of dropout
    from plaudit.models.create import add_lora
    from plaudit.models.heads.odin import OdinHead

    model = add_lora(make_decoder(head=OdinHead()), rank=2, alpha=64, dropout=0.5, targets="all-linear")
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn(weight.shape, generator=generator)
    trainer = make_trainer(model, make_groups(6), objective={"type": "odin"}, max_steps=1, groups_per_step=6)
    seen = {True: [], False: []}
    forward = model.forward

    def watched(batch):
        found = forward(batch)
        if model.training:
            seen[torch.is_grad_enabled()].append(found.attributes.detach().clone())
        return found

    model.forward = watched
    trainer.train()
    assert seen[True]
    torch.testing.assert_close(torch.cat(seen[False]), torch.cat(seen[True]), rtol=0, atol=1e-6)
