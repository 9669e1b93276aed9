"""Of an ODIN model the quality head alone is left, on decoders, encoders and under adapters; nothing else changes."""

from __future__ import annotations

import copy

import pytest
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.models.backbone import head_parameters
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.create import add_lora, merge_lora, new_reward_model
from plaudit.models.heads.head import AttributesHead
from plaudit.models.heads.odin import OdinHead
from plaudit.models.heads.token import TokenHead

pytestmark = pytest.mark.filterwarnings("ignore")


def outputs_of(model, groups):
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    with torch.no_grad():
        return model(build_batch(encoded, layout=model.layout, pad_id=model.recipe.pad_token))


@pytest.fixture(params=["decoder", "encoder"])
def odin(request, make_decoder, tokenizer, tmp_path):
    """A saved backbone, and an ODIN model made from it."""
    if request.param == "decoder":
        save_reward_model(make_decoder(), tmp_path / "base")
        source = new_reward_model(str(tmp_path / "base"), seed=0)
        source.core.model.save_pretrained(tmp_path / "base")
        source.tokenizer.save_pretrained(tmp_path / "base")
        (tmp_path / "base" / "plaudit.json").unlink()
    else:
        import transformers

        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
        sizes |= {"vocab_size": len(tokenizer), "max_position_embeddings": 130, "pad_token_id": tokenizer.pad_token_id}
        network = transformers.AutoModel.from_config(transformers.RobertaConfig(**sizes))
        network.save_pretrained(tmp_path / "base")
        copy.deepcopy(tokenizer).save_pretrained(tmp_path / "base")
    return new_reward_model(str(tmp_path / "base"), seed=0, head=OdinHead(), max_length=120).eval()


@pytest.mark.parametrize("adapters", ["none", "apart", "merged"])
def test_the_reward_is_that_of_the_quality_head_and_reloads_as_a_scalar_model(odin, make_groups, tmp_path, adapters):
    model, groups = odin, make_groups(3)
    if adapters != "none":
        model = add_lora(model, rank=2, alpha=4, dropout=0.0, targets="all-linear").eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.05 * weight.requires_grad
    if adapters == "merged":
        model = merge_lora(model).eval()
    both = outputs_of(model, groups).attributes
    assert float((both[:, 0] - both[:, 1]).abs().min()) > 1e-4
    alone = model.head.finished(model).eval()
    assert float((outputs_of(alone, groups).response - both[:, 0]).abs().max()) <= 5e-7
    assert alone.recipe.head == "scalar"
    save_reward_model(alone, tmp_path / "model")
    again, _ = load_reward_model(str(tmp_path / "model"), layout="padded")
    assert again.core.config.num_labels == 1
    assert {weight.shape[0] for _, weight in head_parameters(again.core)} <= {1, 32}
    assert float((outputs_of(again, groups).response - both[:, 0]).abs().max()) <= 2e-6


def test_any_other_model_is_left_as_it_is(make_decoder):
    model = make_decoder(head=AttributesHead(attributes=("a", "b")))
    assert model.head.finished(model) is model
    assert model.core.score.weight.shape[0] == 2


@pytest.mark.parametrize("odin", ["encoder"], indirect=True)
def test_encoders_read_tokens_too(odin, make_labelled_groups, tmp_path):
    head = TokenHead(classes=(-1.0, 0.0, 1.0))
    model = new_reward_model(str(tmp_path / "base"), seed=0, head=head, max_length=120).eval()
    groups = make_labelled_groups(3)
    steps = outputs_of(model, groups).steps
    alone = torch.cat([outputs_of(model, [group]).steps for group in groups])
    assert steps.shape == (sum(len(each) for group in groups for each in group.steps), 3)
    assert float((steps - alone).abs().max()) <= 2e-6
    save_reward_model(model, tmp_path / "model")
    again, _ = load_reward_model(str(tmp_path / "model"))
    assert float((outputs_of(again, groups).steps - steps).abs().max()) <= 2e-6
