"""Weights sharded over two processes (FSDP2) give the gradients of one process, for vocabulary heads too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

RANK = """
import json, os, sys, warnings
from pathlib import Path

warnings.simplefilter("ignore")
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.data.reading.read import read_groups
from plaudit.models.heads.head import ScalarHead
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.heads.token import TokenHead
from plaudit.models.heads.language_model import keep_language_model
from plaudit.models.create import build_decoder, build_tokenizer
from plaudit.training.config import TrainConfig
from plaudit.training.trainer import save_weights

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
groups = list(read_groups(f"{folder}/groups.jsonl"))
tokenizer = build_tokenizer((text for group in groups for text in group.responses), vocabulary=400)
two = {"classes": (0.0, 1.0), "class_words": ("-", "+")}
cases = {
    "turns": ({"type": "process", "over": "vocabulary"}, LanguageModelHead(form="turns", **two)),
    "joint": ({"type": "token_outcome", "language_model": 0.5}, LanguageModelHead(class_words=("+",))),
    "grm": ({"type": "bradley_terry", "sft": 0.3}, ScalarHead()),
    "process": ({"type": "process", "classes": [-1, 0, 1]}, TokenHead(classes=(-1.0, 0.0, 1.0))),
}
unused = {"name": "x", "model": {"init": {"type": "scratch"}}, "data": {"train": [{"path": "unused"}]}}
found = {}
for name, (settings, head) in cases.items():
    objective = TrainConfig.model_validate(unused | {"objective": settings}).objective

    def make():
        sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "max_length": 256}
        model = build_decoder(tokenizer, **sizes, seed=0, head=head, init_std=0.2)
        if objective.needs.log_likelihood:
            keep_language_model(model, None)
        model.use_layout("shared_prefix")
        return model

    whole, sharded = make(), make()
    encoder = whole.recipe.encoder(tokenizer, for_training=True)
    encoded = list(encoder.encode(list(enumerate(groups)), EncodingReport()))

    def gradients(model, mine, factor, total):
        tokens = objective.needs.tokens or objective.needs.log_likelihood
        batch = build_batch(mine, layout="shared_prefix", pad_id=0, tokens=tokens)
        items = objective(model(batch), batch.labels)
        ((items.losses * items.weights).sum() * factor / (total or items.weights.sum())).backward()
        return items.weights.sum()

    total = gradients(whole, encoded, 1.0, None)
    wanted = {key: weight.grad for key, weight in whole.named_parameters()}
    mesh = init_device_mesh("cpu", (2,))
    for layer in sharded.core.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    gradients(sharded, encoded[rank::2], 2.0, total)
    apart = [float((p.grad.full_tensor() - wanted[key]).norm()) for key, p in sharded.named_parameters()]
    size = [float(each.norm()) for each in wanted.values()]
    found[name] = sum(each**2 for each in apart) ** 0.5 / sum(each**2 for each in size) ** 0.5
    gathered = {key: each.full_tensor() for key, each in sharded.state_dict().items()}
    if rank == 0:
        os.makedirs(f"{folder}/{name}")
        save_weights(sharded, Path(f"{folder}/{name}"), gathered)
print(json.dumps(found), flush=True)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_sharded_weights_have_the_gradients_of_whole_ones_and_are_saved_whole(tmp_path, make_labelled_groups):
    from plaudit.data.reading.write import write_groups
    from plaudit.opening import load

    groups = make_labelled_groups(5, words=(3, 8))
    write_groups(tmp_path / "groups.jsonl", groups)
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    commands = [[sys.executable, "-c", RANK, str(rank), str(tmp_path)] for rank in range(2)]
    ranks = [subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) for command in commands]
    try:
        ended = [rank.communicate(timeout=300) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], ended[0][1][-3000:]
    found = json.loads(ended[0][0].splitlines()[-1])
    assert max(found.values()) <= 1e-5, found
    assert found.keys() == {"turns", "joint", "grm", "process"}
    for name in found:
        assert all(None not in each.rewards for each in load(tmp_path / name).score_groups(groups))
