"""Padded, packed and shared-prefix batches give the same rewards and the same gradients, on every architecture."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from plaudit.batching.batch import build_batch
from plaudit.errors import LayoutError
from plaudit.models.attention import cpu as attention_cpu
from plaudit.models.attention import interface as attention
from plaudit.models.attention.cpu import ScoreRule, TreeAttention, masked_tree_attention
from plaudit.models.attention.cuda import flex_tree_attention
from plaudit.models.attention.interface import prefix_tree_attention
from plaudit.models.attention.read_out import read_attention
from plaudit.models.parity import choose_layout, prove_layout
from plaudit.objectives.pairwise import bradley_terry_loss

EXACT = (
    "llama",
    "llama, one key per query",
    "llama, one key for all",
    "qwen2",
    "qwen2, window in one layer",
    "qwen3",
    "mistral",
    "mistral, binding window",
    "mistral, wide window",
    "gemma2, window and soft cap",
    "gemma3, window",
    "gpt-neox",
    "phi3",
    "phi3, window",
    "olmo2",
    "olmo3, window",
    "smollm3",
    "gpt2",
    "opt",
    "qwen3 mixture",
)
VARIANTS = {
    "shared_prefix": ("shared_prefix", "right"),
    "packed": ("packed", "right"),
    "padded left": ("padded", "left"),
}
pytestmark = pytest.mark.filterwarnings("ignore:.*rope:UserWarning")


def rewards_and_gradients(model, groups, layout, side="right"):
    """Return the rewards and every parameter's gradient of the mean Bradley–Terry loss, in one layout."""
    model.use_layout(layout)
    model.zero_grad()
    batch = build_batch(groups, layout=layout, pad_id=0, padding_side=side)
    rewards = model(batch).response
    loss = bradley_terry_loss(rewards[batch.pairs.chosen], rewards[batch.pairs.rejected]).mean()
    loss.backward()
    return rewards.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def difference(found, wanted):
    """Return the largest difference of any entry, relative to the largest entry of the reference."""
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-8))


def gradient_difference(found, wanted):
    """Return the norm of the difference of all gradients together, relative to their norm."""
    assert found.keys() == wanted.keys()
    apart = torch.stack([(found[name] - wanted[name]).norm() for name in wanted]).norm()
    return float(apart / torch.stack([grad.norm() for grad in wanted.values()]).norm())


# ------------------------------------------------------------------------------- every architecture


@pytest.mark.parametrize("name", EXACT)
def test_rewards_and_gradients_do_not_depend_on_the_layout(build, hard_groups, name):
    model = build(name, attention="eager" if "gemma2" in name else None)
    wanted, wanted_grads = rewards_and_gradients(model, hard_groups, "padded")
    assert wanted.std() > 1e-2
    for layout, side in VARIANTS.values():
        found, grads = rewards_and_gradients(model, hard_groups, layout, side)
        assert (found - wanted).abs().max() <= 1e-5
        assert gradient_difference(grads, wanted_grads) <= 1e-5


@pytest.mark.parametrize("name", EXACT)
def test_the_proof_says_exact_for_both_layouts(build, name):
    model = build(name)
    for layout in ("shared_prefix", "packed"):
        proof = prove_layout(model, layout)
        assert proof.exact, proof.reason
        assert proof.difference < 1e-5
    assert model.layout == "padded"
    assert choose_layout(model, "auto").layout == "shared_prefix"
    assert model.layout == "shared_prefix"


@pytest.mark.parametrize("name", ["llama", "mistral, binding window", "gpt2"])
def test_in_float64_the_layouts_agree_far_below_float32(build, hard_groups, name):
    model = build(name, dtype=torch.float64, attention="eager" if "gemma2" in name else None)
    model.core.score.double()
    wanted, wanted_grads = rewards_and_gradients(model, hard_groups, "padded")
    for layout, side in VARIANTS.values():
        found, grads = rewards_and_gradients(model, hard_groups, layout, side)
        # transformers computes rotary positions and some norms in float32, the same for every layout
        assert difference(found, wanted) <= 1e-7
        assert gradient_difference(grads, wanted_grads) <= 1e-7


# ----------------------------------------------------------------------------- neighbours and order


