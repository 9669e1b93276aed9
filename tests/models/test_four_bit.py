"""Weights in four bits: what is rounded, what is never, and that rewards do not depend on layout, use or order."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.errors import ConfigError, MissingExtraError, ModelError
from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_language_model, load_reward_model, save_reward_model
from plaudit.models.checkpoint.four_bit import is_four_bit, kept_whole, num_weights, share_in_words
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.create import add_lora, merge_lora, new_reward_model
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.parity import prove_layout
from plaudit.opening import open_scorer

pytestmark = pytest.mark.filterwarnings("ignore")
needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
# fmt: off
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]
# fmt: on
"""The sixteen values of NF4 (Dettmers et al., 2023, arXiv 2305.14314, appendix E)."""
LINEAR_OF_LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def batch_of(model, groups):
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    return build_batch(encoded, layout=model.layout, pad_id=model.recipe.pad_token)


def rewards_of(model, groups):
    with torch.no_grad():
        return model(batch_of(model, groups)).response


def adapted(source, **options):
    model = new_reward_model(str(source), seed=0, **options)
    return add_lora(model, rank=2, alpha=4, dropout=0.0, targets="all-linear")


def packed(model):
    """Return the names of the modules of the network that hold four-bit weights."""
    names = [name for name, weight in model.core.named_parameters() if is_four_bit(weight)]
    return {name.removesuffix(".weight").removesuffix(".base_layer") for name in names}


# --------------------------------------------------------------------------------------- without the package


@pytest.fixture
def absent(monkeypatch):
    """An environment without bitsandbytes, whether or not it is installed."""
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)


@pytest.mark.parametrize(
    "load",
    [
        partial(load_reward_model, quantization="4bit"),
        partial(new_reward_model, seed=0, quantization="4bit"),
        partial(open_scorer, quantization="4bit"),
    ],
)
def test_without_bitsandbytes_the_error_says_how_to_install_it(saved, absent, load):
    with pytest.raises(MissingExtraError, match=r"needs 'bitsandbytes'.*pip install 'plaudit\[quantized\]'"):
        load(str(saved))


def test_the_doctor_says_that_bitsandbytes_is_missing(saved, absent):
    [failed] = [check for check in diagnose(str(saved), quantization="4bit") if check.status != "ok"]
    assert (failed.name, failed.status) == ("strict loading", "error")
    assert "pip install 'plaudit[quantized]'" in failed.found


def test_a_recipe_of_four_bits_is_not_loaded_in_full_unless_asked_for(saved, absent):
    path = saved / "plaudit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization": "4bit"}))
    with pytest.raises(MissingExtraError, match="bitsandbytes"):
        load_reward_model(str(saved))
    whole, _ = load_reward_model(str(saved), quantization="none")
    assert whole.recipe.quantization is None


def test_another_quantization_than_those_is_refused(saved):
    with pytest.raises(ModelError, match="quantization is '8bit'; it must be '4bit', 'none'"):
        load_reward_model(str(saved), quantization="8bit")


def test_a_python_function_cannot_be_quantised():
    with pytest.raises(ConfigError, match="quantization is 4bit, but math:sqrt is no model"):
        open_scorer("math:sqrt", quantization="4bit")


def test_quantisation_is_part_of_the_hash_of_a_recipe_and_its_absence_is_not(make_decoder):
    recipe = make_decoder().recipe
    without = {name: value for name, value in recipe.model_dump(mode="json").items() if name != "quantization"}
    assert ScoringRecipe.model_validate(without).hash == recipe.hash
    assert recipe.model_copy(update={"quantization": "4bit"}).hash != recipe.hash


def test_weights_in_full_are_counted_one_by_one(make_decoder):
    model = make_decoder()
    assert not any(map(is_four_bit, model.parameters()))
    assert sum(map(num_weights, model.parameters())) == sum(weight.numel() for weight in model.parameters())


def test_the_head_and_the_pooler_are_kept_whole():
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    with torch.device("meta"):
        encoder = BertForSequenceClassification(BertConfig(vocab_size=9, **sizes))
    assert kept_whole(encoder) == ["dropout", "classifier", "bert.pooler"]


# --------------------------------------------------------------------------------------- with it


@pytest.fixture
def quantised(saved):
    model, _ = load_reward_model(str(saved), quantization="4bit")
    return model


@needs_bitsandbytes
def test_the_linear_layers_of_the_backbone_are_quantised_and_nothing_else(quantised):
    layers = {
        f"model.layers.{number}.{'self_attn' if name[0] in 'qkvo' else 'mlp'}.{name}"
        for number in range(2)
        for name in LINEAR_OF_LLAMA
    }
    assert packed(quantised) == {name.replace("self_attn.up_proj", "mlp.up_proj") for name in layers}
    assert quantised.core.score.weight.dtype == torch.float32


@needs_bitsandbytes
def test_a_quantised_weight_counts_every_number_that_it_holds(saved, quantised):
    whole, _ = load_reward_model(str(saved))
    wanted = {name: weight.numel() for name, weight in whole.core.named_parameters()}
    assert {name: num_weights(weight) for name, weight in quantised.core.named_parameters()} == wanted
    held = sum(count for name, count in wanted.items() if name.split(".")[-2] in LINEAR_OF_LLAMA)
    assert share_in_words(quantised.parameters()).startswith(
        f"14 linear layers, {held / sum(wanted.values()):.0%} of the weights"
    )


@needs_bitsandbytes
def test_weights_that_four_bits_hold_exactly_give_the_same_rewards(make_decoder, make_groups, tmp_path):
    # blocks of 64 values of NF4 with one common scale lose nothing to either quantisation
    model = make_decoder()
    generator = torch.Generator().manual_seed(0)
    for module in model.core.model.modules():
        if isinstance(module, nn.Linear):
            drawn = torch.randint(0, 16, module.weight.shape, generator=generator)
            module.weight.data = torch.tensor(NF4)[drawn] * 0.125
            module.weight.data.flatten()[::64] = 0.125
    save_reward_model(model, tmp_path / "model")
    whole, _ = load_reward_model(str(tmp_path / "model"))
    rounded, _ = load_reward_model(str(tmp_path / "model"), quantization="4bit")
    groups = make_groups(4)
    wanted = rewards_of(whole, groups)
    assert wanted.std() > 1e-2
    assert (rewards_of(rounded, groups) - wanted).abs().max() <= 2e-6


@needs_bitsandbytes
def test_other_weights_give_rewards_that_differ_but_rank_alike(saved, quantised, make_groups):
    groups = make_groups(30)
    whole, _ = load_reward_model(str(saved))
    wanted, found = rewards_of(whole, groups), rewards_of(quantised, groups)
    assert (found - wanted).abs().max() > 1e-3
    assert np.corrcoef(wanted, found)[0, 1] > 0.9
    assert quantised.recipe.hash != whole.recipe.hash


@needs_bitsandbytes
@pytest.mark.parametrize("layout", ["shared_prefix", "packed"])
def test_every_layout_is_exact_in_four_bits(quantised, layout):
    proof = prove_layout(quantised, layout)
    assert proof.exact
    assert proof.difference <= 1e-5


@needs_bitsandbytes
def test_half_precision_keeps_the_head_in_float32_and_proves_its_layout(saved, make_groups):
    half, proof = load_reward_model(str(saved), dtype="bfloat16", quantization="4bit")
    assert (half.core.score.weight.dtype, half.core.model.norm.weight.dtype) == (torch.float32, torch.bfloat16)
    assert proof.layout == "shared_prefix"
    assert rewards_of(half, make_groups(2)).dtype == torch.float32


@needs_bitsandbytes
def test_use_in_evaluation_leaves_rewards_and_gradients_of_training_as_they_were(saved, make_groups):
    def after(evaluations):
        model = adapted(saved, quantization="4bit")
        batch = batch_of(model, make_groups(2))
        for _ in range(evaluations):
            model.eval()
            with torch.no_grad():
                model(batch)
        model.train()
        rewards = model(batch).response
        rewards.sum().backward()
        trained = {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}
        return rewards.detach(), trained

    (rewards, wanted), (again, found) = after(0), after(2)
    assert torch.equal(again, rewards)
    first = [name for name in wanted if "layers.0.self_attn.q_proj.lora_B" in name]
    assert len(first) == 1
    assert wanted[first[0]].abs().max() > 0
    assert all(torch.equal(found[name], grad) for name, grad in wanted.items())


@needs_bitsandbytes
def test_gradient_checkpointing_gives_the_same_gradients(saved, make_groups):
    def gradients(*, recomputed):
        model = adapted(saved, quantization="4bit")
        if recomputed:
            model.gradient_checkpointing_enable()
        model.train()
        model(batch_of(model, make_groups(2))).response.sum().backward()
        return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}

    wanted, found = gradients(recomputed=False), gradients(recomputed=True)
    assert sum(grad.abs().max() > 0 for grad in wanted.values()) == 15  # 14 adapters with B = 0, and the head
    assert all(torch.allclose(found[name], grad, atol=1e-6) for name, grad in wanted.items())


@needs_bitsandbytes
def test_adapters_on_four_bits_come_back_and_go_on_full_weights_when_asked_for(saved, make_groups, tmp_path):
    groups = make_groups(4)
    model = adapted(saved, quantization="4bit")
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    wanted = rewards_of(model.eval(), groups)
    save_reward_model(model, tmp_path / "adapter")
    again, _ = load_reward_model(str(tmp_path / "adapter"), layout="padded")
    assert again.recipe.quantization == "4bit"
    assert torch.equal(rewards_of(again, groups), wanted)
    assert "quantization_config" not in json.loads((tmp_path / "adapter" / "config.json").read_text())
    with pytest.raises(ModelError, match="cannot be merged into weights in 4 bit"):
        merge_lora(again)
    whole, _ = load_reward_model(str(tmp_path / "adapter"), layout="padded", quantization="none")
    apart = rewards_of(whole, groups)
    assert (apart - wanted).abs().max() > 1e-3
    plain = adapted(saved).eval()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    for name, weight in plain.named_parameters():
        if weight.requires_grad:
            weight.data.copy_(trained.pop(name))
    assert not trained
    assert (rewards_of(plain, groups) - apart).abs().max() <= 2e-6
    save_reward_model(merge_lora(whole), tmp_path / "merged")
    merged, _ = load_reward_model(str(tmp_path / "merged"))
    assert merged.recipe.quantization is None
    assert (rewards_of(merged, groups) - apart).abs().max() <= 5e-6


@needs_bitsandbytes
def test_weights_that_were_rounded_on_loading_are_not_saved(quantised, tmp_path):
    with pytest.raises(ModelError, match="a model that was quantised on loading cannot be saved"):
        save_reward_model(quantised, tmp_path / "again")
    assert list(tmp_path.glob("again*")) == []


@needs_bitsandbytes
def test_what_cannot_be_quantised_is_refused(saved, tmp_path, tokenizer):
    with pytest.raises(ModelError, match="4-bit weights cannot be multiplied in float64"):
        load_reward_model(str(saved), dtype="float64", quantization="4bit")
    path = saved / "config.json"
    path.write_text(
        json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    with pytest.raises(ModelError, match=r"its weights are quantised already \(gptq\)"):
        load_reward_model(str(saved), quantization="4bit")


@needs_bitsandbytes
def test_an_encoder_keeps_its_pooler_and_its_classifier_whole(tokenizer, make_groups, tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    sizes |= {"vocab_size": len(tokenizer), "max_position_embeddings": 130, "pad_token_id": tokenizer.pad_token_id}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(BertConfig(**sizes)).save_pretrained(tmp_path / "base")
    copy.deepcopy(tokenizer).save_pretrained(tmp_path / "base")
    model = new_reward_model(str(tmp_path / "base"), seed=0, max_length=120, quantization="4bit")
    layer = "bert.encoder.layer.0"
    dense = ["attention.output.dense", "intermediate.dense", "output.dense"]
    inner = [f"attention.self.{name}" for name in ("query", "key", "value")]
    assert packed(model) == {f"{layer}.{name}" for name in dense + inner}
    model = add_lora(model, rank=2, alpha=4, dropout=0.0, targets="all-linear").eval()
    wanted = rewards_of(model, make_groups(3))
    save_reward_model(model, tmp_path / "adapter")
    again, _ = load_reward_model(str(tmp_path / "adapter"))
    assert (rewards_of(again, make_groups(3)) - wanted).abs().max() <= 2e-6


@needs_bitsandbytes
def test_a_language_model_keeps_its_vocabulary_head_whole(make_decoder, tmp_path):
    model = make_decoder(head=LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+")))
    model.core.save_pretrained(tmp_path / "base")
    model.tokenizer.save_pretrained(tmp_path / "base")
    assert AutoTokenizer.from_pretrained(tmp_path / "base").chat_template
    loaded, proof = load_language_model(str(tmp_path / "base"), quantization="4bit")
    assert len(packed(loaded)) == 14
    assert not is_four_bit(loaded.core.lm_head.weight)
    assert (loaded.recipe.quantization, proof.layout) == ("4bit", "shared_prefix")


@needs_bitsandbytes
def test_the_doctor_reports_the_share_of_weights_in_four_bits(saved):
    checks = {check.name: check for check in diagnose(str(saved), quantization="4bit")}
    assert checks["quantization"].found.startswith("14 linear layers, ")
    assert [check for check in checks.values() if check.status != "ok"] == []
    assert "quantization" not in {check.name for check in diagnose(str(saved))}
