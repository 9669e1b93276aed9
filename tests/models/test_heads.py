"""What the vocabulary head says is what transformers says, scaled and capped as each family does."""

from __future__ import annotations

import pytest
import torch
import transformers

from plaudit.batching.batch import build_batch
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.heads.language_model import LanguageModelHead, is_tied, keep_language_model, token_log_likelihood
from plaudit.models.parity import prove_layout
from plaudit.models.reward_model import RewardModel

pytestmark = pytest.mark.filterwarnings("ignore")
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": None,
}
FAMILIES = {
    "llama": ("LlamaConfig", {}),
    "llama, tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "gemma 2, soft cap": ("Gemma2Config", {"head_dim": 8, "final_logit_softcapping": 0.5}),
    "cohere, scale": ("CohereConfig", {"logit_scale": 0.25}),
    "granite, divisor": ("GraniteConfig", {"logits_scaling": 4.0}),
    "phi, bias": ("PhiConfig", {}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "opt": ("OPTConfig", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "gpt-neox": ("GPTNeoXConfig", {}),
    "qwen 3": ("Qwen3Config", {"head_dim": 8}),
}
TOKENS = (7, 40, 11)


@pytest.fixture
def build(tokenizer):
    def make(name, words=TOKENS, **changes):
        kind, fields = FAMILIES[name]
        torch.manual_seed(0)
        config = getattr(transformers, kind)(**(SIZES | fields | changes))
        network = transformers.AutoModelForCausalLM.from_config(config)
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.15)
        recipe = ScoringRecipe(
            chat_template="{{ messages }}",
            special_tokens=False,
            final_token=None,
            pad_token=0,
            vocabulary=96,
            max_length=128,
            truncation="drop",
            read_out="last_token",
            head="language_model",
            class_tokens=words,
            gain=0.5,
            bias=-2.0,
            architecture=type(network).__name__,
            dtype="float32",
        )
        return RewardModel(network, tokenizer, recipe).eval()

    return make


def logits_of(model, batch):
    with torch.no_grad():
        return model.core(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits.float()


@pytest.mark.parametrize("name", FAMILIES)
def test_class_words_and_texts_are_as_likely_as_transformers_says(build, make_token_group, name):
    model = build(name)
    batch = build_batch([make_token_group(0, 9, [5, 3, 8])], layout="padded", pad_id=0, tokens=True)
    wanted = torch.log_softmax(logits_of(model, batch).flatten(0, 1), dim=-1)
    with torch.no_grad():
        hidden = model.hidden_states(batch)
        classes = model.outputs_from(hidden[batch.response_end])
    assert float((classes - wanted[batch.response_end][:, TOKENS]).abs().max()) <= 2e-6
    assert float(classes.std()) > 1e-2
    model.tells_likelihood = True
    with torch.no_grad():
        told = model(batch).log_likelihood
    ids = batch.input_ids.flatten()[batch.token_at]
    assert float((told - wanted[batch.token_before, ids]).abs().max()) <= 2e-6
    head = model.core.get_output_embeddings()
    direct = token_log_likelihood(model.core, head, hidden[batch.token_before], ids)
    assert float((told - direct).abs().max()) <= 2e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_a_single_word_is_its_logit_with_gain_and_bias(build, make_token_group, name):
    model = build(name, words=(40,))
    batch = build_batch([make_token_group(0, 9, [5, 3, 8])], layout="padded", pad_id=0)
    wanted = 0.5 * logits_of(model, batch).flatten(0, 1)[batch.response_end, 40] - 2.0
    with torch.no_grad():
        assert float((model(batch).response - wanted).abs().max()) <= 2e-6


def test_a_soft_cap_that_is_left_out_would_be_seen(build, make_token_group):
    model = build("gemma 2, soft cap")
    batch = build_batch([make_token_group(0, 9, [5, 3, 8])], layout="padded", pad_id=0)
    wanted = torch.log_softmax(logits_of(model, batch).flatten(0, 1), dim=-1)[batch.response_end][:, TOKENS]
    model.core.config.final_logit_softcapping = None
    with torch.no_grad():
        assert float((model.outputs_from(model.features(batch)) - wanted).abs().max()) > 1e-2


@pytest.mark.parametrize("name", ["llama", "llama, tied", "gpt2", "phi, bias", "gpt-neox"])
def test_the_shared_layout_is_proved_for_language_models_too(build, name):
    assert prove_layout(build(name), "shared_prefix").exact


# --------------------------------------------------------------------------------- heads that are kept


@pytest.mark.parametrize("name", ["llama", "llama, tied", "phi, bias", "gpt2"])
def test_a_reward_model_keeps_the_vocabulary_head_of_the_model_it_was_made_from(
    build, make_token_group, tmp_path, name, tokenizer
):
    from plaudit.models.create import new_reward_model

    source = build(name, vocab_size=len(tokenizer))
    source.core.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    model = new_reward_model(str(tmp_path / "lm"), seed=0)
    keep_language_model(model, str(tmp_path / "lm"))
    assert is_tied(model) == (name in ("llama, tied", "gpt2"))
    batch = build_batch([make_token_group(0, 9, [5, 3, 8])], layout="padded", pad_id=0, tokens=True)
    source.tells_likelihood = True
    with torch.no_grad():
        told, wanted = model(batch), source(batch).log_likelihood
    assert told.response.shape == (3,)
    assert float((told.log_likelihood - wanted).abs().max()) <= 2e-6


def test_the_head_is_trained_with_the_backbone_and_frozen_under_adapters(make_decoder):
    from plaudit.models.create import add_lora

    whole, adapted = make_decoder(), add_lora(make_decoder(), rank=2, alpha=4, dropout=0.0, targets="all-linear")
    for model, trained in ((whole, True), (adapted, False)):
        keep_language_model(model, None)
        assert is_tied(model)
        assert all(weight.requires_grad == trained for weight in model.language_head.parameters())
    names = [name for name, _ in whole.named_parameters()]
    assert len(names) == len(set(names))
    assert "language_head.weight" not in names


@pytest.mark.parametrize("form", ["conversation", "turns", "one_turn", "comparison"])
def test_two_classes_of_one_word_are_refused(make_decoder, form):
    from plaudit.errors import ModelError

    head = LanguageModelHead(classes=(0.0, 1.0), class_words=("+", "+"), form=form)
    with pytest.raises(ModelError, match=r"the class words '\+', '\+' are the tokens .*; each class needs a token of"):
        make_decoder(head=head)


def test_a_source_without_a_vocabulary_head_is_refused(make_decoder, tmp_path):
    from plaudit.errors import ModelError
    from plaudit.models.checkpoint.files import save_reward_model
    from plaudit.models.create import new_reward_model

    save_reward_model(make_decoder(), tmp_path / "scalar")
    model = new_reward_model(str(tmp_path / "scalar"), seed=0)
    with pytest.raises(ModelError, match=r"holds no vocabulary head \(it lacks lm_head\.weight\)"):
        keep_language_model(model, str(tmp_path / "scalar"))
    words = LanguageModelHead(classes=(0.0, 1.0), class_words=("-", "+"))
    with pytest.raises(ModelError, match="by which class words are predicted; start from a causal"):
        new_reward_model(str(tmp_path / "scalar"), seed=0, head=words)


def test_in_half_precision_no_probability_of_a_word_exceeds_one(make_decoder, tokenizer):
    from plaudit.models.heads.language_model import LanguageModelHead, class_log_probabilities

    words = tuple(tokenizer.convert_ids_to_tokens(k) for k in (20, 30))
    model = make_decoder(head=LanguageModelHead(class_words=words))
    core = model.core.bfloat16()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        head = core.get_output_embeddings().weight
        head.copy_(torch.randn(head.shape, generator=generator))
        # hidden states that point along the weights of a word make it almost certain, its log-probability almost 0
        hidden = head[[20] * 40 + [30] * 40] * torch.linspace(0.3, 1.5, 80)[:, None].bfloat16()
        found = class_log_probabilities(core, hidden, (20, 30))
        wanted = torch.log_softmax(hidden.double() @ head.double().T, dim=-1)[:, [20, 30]]
    assert found.dtype == torch.float32
    assert found.max() <= 0
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    rounded = torch.logsumexp((hidden @ head.T).float(), dim=-1)
    assert ((hidden.float() * head[[20] * 40 + [30] * 40].float()).sum(-1) - rounded).max() > 0.01
