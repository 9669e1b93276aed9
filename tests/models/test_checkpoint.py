"""Saving and loading keep every reward; loading refuses what would silently change one."""

from __future__ import annotations

import json
import warnings
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2Model,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.errors import CheckpointError, LayoutError, ModelError
from plaudit.models.backbone import restore_head
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.recipe import NAMED_TEMPLATES
from plaudit.models.create import new_reward_model
from plaudit.models.heads.token import TokenHead

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


def edit_json(path, **changes):
    record = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in (record | changes).items() if v is not ...}))


# --------------------------------------------------------------------------------------- round trips


def test_a_saved_model_gives_the_same_rewards_bit_for_bit(make_decoder, make_groups, tmp_path):
    model, groups = make_decoder(), make_groups(5)
    save_reward_model(model, tmp_path / "model")
    loaded, proof = load_reward_model(str(tmp_path / "model"), layout="padded")
    assert (proof.layout, loaded.training) == ("padded", False)
    assert loaded.recipe == model.recipe
    for name, weight in model.network.state_dict().items():
        assert torch.equal(weight, loaded.network.state_dict()[name])
    again, _ = load_reward_model(str(tmp_path / "model"), layout="padded")
    assert torch.equal(rewards_of(loaded, groups), rewards_of(again, groups))
    assert torch.equal(rewards_of(own_memory(loaded), groups), rewards_of(model, groups))


