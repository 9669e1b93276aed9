"""On a CUDA device: the compiled kernel equals the definition, forward and backward, and layouts agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.models.attention.cpu import ScoreRule
from plaudit.models.attention.cuda import flex_tree_attention
from plaudit.models.parity import prove_layout
from plaudit.objectives.pairwise import bradley_terry_loss

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore"),
]
TOLERANCE = {torch.float32: 2e-3, torch.bfloat16: 4e-2}
"""The kernel multiplies float32 in TF32, which has ten bits."""


def groups_of(sizes, *, seed=0):
    rng = np.random.default_rng(seed)
    made = []
    for index, (prompt, responses) in enumerate(sizes):
        shared = rng.integers(3, 90, prompt)
        sequences = [np.concatenate([shared, rng.integers(3, 90, each)]).astype(np.int32) for each in responses]
        tree = build_prefix_tree(sequences, min_saving=1)
        pairs = np.asarray([(0, k) for k in range(1, len(responses))], dtype=np.int32).reshape(-1, 2)
        absent = np.full(len(pairs), np.nan, dtype=np.float32)
        starts = np.full(len(responses), prompt, dtype=np.int32)
        made.append(TokenGroup(index, tree, starts, pairs[:, 0], pairs[:, 1], absent, absent))
    return made


SIZES = [(200, (130, 7, 64)), (0, (40, 1)), (300, (20, 20, 20, 90)), (10, (500,))]


def dense(query, key, value, forest, *, scale, window, softcap):
    length = query.shape[2]
    q, k = (torch.arange(length, device=query.device)[shape] for shape in ((slice(None), None), (None, slice(None))))
    seen = (k <= q) & (q < forest.subtree_end[None])
    if window is not None:
        seen &= forest.position_ids[:, None] - forest.position_ids[None] < window
    logits = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return torch.softmax(logits.masked_fill(~seen, float("-inf")), dim=-1) @ value


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("window", "softcap"), [(None, None), (100, None), (None, 5.0), (100, 5.0)])
@pytest.mark.parametrize("heads", [(4, 4), (8, 2)])
def test_the_compiled_kernel_equals_the_definition_forward_and_backward(dtype, window, softcap, heads):
    device = torch.device("cuda")
    forest = build_batch(groups_of(SIZES), layout="shared_prefix", pad_id=0).forest.to(device)
    length, generator = forest.subtree_end.shape[0], torch.Generator(device).manual_seed(0)

    def draw(count):
        return torch.randn(1, count, length, 64, generator=generator, device=device, dtype=torch.float64)

    query, key, value, weight = draw(heads[0]), draw(heads[1]), draw(heads[1]), draw(heads[0])
    options = {"scale": 0.125, "window": window, "softcap": softcap}
    exact = [each.clone().requires_grad_() for each in (query, key, value)]
    repeated = [each.repeat_interleave(heads[0] // heads[1], 1) for each in exact[1:]]
    wanted = dense(exact[0], *repeated, forest, **options)
    wanted_grads = torch.autograd.grad(wanted, exact, weight)
    ours = [each.to(dtype).requires_grad_() for each in (query, key, value)]
    found = flex_tree_attention(*ours, forest, ScoreRule(**options), grouped=heads[0] != heads[1])
    found_grads = torch.autograd.grad(found, ours, weight.to(dtype))
    assert found.dtype == dtype
    for a, b in zip((found, *found_grads), (wanted, *wanted_grads), strict=True):
        assert float((a.double() - b).norm() / b.norm()) < TOLERANCE[dtype]


@pytest.mark.parametrize("window", [None, 64])
def test_a_model_on_the_device_gives_the_same_rewards_and_gradients_in_every_layout(tokenizer, window):
    from transformers import AutoModelForSequenceClassification, MistralConfig

    from plaudit.models.backbone import initialise_head, prepare_config
    from plaudit.models.checkpoint.recipe import ScoringRecipe
    from plaudit.models.reward_model import RewardModel

    config = MistralConfig(
        vocab_size=96, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, pad_token_id=0, eos_token_id=1, sliding_window=window,
    )  # fmt: skip
    prepare_config(config)
    torch.manual_seed(0)
    network = AutoModelForSequenceClassification.from_config(config)
    initialise_head(network, seed=0)
    recipe = ScoringRecipe(
        chat_template="{{ messages }}", special_tokens=False, final_token=None, pad_token=0, vocabulary=96,
        max_length=1024, truncation="drop", read_out="last_token", architecture="Mistral", dtype="float32",
    )  # fmt: skip
    model = RewardModel(network.cuda(), tokenizer, recipe)
    assert prove_layout(model, "shared_prefix").difference < 1e-2
    found = {}
    for layout in ("padded", "packed", "shared_prefix"):
        model.use_layout(layout)
        model.zero_grad()
        batch = build_batch(groups_of(SIZES), layout=layout, pad_id=0).to(model.device)
        rewards = model(batch).response
        bradley_terry_loss(rewards[batch.pairs.chosen], rewards[batch.pairs.rejected]).mean().backward()
        found[layout] = rewards.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])
    for layout in ("packed", "shared_prefix"):
        for a, b in zip(found[layout], found["padded"], strict=True):
            assert float((a - b).norm() / b.norm()) < 5e-3