def test_neighbours_and_their_order_change_nothing(build, hard_groups):
    for name in ("llama", "mistral, binding window"):
        model = build(name)
        for layout in ("shared_prefix", "packed", "padded"):
            model.use_layout(layout)
            with torch.no_grad():
                alone = [model(build_batch([group], layout=layout, pad_id=0)).response for group in hard_groups]
                together = model(build_batch(hard_groups, layout=layout, pad_id=0)).response
                turned = model(build_batch(hard_groups[::-1], layout=layout, pad_id=0)).response
            sizes = [len(each) for each in alone]
            assert (torch.cat(alone) - together).abs().max() <= 3e-6
            assert (torch.cat(turned.split(sizes[::-1])[::-1]) - together).abs().max() <= 3e-6


@pytest.mark.parametrize("count", range(1, 9))
def test_any_number_of_responses_gives_the_rewards_of_separate_conversations(build, make_token_group, count):
    model = build("llama")
    group = make_token_group(0, 9, [1 + 3 * k % 7 for k in range(count)], seed=count)
    singles = [make_token_group(0, 0, [group.tree.sequence(k)]) for k in range(count)]
    with torch.no_grad():
        model.use_layout("padded")
        wanted = torch.cat([model(build_batch([single], layout="padded", pad_id=0)).response for single in singles])
        model.use_layout("shared_prefix")
        found = model(build_batch([group], layout="shared_prefix", pad_id=0)).response
    assert (found - wanted).abs().max() <= 5e-6


def test_equal_responses_get_equal_rewards(build, make_token_group):
    model = build("llama")
    model.use_layout("shared_prefix")
    group = make_token_group(0, 7, [[4, 5, 6], [4, 5, 6], [4, 5]])
    with torch.no_grad():
        rewards = model(build_batch([group], layout="shared_prefix", pad_id=0)).response
    # one hidden state, but the head's matrix product may round its rows differently
    assert float(rewards[0]) == pytest.approx(float(rewards[1]), abs=1e-6)
    assert abs(float(rewards[0] - rewards[2])) > 1e-3


# ---------------------------------------------------------------------------------------- encoders


