"""Classes that hold a head: plaudit's own on the text backbone, those that also read images, old token heads."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

from plaudit.batching.batch import build_batch
from plaudit.errors import ConfigError, ModelError
from plaudit.models.backbone import load_config_of
from plaudit.models.checkpoint.files import load_language_model, load_reward_model, save_reward_model
from plaudit.models.classes import network_class
from plaudit.models.create import CHAT_TEMPLATE, add_lora, new_reward_model
from plaudit.models.heads.head import HeadSpec
from plaudit.models.heads.language_model import LanguageModelHead
from plaudit.models.heads.token import TokenHead
from plaudit.models.parity import choose_layout
from plaudit.models.positions import longest_conversation

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TEXT = {
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}


@pytest.fixture
def base(tmp_path, tokenizer):
    """Return a function that writes a random model of a config, as an Auto class makes it, and returns its folder."""

    def write(config, auto=transformers.AutoModelForCausalLM):
        torch.manual_seed(0)
        network = auto.from_config(config)
        for weight in network.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.15)
        network.save_pretrained(tmp_path / "base")
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.save_pretrained(tmp_path / "base")
        return str(tmp_path / "base"), network

    return write


def granite():
    fields = {name: value for name, value in TEXT.items() if name != "head_dim"}
    return transformers.GraniteConfig(**fields, logits_scaling=4.0, residual_multiplier=0.5)


def olmoe():
    return transformers.OlmoeConfig(**TEXT, num_experts=4, num_experts_per_tok=2)


def mistral3():
    text = {"model_type": "mistral", **TEXT}
    vision = {"model_type": "pixtral", "head_dim": 16, **VISION}
    return transformers.Mistral3Config(text_config=text, vision_config=vision)


def gemma3():
    text = TEXT | {"sliding_window": 7}
    return transformers.Gemma3Config(text_config=text, vision_config={**VISION, "vision_use_head": False})


def rewards_of(model, groups):
    with torch.no_grad():
        return model(build_batch(groups, layout=model.layout, pad_id=model.recipe.pad_token)).response


# --------------------------------------------------------------------------------- a classifier of plaudit's own


@pytest.mark.parametrize(("config", "name"), [(granite, "Granite"), (olmoe, "Olmoe")])
def test_a_decoder_without_a_sequence_class_gets_one_that_is_saved_and_loaded(
    base, hard_token_groups, tmp_path, caplog, config, name
):
    source, network = base(config())
    model = new_reward_model(source, seed=0).eval()
    assert f"transformers has no {name}ForSequenceClassification; the model is saved in that layout" in caplog.text
    assert choose_layout(model, "auto").layout == "shared_prefix"
    groups = hard_token_groups
    batch = build_batch(groups, layout="padded", pad_id=0)
    with torch.no_grad():
        found = network.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        wanted = (found.flatten(0, 1)[batch.response_end] @ model.core.score.weight.T)[:, 0]
    torch.testing.assert_close(rewards_of(model, groups), wanted, rtol=0, atol=2e-5)

    save_reward_model(model, tmp_path / "saved")
    assert json.loads((tmp_path / "saved/config.json").read_text())["architectures"] == [
        f"{name}ForSequenceClassification"
    ]
    again, proof = load_reward_model(str(tmp_path / "saved"))
    assert proof.layout == "shared_prefix"
    assert torch.equal(rewards_of(again, groups), rewards_of(model, groups))
    with pytest.raises(ValueError, match="Unrecognized configuration class"):
        transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")


def test_adapters_of_such_a_classifier_come_back(base, hard_token_groups, tmp_path):
    source, _ = base(granite())
    model = add_lora(new_reward_model(source, seed=0), rank=2, alpha=4, dropout=0.0, targets="all-linear")
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data += 0.05
    save_reward_model(model.eval(), tmp_path / "adapter")
    again, _ = load_reward_model(str(tmp_path / "adapter"), layout="padded")
    torch.testing.assert_close(
        rewards_of(again, hard_token_groups), rewards_of(model, hard_token_groups), rtol=0, atol=1e-6
    )


def test_a_process_model_of_such_a_decoder_is_saved_and_loaded(base, tmp_path):
    source, _ = base(granite())
    model = new_reward_model(source, seed=0, head=TokenHead(classes=(0.0, 1.0)))
    save_reward_model(model, tmp_path / "saved")
    again, proof = load_reward_model(str(tmp_path / "saved"))
    assert type(again.core).__name__ == "GraniteForTokenClassification"
    assert proof.layout == "shared_prefix"
    assert torch.equal(again.core.score.weight, model.core.score.weight)


def test_a_model_that_reads_images_becomes_a_classifier_of_its_text(base, hard_token_groups, tmp_path):
    source, network = base(mistral3(), transformers.AutoModelForImageTextToText)
    model = new_reward_model(source, seed=0).eval()
    assert type(model.core) is transformers.MistralForSequenceClassification
    for name, weight in network.model.language_model.named_parameters():
        assert torch.equal(weight, model.core.model.get_parameter(name)), name
    save_reward_model(model, tmp_path / "saved")
    again, _ = load_reward_model(str(tmp_path / "saved"))
    torch.testing.assert_close(
        rewards_of(again.eval(), hard_token_groups), rewards_of(model, hard_token_groups), rtol=0, atol=1e-5
    )
    plain = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert torch.equal(plain.score.weight, model.core.score.weight)


def test_where_no_class_can_be_made_the_head_that_works_is_named():
    config = transformers.BertConfig()
    config.model_type = "bert"

    class Unknown(transformers.PreTrainedConfig):
        model_type = "unheard_of"

    with pytest.raises(ModelError, match="the model type 'unheard_of' has no class for this head in transformers"):
        network_class(Unknown(), HeadSpec())
    Unknown.model_type = "llama"
    with pytest.raises(ModelError, match=r"head: \{type: language_model\} works for it"):
        network_class(Unknown(), HeadSpec())


# --------------------------------------------------------------------------------- language form beside images


def test_the_language_form_of_a_model_that_reads_images_comes_back(base, tokenizer, hard_token_groups, tmp_path):
    source, _ = base(gemma3())
    word = tokenizer.convert_ids_to_tokens(20)
    head = LanguageModelHead(class_words=(word,))
    model = new_reward_model(source, seed=0, head=head).eval()
    assert type(model.core).__name__ == "Gemma3ForConditionalGeneration"
    save_reward_model(model, tmp_path / "saved")
    again, proof = load_reward_model(str(tmp_path / "saved"))
    assert proof.layout == "shared_prefix"
    again.use_layout("padded")
    assert torch.equal(rewards_of(again, hard_token_groups), rewards_of(model, hard_token_groups))


def test_dpo_takes_a_base_that_also_reads_images(base):
    source, network = base(gemma3())
    model, proof = load_language_model(source)
    assert type(model.core) is type(network)
    assert proof.layout == "shared_prefix"


def test_all_linear_leaves_the_vision_tower_alone(base):
    source, _ = base(gemma3())
    model = add_lora(new_reward_model(source, seed=0), rank=2, alpha=4, dropout=0.0, targets="all-linear")
    adapted = [name for name, _ in model.named_parameters() if "lora_A" in name]
    assert len(adapted) == 2 * 7
    assert all("language_model.layers" in name for name in adapted)


# --------------------------------------------------------------------------------- chance in training, routers


def test_a_router_neither_draws_noise_nor_breaks_adapters(base, hard_token_groups):
    fields = {name: value for name, value in TEXT.items() if name != "head_dim"}
    source, _ = base(transformers.PhimoeConfig(**fields, num_local_experts=4, num_experts_per_tok=2))
    config = load_config_of(source)
    assert config.router_jitter_noise > 0
    model = new_reward_model(source, seed=0).train()
    assert torch.equal(rewards_of(model, hard_token_groups), rewards_of(model, hard_token_groups))
    model = add_lora(model, rank=2, alpha=4, dropout=0.0, targets="all-linear").train()
    rewards = model(build_batch(hard_token_groups, layout="padded", pad_id=0)).response
    rewards.sum().backward()
    assert not any("router" in name and "lora" in name for name, _ in model.named_parameters())


# --------------------------------------------------------------------------------- positions


def roberta():
    return transformers.RobertaConfig(
        vocab_size=512, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=66, type_vocab_size=1,
    )  # fmt: skip


def gpt2():
    return transformers.GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2, n_positions=64)


def mpt():
    return transformers.MptConfig(vocab_size=512, d_model=32, n_layers=1, n_heads=4, max_seq_len=64)


def opt():
    return transformers.OPTConfig(
        vocab_size=512, hidden_size=32, ffn_dim=48, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=64, word_embed_proj_dim=32,
    )  # fmt: skip


@pytest.mark.parametrize("config", [roberta, gpt2, mpt, opt])
def test_positions_are_found_under_every_name_and_all_of_them_can_be_used(base, make_token_group, config):
    source, _ = base(config(), transformers.AutoModel if config is roberta else transformers.AutoModelForCausalLM)
    model = new_reward_model(source, seed=0).eval()
    assert longest_conversation(model.core, model.tokenizer) == 64
    assert model.recipe.max_length == 64
    longest = rewards_of(model, [make_token_group(0, 60, [4])])
    assert longest.isfinite().all()
    with pytest.raises(ModelError, match=r"max_length is 65, but .* has positions for 64 tokens only"):
        new_reward_model(source, seed=0, max_length=65)


def test_a_rotary_embedding_that_changes_gives_its_own_reason(base):
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}
    source, _ = base(transformers.LlamaConfig(**TEXT, rope_parameters=rope))
    with pytest.raises(ModelError, match="takes 64 tokens at most: beyond them its dynamic rotary embedding changes"):
        new_reward_model(source, seed=0, max_length=200)
    from plaudit.scoring.local.engine import change_lengths

    model = new_reward_model(source, seed=0)
    with pytest.raises(ConfigError, match="m takes 64 tokens at most"):
        change_lengths(model, 200, None, name="m")


# --------------------------------------------------------------------------------- token heads named classifier


@pytest.mark.parametrize("kind", ["GPT2Config", "GPTNeoXConfig", "GPTBigCodeConfig", "BioGptConfig"])
def test_token_heads_of_decoders_share_prefixes_under_any_name(base, hard_token_groups, tmp_path, kind):
    fields = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"GPTNeoXConfig": {"intermediate_size": 48}, "BioGptConfig": {"intermediate_size": 48}}
    source, _ = base(getattr(transformers, kind)(**fields, **more.get(kind, {}), max_position_embeddings=256))
    model = new_reward_model(source, seed=0, head=TokenHead()).eval()
    assert model.recipe.read_out == "last_token"
    assert choose_layout(model, "auto").layout == "shared_prefix"
    shared = rewards_of_outcome(model, hard_token_groups)
    model.use_layout("padded")
    torch.testing.assert_close(rewards_of_outcome(model, hard_token_groups), shared, rtol=0, atol=1e-5)
    save_reward_model(model, tmp_path / "saved")
    again, proof = load_reward_model(str(tmp_path / "saved"))
    assert proof.layout == "shared_prefix"
    torch.testing.assert_close(rewards_of_outcome(again, hard_token_groups), shared, rtol=0, atol=1e-5)


def rewards_of_outcome(model, groups):
    with torch.no_grad():
        batch = build_batch(groups, layout=model.layout, pad_id=model.recipe.pad_token, tokens=True)
        found = model(batch)
        return torch.cat([found.response, found.tokens])


@pytest.fixture
def hard_token_groups(make_token_group):
    """Groups of several responses, of one, and of one token."""
    return [make_token_group(0, 12, [9, 1, 4]), make_token_group(1, 1, [3, 11]), make_token_group(2, 30, [2])]


# --------------------------------------------------------------------------------- what a class cannot do


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dpo_refuses_a_language_model_that_reads_ahead(base, dtype):
    """The probability of a token that the model is shown is no likelihood."""
    fields = TEXT | {"sliding_window": 64}
    source, _ = base(transformers.Gemma3TextConfig(**fields, use_bidirectional_attention=True))
    with pytest.raises(ModelError, match=r"Gemma3ForCausalLM .* reads ahead: hidden states move by .* choose a causal"):
        load_language_model(source, dtype=dtype)
    source, _ = base(transformers.Gemma3TextConfig(**fields))
    model, _ = load_language_model(source, dtype=dtype)
    assert model.recipe.architecture == "Gemma3ForCausalLM"


@pytest.mark.parametrize("name", ["Albert", "MPNet"])
def test_checkpointing_that_transformers_cannot_do_is_refused_with_the_setting(base, name):
    sizes = {key: TEXT[key] for key in ("vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings")}
    config = getattr(transformers, f"{name}Config")(
        **sizes, num_hidden_layers=2, num_attention_heads=4, embedding_size=32, pad_token_id=0
    )
    source, _ = base(config, transformers.AutoModel)
    model = new_reward_model(source, seed=0)
    with pytest.raises(ModelError, match=rf"{name}.* does not support .* set step\.gradient_checkpointing to false"):
        model.gradient_checkpointing_enable()
