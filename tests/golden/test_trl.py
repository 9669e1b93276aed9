"""The loss curve of Bradley–Terry training equals that of TRL's RewardTrainer."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

from plaudit.batching.planner import epoch_order
from plaudit.data.schema.group import Group, Preference

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="trl is not installed"),
    pytest.mark.filterwarnings("ignore"),
]
STEPS, PAIRS_PER_STEP, PAIRS = 20, 4, 80


@pytest.fixture
def pairs(make_groups):
    """80 pairs with a margin each."""
    rng = np.random.default_rng(0)
    groups = make_groups(PAIRS, seed=4, responses=(2, 2))
    return [
        dataclasses.replace(group, preferences=(Preference(0, 1, margin=float(margin)),))
        for group, margin in zip(groups, rng.uniform(0, 2, PAIRS).round(2), strict=True)
    ]


def trl_run(model, pairs, folder, *, margin, centering):
    """Return TRL's losses, gradient norms and token ids over the same pairs in the same order."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import RewardConfig, RewardTrainer

    def conversation(group: Group, response: int):
        turns = [{"role": m.role, "content": m.content} for m in group.prompt]
        return [*turns, {"role": "assistant", "content": group.responses[response]}]

    order = epoch_order(PAIRS, seed=0, epoch=0)
    rows = [
        {"chosen": conversation(pairs[i], 0), "rejected": conversation(pairs[i], 1)}
        | ({"margin": pairs[i].preferences[0].margin} if margin else {})
        for i in order
    ]
    losses, norms = [], []

    class Watched(RewardTrainer):
        def compute_loss(self, *arguments, **options):
            result = super().compute_loss(*arguments, **options)
            losses.append(float((result[0] if isinstance(result, tuple) else result).detach()))
            return result

    class Norms(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if "grad_norm" in (logs or {}):
                norms.append(float(logs["grad_norm"]))

    trainer = Watched(
        model=copy.deepcopy(model.network),
        args=RewardConfig(
            output_dir=str(folder),
            per_device_train_batch_size=PAIRS_PER_STEP,
            max_steps=STEPS,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            logging_steps=1,
            train_sampling_strategy="sequential",
            center_rewards_coefficient=centering or None,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        ),
        processing_class=copy.deepcopy(model.tokenizer),
        train_dataset=Dataset.from_list(rows),
        callbacks=[Norms()],
    )
    ids = [(row["chosen_ids"], row["rejected_ids"]) for row in trainer.train_dataset]
    trainer.train()
    return losses, norms, ids, order


@pytest.mark.parametrize(
    ("margin", "centering"), [(False, 0.0), (True, 0.0), (False, 0.05)], ids=["plain", "margin", "centering"]
)
def test_twenty_steps_cost_what_they_cost_in_trl(make_decoder, make_trainer, pairs, tmp_path, margin, centering):
    model = make_decoder()
    start = copy.deepcopy(model.network.state_dict())
    wanted, norms, ids, order = trl_run(model, pairs, tmp_path / "trl", margin=margin, centering=centering)
    assert len(wanted) == len(norms) == STEPS
    assert max(wanted) - min(wanted) > 0.1
    for layout in ("padded", "shared_prefix"):
        model = make_decoder()
        model.network.load_state_dict(start)
        trainer = make_trainer(
            model,
            pairs,
            layout=layout,
            max_tokens=10**6 if layout == "padded" else 100,
            groups_per_step=PAIRS_PER_STEP,
            max_steps=STEPS,
            objective={"use_margin": margin, "centering": centering},
        )
        for (chosen, rejected), row in zip(ids, order, strict=True):
            tree = trainer.train_tokens[int(row)].tree
            assert tree.sequence(0).tolist() == list(chosen)
            assert tree.sequence(1).tolist() == list(rejected)
        trainer.train()
        assert [row["rm/loss"] for row in trainer.logged] == pytest.approx(wanted, abs=1e-5)
        assert [row["grad_norm"] for row in trainer.logged] == pytest.approx(norms, rel=1e-3)


def test_another_seed_is_another_curve(make_decoder, make_trainer, pairs):
    # the comparison above can fail: the same training from another head is far away
    curves = []
    for seed in (0, 1):
        trainer = make_trainer(make_decoder(seed=seed), pairs, max_steps=3)
        trainer.train()
        curves.append([row["rm/loss"] for row in trainer.logged])
    assert float(torch.tensor(curves[0]).sub(torch.tensor(curves[1])).abs().max()) > 1e-3