@pytest.mark.parametrize("name", ["bert", "deberta-v2"])
def test_an_encoder_is_padded_only_and_its_neighbours_change_nothing(build, hard_groups, name):
    model = build(name)
    assert model.recipe.read_out == "classifier"
    proof = choose_layout(model, "auto")
    assert proof.layout == "padded"
    assert "reads whole padded sequences" in proof.reason
    with torch.no_grad():
        alone = torch.cat([model(build_batch([group], layout="padded", pad_id=0)).response for group in hard_groups])
        together = model(build_batch(hard_groups, layout="padded", pad_id=0)).response
    assert (alone - together).abs().max() <= 1e-5


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gpt-oss, attention sinks", "attention sinks are not supported"),
        ("bloom, alibi", "hidden states differ"),
        ("bert", "reads whole padded sequences"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_exact_is_refused_with_its_reason(build, name, reason):
    model = build(name)
    for layout in ("shared_prefix", "packed"):
        proof = prove_layout(model, layout)
        assert not proof.exact
        assert reason in proof.reason
        with pytest.raises(LayoutError, match=reason):
            choose_layout(model, layout)
    fallback = choose_layout(model, "auto")
    assert fallback.layout == model.layout == "padded"
    assert reason in fallback.reason


def test_layers_of_an_unknown_kind_are_refused(build):
    model = build("llama")
    model.core.config.layer_types = ["full_attention", "chunked_attention"]
    proof = prove_layout(model, "shared_prefix")
    assert not proof.exact
    assert proof.reason == "layers of kind chunked_attention are not supported in a shared prefix"


def test_a_long_window_that_no_layer_asks_its_attention_for_is_refused(build):
    # longer than any probe, so only the question whether attention hears of it can tell
    model = build("mistral, binding window", sliding_window=4096)
    assert prove_layout(model, "shared_prefix").exact
    broken = _deaf_to_windows(model)
    assert not broken.exact
    assert broken.reason == "the config has a sliding window of 4096 tokens, but no layer asks its attention for it"


def _deaf_to_windows(model):
    """Prove the layout with an attention that is never told of a window, as of a model that forgets to pass it."""
    registered = attention.AttentionInterface._global_mapping

    def deaf(module, *tensors, sliding_window=None, **kwargs):
        return prefix_tree_attention(module, *tensors, **kwargs)

    kept = registered[attention.ATTENTION_NAME]
    registered[attention.ATTENTION_NAME] = deaf
    try:
        return prove_layout(model, "shared_prefix")
    finally:
        registered[attention.ATTENTION_NAME] = kept


def test_attention_dropout_is_refused(build):
    model = build("llama")
    for layer in model.core.model.layers:
        layer.self_attn.attention_dropout = 0.1
    model.train()
    model.use_layout("shared_prefix")
    with pytest.raises(LayoutError, match=r"attention dropout is 0\.1"):
        model(build_batch([_tiny_group()], layout="shared_prefix", pad_id=0))


def _tiny_group():
    from plaudit.batching.prefix_tree import build_prefix_tree
    from plaudit.batching.tokens import TokenGroup

    sequences = [np.asarray([3, 4, 5], dtype=np.int32), np.asarray([3, 4, 6], dtype=np.int32)]
    return TokenGroup(0, build_prefix_tree(sequences, min_saving=1), np.zeros(2, dtype=np.int32))


# --------------------------------------------------------------------------- the guard itself can fail


def leak_between_siblings(build_forest_batch):
    """Return a batch builder whose forests let every token see everything before it."""

    def build_leaking(groups, **options):
        batch = build_forest_batch(groups, **options)
        if batch.forest is None:
            return batch
        total = batch.forest.subtree_end.shape[0]
        segments = tuple((start, stop, total) for start, stop, _ in batch.forest.segments)
        ends = torch.full_like(batch.forest.subtree_end, total)
        return dataclasses.replace(batch, forest=dataclasses.replace(batch.forest, segments=segments, subtree_end=ends))

    return build_leaking


def wrong_positions(build_forest_batch):
    """Return a batch builder that numbers the tokens of a row instead of those of each conversation."""

    def build_wrong(groups, **options):
        batch = build_forest_batch(groups, **options)
        return (
            batch
            if batch.forest is None
            else dataclasses.replace(batch, position_ids=torch.arange(batch.num_tokens)[None])
        )

    return build_wrong


@pytest.mark.parametrize("breaking", [leak_between_siblings, wrong_positions])
def test_a_broken_forest_is_found_and_auto_falls_back_to_padded(build, monkeypatch, breaking):
    model = build("llama")
    assert prove_layout(model, "shared_prefix").exact
    monkeypatch.setattr("plaudit.models.parity.build_batch", breaking(build_batch))
    proof = prove_layout(model, "shared_prefix")
    assert not proof.exact
    assert proof.difference > 1e-2
    assert "hidden states differ by" in proof.reason
    fallback = choose_layout(model, "auto")
    # each tree of the packed layout is one segment, and rotary positions are relative: neither fault reaches it
    assert fallback.layout == model.layout == "packed"
    assert fallback.reason.startswith("shared_prefix is not exact here: hidden states differ by")
    with pytest.raises(LayoutError, match="is not exact for LlamaForSequenceClassification"):
        choose_layout(model, "shared_prefix")


def test_a_window_that_is_ignored_is_found(build, monkeypatch):
    model = build("mistral, binding window")
    monkeypatch.setattr(attention, "longest_path", lambda forest: 0)
    assert not prove_layout(model, "shared_prefix").exact


def test_a_gradient_that_leaks_would_be_seen(build, hard_groups):
    # the comparison of gradients can fail: the same loss without one of seven groups is far outside 1e-5
    model = build("llama")
    _, all_groups = rewards_and_gradients(model, hard_groups, "padded")
    _, without_one = rewards_and_gradients(model, hard_groups[1:], "padded")
    assert gradient_difference(without_one, all_groups) > 1e-2


# ------------------------------------------------------------------------ attention against its mask


def forest_of(groups):
    return build_batch(groups, layout="shared_prefix", pad_id=0).forest


def dense_attention(query, key, value, forest, *, scale, window=None, softcap=None):
    """Softmax attention with the whole mask, from the one rule: k ≤ q < subtree_end[k], within the window."""
    length = query.shape[2]
    q, k = torch.arange(length)[:, None], torch.arange(length)[None]
    seen = (k <= q) & (q < forest.subtree_end[None])
    if window is not None:
        position = forest.position_ids
        seen &= position[:, None] - position[None] < window
    logits = query @ key.transpose(-1, -2) * scale
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return torch.softmax(logits.masked_fill(~seen, float("-inf")), dim=-1) @ value


def random_qkv(length, *, heads=2, width=16, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(1, heads, length, width, generator=generator, dtype=dtype) for _ in range(4)]
    return [each.requires_grad_() for each in draw[:3]], draw[3]


@pytest.mark.parametrize(
    ("window", "softcap"), [(None, None), (1, None), (5, None), (10**6, None), (None, 3.0), (5, 3.0)]
)
def test_attention_on_the_cpu_equals_its_definition_forward_and_backward(hard_groups, monkeypatch, window, softcap):
    forest = forest_of(hard_groups)
    qkv, weight = random_qkv(forest.subtree_end.shape[0])
    options = {"scale": 0.3, "window": window, "softcap": softcap}
    wanted = dense_attention(*qkv, forest, **options)
    found = [masked_tree_attention(*qkv, forest, ScoreRule(**options))]
    if window is None and softcap is None:
        found.append(TreeAttention.apply(*qkv, forest, 0.3))
        for longest_dense_path in (0, 12):  # all trees, or the longer ones, through the flash kernel
            monkeypatch.setattr(attention_cpu, "DENSE_KEYS", longest_dense_path)
            found.append(TreeAttention.apply(*qkv, forest, 0.3))
    for output in found:
        torch.testing.assert_close(output, wanted, rtol=0, atol=1e-12)
        for a, b in zip(
            torch.autograd.grad(output, qkv, weight),
            torch.autograd.grad(wanted, qkv, weight, retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("window", "softcap"), [(None, None), (5, None), (None, 3.0), (5, 3.0)])
def test_attention_of_the_rows_that_are_read_equals_its_definition(hard_groups, window, softcap):
    forest = forest_of(hard_groups)
    length = forest.subtree_end.shape[0]
    rows = torch.randperm(length, generator=torch.Generator().manual_seed(3))[:40]
    qkv, weight = random_qkv(length)
    options = {"scale": 0.3, "window": window, "softcap": softcap}
    wanted = dense_attention(*qkv, forest, **options)[:, :, rows]
    found = read_attention(*qkv, forest.reading(rows), ScoreRule(**options))[:, :, rows]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(found, qkv, weight[:, :, rows]),
        torch.autograd.grad(wanted, qkv, weight[:, :, rows]),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_last_layer_works_only_for_the_rows_that_are_read(build, hard_groups):
    model = build("llama")
    model.use_layout("shared_prefix")
    batch = build_batch(hard_groups, layout="shared_prefix", pad_id=0)
    rows = torch.tensor([30, 3, 3, 11])
    worked: list[int] = []
    for layer in model.core.model.layers:
        layer.mlp.up_proj.register_forward_hook(lambda _part, _args, output: worked.append(output.shape[1]))
    with torch.no_grad():
        wanted = model.hidden_states(batch)[rows]
        found = model.features_at(batch, rows)
    depth = len(model.core.model.layers)
    assert worked == [batch.num_tokens] * (2 * depth - 1) + [3]
    assert (found - wanted).abs().max() < 3e-6


def test_attention_in_bfloat16_is_as_close_as_bfloat16_allows(hard_groups):
    forest = forest_of(hard_groups)
    qkv, _ = random_qkv(forest.subtree_end.shape[0], dtype=torch.float32)
    wanted = dense_attention(*qkv, forest, scale=0.25)
    half = [each.bfloat16() for each in qkv]
    for output in (
        TreeAttention.apply(*half, forest, 0.25),
        masked_tree_attention(*half, forest, ScoreRule(0.25)),
    ):
        assert output.dtype == torch.bfloat16
        assert (output.float() - wanted).abs().max() < 3e-2


@pytest.mark.parametrize(("window", "softcap"), [(None, None), (5, None), (None, 3.0), (5, 3.0)])
@pytest.mark.filterwarnings("ignore")
def test_flex_attention_with_our_mask_equals_the_definition(hard_groups, window, softcap):
    forest = forest_of(hard_groups)
    qkv, _ = random_qkv(forest.subtree_end.shape[0], dtype=torch.float32)
    options = {"scale": 0.3, "window": window, "softcap": softcap}
    with torch.no_grad():
        found = flex_tree_attention(*qkv, forest, ScoreRule(**options), grouped=False)
        wanted = dense_attention(*qkv, forest, **options)
    assert found.shape == wanted.shape
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)


@pytest.mark.filterwarnings("ignore")
def test_flex_attention_with_grouped_queries_equals_the_definition(hard_groups):
    forest = forest_of(hard_groups)
    (query, key, value), _ = random_qkv(forest.subtree_end.shape[0], heads=4, dtype=torch.float32)
    key, value = key[:, :2], value[:, :2]
    with torch.no_grad():
        found = flex_tree_attention(query, key, value, forest, ScoreRule(0.3), grouped=True)
        wanted = dense_attention(query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1), forest, scale=0.3)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)
