"""Adapters and encoders: what is trained is saved, comes back, and is drawn from the seed."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.errors import CheckpointError
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.create import add_lora, merge_lora, new_reward_model
from plaudit.models.parity import prove_layout

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def rewards_of(model, groups, *, side="right"):
    """Return the rewards of ``groups`` in one batch of the model's own layout."""
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    batch = build_batch(encoded, layout=model.layout, pad_id=model.recipe.pad_token, padding_side=side)
    with torch.no_grad():
        return model(batch).response


def own_memory(model):
    """Return the model with its weights copied out of the file: products of matrices round by their alignment."""
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model


# -------------------------------------------------------------------------------------------- adapters


@pytest.fixture
def adapted(saved, make_groups):
    """A model with adapters whose weights, and head, were moved away from their start."""
    model = add_lora(new_reward_model(str(saved), seed=0), rank=3, alpha=6, dropout=0.0, targets="all-linear")
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return model.eval()


def test_only_the_adapters_and_the_head_are_trained(adapted):
    trained = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name or "score" in name for name in trained)
    assert any("score" in name for name in trained)
    assert not any("original_module" in name for name in trained)


def test_an_adapter_reloads_to_the_same_rewards_merged_and_unmerged(adapted, make_groups, tmp_path):
    groups = make_groups(4)
    wanted = rewards_of(adapted, groups)
    save_reward_model(adapted, tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    unmerged, proof = load_reward_model(str(tmp_path / "adapter"))
    assert proof.layout == "shared_prefix"
    assert (rewards_of(unmerged, groups) - wanted).abs().max() <= 2e-6
    unmerged.use_layout("padded")
    assert torch.equal(rewards_of(unmerged, groups), wanted)
    merged = merge_lora(copy.deepcopy(adapted))
    assert (rewards_of(merged, groups) - wanted).abs().max() <= 5e-6
    save_reward_model(merged, tmp_path / "merged")
    again, _ = load_reward_model(str(tmp_path / "merged"), layout="padded")
    assert torch.equal(rewards_of(own_memory(again), groups), rewards_of(own_memory(merged), groups))


def test_merging_in_the_shared_layout_leaves_a_model_that_can_be_padded_again(adapted, make_groups):
    groups = make_groups(4)
    wanted = rewards_of(adapted, groups)
    adapted.use_layout("shared_prefix")
    merged = merge_lora(adapted)
    assert merged.layout == "shared_prefix"
    assert (rewards_of(merged, groups) - wanted).abs().max() <= 5e-6
    merged.use_layout("padded")
    assert (rewards_of(merged, groups) - wanted).abs().max() <= 5e-6
    assert prove_layout(merged, "shared_prefix").exact


def test_an_adapter_without_its_head_is_refused(adapted, tmp_path):
    save_reward_model(adapted, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = {name: value for name, value in load_file(path).items() if "score" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="adapter without its reward head"):
        load_reward_model(str(tmp_path / "adapter"))


def test_an_adapter_whose_base_is_gone_is_refused(adapted, saved, tmp_path):
    save_reward_model(adapted, tmp_path / "adapter")
    shutil.rmtree(saved)
    with pytest.raises(CheckpointError, match="there is no such folder, here or beside the adapter"):
        load_reward_model(str(tmp_path / "adapter"))


# -------------------------------------------------------------------------------------------- encoders


@pytest.fixture(params=["BertConfig", "DebertaV2Config", "RobertaConfig"])
def encoder_without_head(request, tokenizer, tmp_path):
    """An encoder as it is published: no head, no pooler."""
    import transformers

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    sizes |= {"vocab_size": len(tokenizer), "max_position_embeddings": 130, "pad_token_id": tokenizer.pad_token_id}
    config = getattr(transformers, request.param)(**sizes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.AutoModel.from_config(config)
    network.save_pretrained(tmp_path / "base")
    weights = load_file(tmp_path / "base" / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if "pooler" not in name}
    save_file(kept, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    copy.deepcopy(tokenizer).save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def test_every_new_weight_of_an_encoder_comes_from_the_seed(encoder_without_head, make_groups):
    def rewards(seed):
        torch.manual_seed(rewards.calls)
        rewards.calls += 1
        return rewards_of(new_reward_model(encoder_without_head, seed=seed, max_length=120).eval(), make_groups(3))

    rewards.calls = 0
    first, same, other = rewards(0), rewards(0), rewards(1)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert first.std() > 1e-5


def test_making_a_model_moves_no_global_generator(encoder_without_head):
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    new_reward_model(encoder_without_head, seed=0, max_length=120)
    assert torch.equal(torch.rand(1), wanted)


def test_a_copied_encoder_has_a_head_of_its_own(encoder_without_head, make_groups):
    model = new_reward_model(encoder_without_head, seed=0, max_length=120).eval()
    groups = make_groups(2)
    wanted = rewards_of(model, groups)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for weight in copied.core.classifier.parameters():
            weight.add_(1.0)
    assert torch.equal(rewards_of(model, groups), wanted)
    assert (rewards_of(copied, groups) - wanted).abs().min() > 0.5


def test_adapters_on_an_encoder_train_and_save_its_whole_head(encoder_without_head, make_groups, tmp_path):
    groups = make_groups(3)
    model = new_reward_model(encoder_without_head, seed=0, max_length=120)
    model = add_lora(model, rank=2, alpha=4, dropout=0.0, targets="all-linear").eval()
    before = rewards_of(model, groups)
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    model(build_batch(encoded, layout="padded", pad_id=model.recipe.pad_token)).response.sum().backward()
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("classifier" in name for name in trained)
    assert not [name for name, weight in trained.items() if weight.grad is None]
    with torch.no_grad():
        for weight in trained.values():
            weight.add_(0.05)
    wanted = rewards_of(model, groups)
    assert (wanted - before).abs().min() > 1e-2
    save_reward_model(model, tmp_path / "adapter")
    again, _ = load_reward_model(str(tmp_path / "adapter"))
    assert (rewards_of(again, groups) - wanted).abs().max() <= 2e-6
    save_reward_model(merge_lora(model), tmp_path / "merged")
    merged, _ = load_reward_model(str(tmp_path / "merged"))
    assert (rewards_of(merged, groups) - wanted).abs().max() <= 5e-6


def test_the_base_is_also_looked_for_beside_the_adapter(adapted, make_groups, tmp_path, monkeypatch):
    groups = make_groups(3)
    save_reward_model(adapted, tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_config.json"
    record = json.loads(file.read_text())
    shutil.copytree(record["base_model_name_or_path"], tmp_path / "plain")
    monkeypatch.chdir("/")
    file.write_text(json.dumps(record | {"base_model_name_or_path": "../plain"}))
    loaded, _ = load_reward_model(str(tmp_path / "adapter"), layout="padded")
    torch.testing.assert_close(rewards_of(loaded, groups), rewards_of(adapted, groups), rtol=0, atol=1e-6)
    file.write_text(json.dumps(record | {"base_model_name_or_path": "../gone"}))
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: base_model_name_or_path is '\.\./gone'"):
        load_reward_model(str(tmp_path / "adapter"))


def test_a_head_that_was_frozen_is_taken_from_the_base(saved, make_groups, tmp_path):
    from peft import LoraConfig, get_peft_model

    base, _ = load_reward_model(str(saved), layout="padded")
    wanted = rewards_of(base, make_groups(3))
    network = get_peft_model(base.core, LoraConfig(r=2, target_modules="all-linear", exclude_modules=["score"]))
    network.save_pretrained(tmp_path / "adapter")
    base.tokenizer.save_pretrained(tmp_path / "adapter")
    loaded, _ = load_reward_model(str(tmp_path / "adapter"), layout="padded")
    # fresh adapters change nothing
    torch.testing.assert_close(rewards_of(loaded, make_groups(3)), wanted, rtol=0, atol=1e-6)