def test_saving_replaces_an_earlier_checkpoint_whole(make_decoder, tmp_path):
    save_reward_model(make_decoder(num_layers=2), tmp_path / "model")
    (tmp_path / "model" / "merges.txt").write_text("old")
    save_reward_model(make_decoder(num_layers=1), tmp_path / "model")
    assert not (tmp_path / "model" / "merges.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    load_reward_model(str(tmp_path / "model"))


def test_plain_transformers_reads_the_same_rewards_from_the_same_text(saved, make_groups):
    ours, _ = load_reward_model(str(saved))
    groups = make_groups(6)
    assert ours.layout == "shared_prefix"
    theirs = AutoModelForSequenceClassification.from_pretrained(saved).eval()
    tokenizer = AutoTokenizer.from_pretrained(saved)
    assert theirs.config.num_labels == 1
    turns = [
        [*({"role": m.role, "content": m.content} for m in group.prompt), {"role": "assistant", "content": response}]
        for group in groups
        for response in group.responses
    ]
    found = rewards_of(ours, groups)
    for side in ("right", "left"):
        tokenizer.padding_side = side
        inputs = tokenizer.apply_chat_template(turns, padding=True, return_tensors="pt", return_dict=True)
        with torch.no_grad():
            logits = theirs(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        assert logits.shape == (len(turns), 1)
        if side == "right":
            torch.testing.assert_close(found, logits[:, 0], rtol=0, atol=2e-6)


def test_the_saved_files_are_safetensors_and_json_and_name_no_attention_of_ours(saved):
    names = {path.name for path in saved.iterdir()}
    assert {"model.safetensors", "config.json", "plaudit.json", "tokenizer.json", "chat_template.jinja"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    config = json.loads((saved / "config.json").read_text())
    assert (config["problem_type"], config["architectures"]) == ("regression", ["LlamaForSequenceClassification"])
    assert "plaudit" not in (saved / "config.json").read_text()


def test_a_reward_is_the_same_alone_and_in_any_batch_on_either_side_of_the_padding(saved, make_groups):
    groups = make_groups(6)
    for layout in ("shared_prefix", "packed", "padded"):
        model, _ = load_reward_model(str(saved), layout=layout)
        together = rewards_of(model, groups)
        alone = torch.cat([rewards_of(model, [group]) for group in groups])
        assert (alone - together).abs().max() <= 1e-6
        if layout == "padded":
            assert (rewards_of(model, groups, side="left") - together).abs().max() <= 2e-6


def test_bfloat16_weights_keep_a_float32_head_and_save_and_load_the_same_rewards(saved, make_groups, tmp_path):
    half, _ = load_reward_model(str(saved), dtype="bfloat16")
    assert half.core.score.weight.dtype == torch.float32
    assert half.core.model.embed_tokens.weight.dtype == torch.bfloat16
    groups = make_groups(4)
    whole, _ = load_reward_model(str(saved))
    rewards = rewards_of(half, groups)
    assert rewards.dtype == torch.float32
    assert (rewards - rewards_of(whole, groups)).abs().max() < 0.1
    save_reward_model(half, tmp_path / "half")
    again, _ = load_reward_model(str(tmp_path / "half"))
    assert again.recipe.dtype == "bfloat16"
    assert (rewards_of(again, groups) - rewards).abs().max() <= 1e-2


# ------------------------------------------------------------------------------------ strict loading


def test_a_causal_language_model_has_no_head_and_is_refused(saved, tmp_path):
    config = LlamaForSequenceClassification.from_pretrained(saved).config
    LlamaForCausalLM(config).save_pretrained(tmp_path / "lm")
    AutoTokenizer.from_pretrained(saved).save_pretrained(tmp_path / "lm")
    with pytest.raises(CheckpointError, match="saved as LlamaForCausalLM, which has no reward head"):
        load_reward_model(str(tmp_path / "lm"))


def test_a_missing_head_is_refused_and_never_drawn_at_random(saved):
    weights = load_file(saved / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks score\.weight: these weights would be random"):
        load_reward_model(str(saved))


def test_a_missing_layer_is_refused(saved):
    weights = load_file(saved / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks model\.layers\.1\.mlp\.up_proj\.weight"):
        load_reward_model(str(saved))
    with pytest.raises(ModelError, match="lacks weights of its backbone"):
        new_reward_model(str(saved), seed=0)


def test_another_template_is_refused_with_both_hashes(saved):
    (saved / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(CheckpointError, match=r"chat template \(hash \w{16}\) is not the one .* \(hash \w{16}\)"):
        load_reward_model(str(saved))


def test_a_missing_template_is_refused(saved):
    (saved / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="chat template is missing; the recipe expects one"):
        load_reward_model(str(saved))


def test_a_tokenizer_of_another_size_is_refused(saved):
    tokenizer = AutoTokenizer.from_pretrained(saved)
    before = len(tokenizer)
    tokenizer.add_tokens(["one-more"])
    tokenizer.save_pretrained(saved)
    with pytest.raises(CheckpointError, match=f"tokenizer has {before + 1} entries, the recipe says {before}"):
        load_reward_model(str(saved))


def test_two_outputs_are_refused(saved, tmp_path):
    config = LlamaForSequenceClassification.from_pretrained(saved).config
    config.num_labels = 2
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "two")
    AutoTokenizer.from_pretrained(saved).save_pretrained(tmp_path / "two")
    with pytest.raises(CheckpointError, match="has 2 outputs; a scalar reward model has one"):
        load_reward_model(str(tmp_path / "two"))


def test_a_recipe_that_is_not_one_is_refused(saved):
    edit_json(saved / "plaudit.json", read_out="somewhere")
    with pytest.raises(CheckpointError, match=r"plaudit\.json is not a scoring recipe"):
        load_reward_model(str(saved))


def test_folders_without_a_model_are_refused_with_what_is_missing(tmp_path):
    for load in (load_reward_model, partial(new_reward_model, seed=0)):
        with pytest.raises(ModelError, match="does not exist"):
            load(str(tmp_path / "nothing"))
        with pytest.raises(ModelError, match=r"directory without config\.json"):
            load(str(tmp_path))


# ------------------------------------------------------------------------------------ foreign models


@pytest.fixture
def foreign(saved):
    """The same model without a scoring recipe, as any other tool would have saved it."""
    (saved / "plaudit.json").unlink()
    return saved


def test_a_foreign_classifier_with_a_pad_token_of_its_own_loads_and_agrees(foreign, make_groups, make_decoder):
    model, _ = load_reward_model(str(foreign))
    assert torch.allclose(rewards_of(model, make_groups(3)), rewards_of(make_decoder(), make_groups(3)), atol=2e-6)


def test_a_pad_token_that_is_the_end_token_is_refused_or_with_strict_off_warned_about(foreign, make_groups):
    whole, _ = load_reward_model(str(foreign))
    wanted = rewards_of(whole, make_groups(3))
    edit_json(foreign / "tokenizer_config.json", pad_token="<|end|>")
    with pytest.raises(CheckpointError, match="conversations end in the pad token"):
        load_reward_model(str(foreign))
    with pytest.warns(UserWarning, match="plaudit reads it at the last token"):
        model, _ = load_reward_model(str(foreign), strict=False)
    # the reward is still read at the last token, whatever the pad token is
    for layout in ("shared_prefix", "padded"):
        model.use_layout(layout)
        assert torch.allclose(rewards_of(model, make_groups(3)), wanted, atol=2e-6)


def test_a_foreign_model_without_a_template_is_refused(foreign):
    (foreign / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="nor one chat template"):
        load_reward_model(str(foreign))


def test_a_doubled_bos_is_refused(saved):
    tokenizer = AutoTokenizer.from_pretrained(saved)
    tokenizer.bos_token = "<|system|>"
    number = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", number)]
    )
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    tokenizer.save_pretrained(saved)
    edit_json(saved / "plaudit.json", chat_template=tokenizer.chat_template, tokenizer_hash=None)
    load_reward_model(str(saved))
    edit_json(saved / "plaudit.json", special_tokens=True)
    with pytest.raises(CheckpointError, match="the BOS token stands twice"):
        load_reward_model(str(saved))


# ------------------------------------------------------------------------------------------ new models


def test_a_new_model_on_a_language_model_draws_its_head_from_the_seed(saved, tmp_path):
    config = LlamaForSequenceClassification.from_pretrained(saved).config
    LlamaForCausalLM(config).save_pretrained(tmp_path / "lm")
    tokenizer = AutoTokenizer.from_pretrained(saved)
    tokenizer.save_pretrained(tmp_path / "lm")
    heads = [new_reward_model(str(tmp_path / "lm"), seed=seed).core.score.weight for seed in (0, 0, 1)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    many = torch.cat([new_reward_model(str(tmp_path / "lm"), seed=seed).core.score.weight.data for seed in range(20)])
    # N(0, 1/√(hidden + 1)): 640 draws estimate the standard deviation to about 3 %
    assert float(many.std()) == pytest.approx(33**-0.5, rel=0.12)


def test_a_new_model_keeps_a_head_that_is_there(saved):
    kept = load_file(saved / "model.safetensors")["score.weight"]
    assert torch.equal(new_reward_model(str(saved), seed=5).core.score.weight, kept)


def test_a_new_model_gets_a_pad_token_of_its_own(saved, tmp_path):
    edit_json(saved / "tokenizer_config.json", pad_token="<|end|>")
    (saved / "plaudit.json").unlink()
    model = new_reward_model(str(saved), seed=0)
    assert model.tokenizer.pad_token_id != model.tokenizer.eos_token_id
    assert model.recipe.pad_token == model.core.config.pad_token_id == model.tokenizer.pad_token_id
    save_reward_model(model, tmp_path / "again")
    load_reward_model(str(tmp_path / "again"))


def test_the_plain_template_is_taken_and_announced_where_the_tokenizer_has_none(saved, caplog):
    (saved / "plaudit.json").unlink()
    (saved / "chat_template.jinja").unlink()
    assert new_reward_model(str(saved), seed=0).recipe.chat_template.startswith(NAMED_TEMPLATES["plain"])
    assert f"{saved} has no chat template; the plain one is used" in caplog.text
    with pytest.raises(ModelError, match="did you mean 'plain'"):
        new_reward_model(str(saved), seed=0, chat_template="plane")
    assert new_reward_model(str(saved), seed=0, chat_template="plain").recipe.chat_template.startswith(
        NAMED_TEMPLATES["plain"]
    )


def test_a_longer_limit_than_the_model_has_positions_is_refused(saved):
    with pytest.raises(ModelError, match=r"max_length is 129, but .* positions for 128 tokens only"):
        new_reward_model(str(saved), seed=0, max_length=129)


def test_dropout_is_off_in_a_new_model(saved, tmp_path):
    edit_json(saved / "config.json", attention_dropout=0.3)
    model = new_reward_model(str(saved), seed=0)
    assert model.core.config.attention_dropout == 0.0
    assert all(layer.self_attn.attention_dropout == 0.0 for layer in model.core.model.layers)


def test_dropout_is_off_where_no_field_of_the_config_names_it(tokenizer, tmp_path):
    # the token classifier of GPT-2 drops a tenth of its units when the config says nothing
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64, "pad_token_id": tokenizer.pad_token_id}
    config = GPT2Config(vocab_size=len(tokenizer), **sizes)
    GPT2Model(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    head = TokenHead(classes=(0.0, 1.0))
    model = new_reward_model(str(tmp_path / "gpt2"), seed=0, head=head, max_length=64)
    rates = [module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    assert rates
    assert set(rates) == {0.0}


def test_gradient_checkpointing_calls_nothing_that_transformers_warns_of(make_decoder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_decoder().gradient_checkpointing_enable()


def test_a_half_precision_head_in_several_files_is_restored_from_the_hub(saved, tmp_path, monkeypatch):
    whole, _ = load_reward_model(str(saved), layout="padded")
    whole.core.save_pretrained(saved, max_shard_size="20KB")
    (saved / "model.safetensors").unlink()
    assert len(list(saved.glob("model-*.safetensors"))) > 1
    half, _ = load_reward_model(str(saved), layout="padded", dtype="bfloat16")
    assert torch.equal(half.core.score.weight, whole.core.score.weight)
    half.core.score.weight.data.zero_()
    # of a hub id only the names of files are known, and each is asked for
    asked = []

    def cached_file(source, name, **options):
        asked.append((source, name))
        return str(saved / name) if (saved / name).exists() else None

    monkeypatch.setattr("plaudit.models.backbone.cached_file", cached_file)
    restore_head(half.core, "someone/model")
    assert {source for source, _ in asked} == {"someone/model"}
    assert torch.equal(half.core.score.weight, whole.core.score.weight)


def test_a_layout_asked_for_by_name_must_be_exact(saved, monkeypatch):
    from plaudit.models import parity

    monkeypatch.setattr(parity, "_fault_of_tree", lambda *_: "a fault")
    with pytest.raises(LayoutError, match="layout: shared_prefix is not exact for LlamaForSequenceClassification"):
        load_reward_model(str(saved), layout="shared_prefix")
    model, proof = load_reward_model(str(saved), layout="auto")
    assert model.layout == proof.layout == "padded"
    assert "shared_prefix is not exact here" in proof.reason


# ---------------------------------------------------------------------------------- weights that torch pickled


def as_pytorch_model(folder):
    """Write the weights of a checkpoint as older tools do, instead of as safetensors."""
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_torch_pickled_give_the_same_rewards(saved, dtype):
    wanted, _ = load_reward_model(str(saved), dtype=dtype)
    as_pytorch_model(saved)
    found, _ = load_reward_model(str(saved), dtype=dtype)
    assert found.core.score.weight.dtype == torch.float32
    for name, weight in wanted.named_parameters():
        assert torch.equal(weight, found.get_parameter(name)), name


class _Runs:
    def __reduce__(self):
        return (print, ("this code would run",))


def test_code_in_pickled_weights_is_not_run(saved, capsys):
    as_pytorch_model(saved)
    torch.save({"score.weight": _Runs()}, saved / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot load a reward model"):
        load_reward_model(str(saved))
    assert "would run" not in capsys.readouterr().out
