"""The proof of a layout: no layer past the tree, no leak between responses, no class that is read as something else."""

from __future__ import annotations

import pytest
import torch
import transformers

from plaudit.batching.batch import build_batch
from plaudit.errors import LayoutError, ModelError
from plaudit.models import parity
from plaudit.models.backbone import _name_backbone, initialise_head, prepare_config, read_out_of
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.classes import network_class
from plaudit.models.heads.head import HeadSpec
from plaudit.models.parity import choose_layout, prove_layout
from plaudit.models.reward_model import RewardModel

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}


@pytest.fixture
def make(tokenizer):
    """Return a function that makes a random model of a config, with the head of a task, in a precision."""

    def made(config, task="sequence", dtype=torch.float32):
        spec = HeadSpec(task)
        found = network_class(config, spec)
        prepare_config(found.config, spec)
        torch.manual_seed(0)
        network = found.empty(found.config)
        for weight in network.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.15)
        _name_backbone(network)
        initialise_head(network, seed=0)
        recipe = ScoringRecipe(
            chat_template="{{ messages }}",
            special_tokens=False,
            final_token=None,
            pad_token=0,
            vocabulary=96,
            max_length=256,
            truncation="drop",
            read_out=read_out_of(network),
            architecture=type(network).__name__,
            dtype=str(dtype).removeprefix("torch."),
            head="language_model" if task == "language_model" else "scalar",
            class_tokens=(7,) if task == "language_model" else (),
        )
        return RewardModel(network.to(dtype), tokenizer, recipe).eval()

    return made


def falcon_h1():
    return transformers.FalconH1Config(
        **SIZES, head_dim=8, mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_d_state=8, mamba_chunk_size=16
    )


def recurrent_gemma():
    fields = SIZES | {"attention_window_size": 64, "lru_width": 32}
    return transformers.RecurrentGemmaConfig(**fields)


def rwkv():
    return transformers.RwkvConfig(
        vocab_size=96, hidden_size=32, attention_hidden_size=32, intermediate_size=48, num_hidden_layers=2
    )


RECURRENT = {"falcon_h1": falcon_h1, "recurrent_gemma": recurrent_gemma, "rwkv": rwkv}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.filterwarnings("ignore")
def test_recurrent_layers_are_refused_in_every_precision(make, hard_groups, name, dtype):
    # in bfloat16 three times the change by left padding was allowed: 4.0 for RWKV
    model = make(RECURRENT[name](), dtype=dtype)
    for layout in ("shared_prefix", "packed"):
        proof = prove_layout(model, layout)
        assert not proof.exact, proof
    assert choose_layout(model, "auto").layout == "padded"
    with torch.no_grad():
        alone = [model(build_batch([group], layout="padded", pad_id=0)).response for group in hard_groups]
        together = model(build_batch(hard_groups, layout="padded", pad_id=0)).response
    spread = float(together.float().std())
    assert (torch.cat(alone) - together).abs().max() <= (1e-5 if dtype == torch.float32 else 0.1) * spread


def test_half_precision_never_allows_more_than_the_ceiling(build, monkeypatch):
    model = build("llama", dtype=torch.bfloat16)
    groups = parity._probe_groups(model)
    monkeypatch.setattr(parity, "_relative", lambda found, wanted: 1.3)
    assert parity._allowed(model, groups, torch.zeros(1, 1)) == parity._CEILING == 0.1


class _SkipsTheTree(torch.nn.Module):
    """Adds to each token what a causal mean of the row says of the tokens before it, as a recurrent layer would."""

    def __init__(self, layer, weight):
        super().__init__()
        self.layer, self.weight = layer, weight

    def forward(self, hidden, *args, **kwargs):
        count = torch.arange(1, hidden.shape[1] + 1, dtype=hidden.dtype)[None, :, None]
        return self.layer(hidden + self.weight * hidden.cumsum(dim=1) / count, *args, **kwargs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_small_leak_is_found_by_changing_another_response(build, monkeypatch, dtype):
    model = build("llama", dtype=dtype)
    assert prove_layout(model, "shared_prefix").exact
    layers = model.core.model.layers
    layers[0] = _SkipsTheTree(layers[0], 0.5)
    monkeypatch.setattr(parity, "_alone", lambda model, groups: parity._features(model, groups, "shared_prefix"))
    for layout in ("shared_prefix", "packed"):
        proof = prove_layout(model, layout)
        assert not proof.exact
    assert "other tokens move by" in prove_layout(model, "shared_prefix").reason


def test_a_layer_that_does_not_attend_along_the_tree_is_named(build):
    model = build("llama")
    layer = model.core.model.layers[1]
    layer.self_attn.forward = lambda hidden_states, **kwargs: (torch.zeros_like(hidden_states), None)
    proof = prove_layout(model, "shared_prefix")
    assert not proof.exact
    assert proof.reason == "layer 1 (LlamaDecoderLayer) does not attend along the tree"


def test_a_model_that_masks_packed_rows_itself_is_packed(make, hard_groups):
    fields = {name: SIZES[name] for name in SIZES if name not in ("intermediate_size", "num_key_value_heads")}
    model = make(transformers.FalconConfig(**fields, alibi=False))
    proof = choose_layout(model, "auto")
    assert proof.layout == model.layout == "packed"
    assert proof.reason.startswith("shared_prefix is not exact here: hidden states differ")
    with torch.no_grad():
        packed = model(build_batch(hard_groups, layout="packed", pad_id=0)).response
        model.use_layout("padded")
        padded = model(build_batch(hard_groups, layout="padded", pad_id=0)).response
    assert (packed - padded).abs().max() <= 1e-5


def test_a_window_of_0_is_none(make):
    fields = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 4}
    model = make(transformers.Qwen2MoeConfig(**SIZES, **fields, num_experts_per_tok=2, sliding_window=0))
    assert choose_layout(model, "auto").layout == "shared_prefix"


@pytest.mark.filterwarnings("ignore")
def test_a_model_whose_rewards_depend_on_padding_is_refused(make):
    # FNet mixes all positions of a row by a Fourier transform, those of the padding too
    fields = {name: SIZES[name] for name in SIZES if name not in ("num_attention_heads", "num_key_value_heads")}
    model = make(transformers.FNetConfig(**fields))
    for layout in ("auto", "padded"):
        with pytest.raises(LayoutError, match=r"exact for FNetForSequenceClassification"):
            choose_layout(model, layout)


# ----------------------------------------------------------------------------- what the class itself reads


def llama4(**changes):
    fields = SIZES | {"head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "num_experts_per_tok": 1}
    return transformers.Llama4TextConfig(**fields | changes)


def test_llama4_in_language_form_reads_its_backbone(make, hard_groups):
    model = make(llama4(), task="language_model")
    assert choose_layout(model, "auto").layout == "padded"
    batch = build_batch(hard_groups, layout="padded", pad_id=0)
    with torch.no_grad():
        hidden = model.features(batch)
        logits = model.core(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        wanted = logits.flatten(0, 1)[batch.response_end][:, [7]]
        found = model.outputs_from(hidden)
    assert hidden.shape == (batch.num_responses, 32)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


def test_a_class_that_reads_other_outputs_than_its_head_is_refused(build):
    model = build("llama")
    own = model.core.forward

    def scaled(*args, **kwargs):
        found = own(*args, **kwargs)
        found.logits = 2.0 * found.logits
        return found

    choose_layout(model, "auto")
    model.core.forward = scaled
    for layout in ("auto", "padded"):
        with pytest.raises(ModelError, match=r"\(model type llama\) makes other outputs of a conversation"):
            choose_layout(model, layout)
