"""The average of checkpoints is the mean of their tensors, and is made of like models only."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from plaudit.errors import ConfigError, ModelError
from plaudit.models.checkpoint.average import average_models
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.recipe import RECIPE_FILE
from plaudit.models.create import add_lora
from plaudit.models.heads.head import AttributesHead
from plaudit.models.heads.language_model import LanguageModelHead

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture
def saved_as(make_decoder, tmp_path):
    """Return a function that saves a tiny model, and returns its folder."""

    def save(name, **changes):
        save_reward_model(make_decoder(**({"num_layers": 1} | changes)), tmp_path / name)
        return str(tmp_path / name)

    return save


def weights_in(folder):
    return load_file(f"{folder}/model.safetensors")


def test_every_tensor_is_the_arithmetic_mean_and_transformers_loads_it(saved_as, tmp_path):
    folders = [saved_as(f"m{seed}", seed=seed) for seed in range(3)]
    save_reward_model(average_models(folders), tmp_path / "out")
    found, members = weights_in(tmp_path / "out"), [weights_in(folder) for folder in folders]
    assert found.keys() == members[0].keys()
    for name, weight in found.items():
        wanted = sum(member[name].double() for member in members) / 3
        torch.testing.assert_close(weight.double(), wanted, rtol=1e-7, atol=1e-9)
        # the seeds differ, so that a copy of a member would not pass; norms all begin at 1
        assert ("norm" in name) == torch.equal(weight, members[0][name])
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(theirs.score.weight.detach(), found["score.weight"], rtol=0, atol=0)
    ours, _ = load_reward_model(str(tmp_path / "out"))
    assert ours.recipe == load_reward_model(folders[0])[0].recipe


def test_weights_are_shares_of_their_sum(saved_as):
    folders = [saved_as("a", seed=0), saved_as("b", seed=1)]
    first, second = (weights_in(folder)["score.weight"] for folder in folders)
    found = average_models(folders, weights=[3, 1]).core.score.weight
    torch.testing.assert_close(found.detach(), (3 * first + second) / 4, rtol=1e-6, atol=1e-8)
    alone = average_models(folders, weights=[0.0, 2.0]).core.score.weight
    assert torch.equal(alone.detach(), second)


def test_the_average_of_a_model_with_itself_is_the_model_bit_for_bit(saved_as):
    folder = saved_as("a")
    found = average_models([folder] * 3).core.state_dict()
    for name, weight in weights_in(folder).items():
        assert torch.equal(found[name], weight)


def test_half_precision_is_rounded_once_and_not_with_every_addition(make_decoder, tmp_path):
    """8 and seven times 0.03: in bfloat16, where numbers near 8 are 1/16 apart, each addition alone is lost."""
    folders = []
    for number in range(8):
        model = make_decoder(num_layers=1)
        model.network.to(torch.bfloat16)
        model.recipe = model.recipe.model_copy(update={"dtype": "bfloat16"})
        torch.nn.init.constant_(model.core.model.norm.weight, 8.0 if number == 0 else 0.03)
        save_reward_model(model, tmp_path / f"m{number}")
        folders.append(str(tmp_path / f"m{number}"))
    found = average_models(folders).core.model.norm.weight.detach()
    assert found.dtype == torch.bfloat16
    members = torch.tensor([8.0] + [0.03] * 7, dtype=torch.bfloat16)
    added = members[0]
    for member in members[1:]:
        added = added + member
    assert added / 8 == 1.0
    # (8 + 7 * 0.03) / 8 = 1.026, and near 1 numbers are 1/128 apart
    assert float(found[0]) == pytest.approx(1.0263, abs=1 / 256)


def test_adapters_are_merged_before_they_are_averaged(make_decoder, tmp_path):
    save_reward_model(make_decoder(), tmp_path / "base")
    folders = []
    for seed in (1, 2):
        base, _ = load_reward_model(str(tmp_path / "base"), layout="padded")
        model = add_lora(base, rank=2, alpha=4, dropout=0.0, targets=("q_proj",), seed=seed)
        for name, weight in model.network.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        save_reward_model(model, tmp_path / f"lora{seed}")
        folders.append(str(tmp_path / f"lora{seed}"))
    found = average_models(folders).core.state_dict()["model.layers.0.self_attn.q_proj.weight"]
    base = weights_in(tmp_path / "base")["model.layers.0.self_attn.q_proj.weight"]
    deltas, factors = [], []
    for folder in folders:
        read = load_file(f"{folder}/adapter_model.safetensors")
        down, up = (
            next(value for key, value in read.items() if f"layers.0.self_attn.q_proj.lora_{side}" in key)
            for side in "AB"
        )
        deltas.append(2.0 * up @ down)
        factors.append((up, down))
    torch.testing.assert_close(found, base + (deltas[0] + deltas[1]) / 2, rtol=1e-5, atol=1e-6)
    # the product of averaged factors is another matrix
    (up, down), (other_up, other_down) = factors
    product = 2.0 * ((up + other_up) / 2) @ ((down + other_down) / 2)
    assert (base + product - found).abs().max() > 1e-3


def test_the_gain_and_the_bias_of_a_single_class_word_are_averaged_too(make_decoder, tmp_path):
    head = LanguageModelHead(class_words=("a",))
    folders = []
    for number, (gain, bias) in enumerate(((1.0, 0.5), (3.0, -1.5))):
        model = make_decoder(num_layers=1, head=head)
        model.gain_and_bias.data = torch.tensor([gain, bias])
        save_reward_model(model, tmp_path / f"m{number}")
        folders.append(str(tmp_path / f"m{number}"))
    model = average_models(folders)
    save_reward_model(model, tmp_path / "out")
    again, _ = load_reward_model(str(tmp_path / "out"))
    assert (again.recipe.gain, again.recipe.bias) == (2.0, -0.5)
    assert again.recipe == model.recipe


# ---------------------------------------------------------------------------------- what is refused


def unverified(folder):
    """Make the recipe one of a version that kept no hashes of the files beside it."""
    record = json.loads((folder / "plaudit.json").read_text())
    (folder / "plaudit.json").write_text(json.dumps(record | {"tokenizer_hash": None, "config_hash": None}))


def refused(folders, words):
    with pytest.raises(ModelError, match=words) as found:
        average_models(folders)
    assert folders[1] in str(found.value)


def test_models_that_differ_in_more_than_weights_are_refused_with_the_first_difference(saved_as):
    first = saved_as("first")
    refused([first, saved_as("long", max_length=64)], "the recipes differ in max_length: 64 where the first has 128")
    two = saved_as("two", head=AttributesHead(attributes=("x",)))
    refused([first, two], "the recipes differ in head: 'attributes' where the first has 'scalar'")
    refused([first, saved_as("wide", hidden_size=64)], "the configs differ in hidden_size: 64 where the first has 32")
    refused([first, saved_as("deep", num_layers=2)], "the configs differ in .*layer")


def test_a_config_that_computes_something_else_from_weights_of_the_same_shape_is_refused(saved_as, tmp_path):
    first, second = saved_as("first"), saved_as("second")
    config = tmp_path / "second" / "config.json"
    record = json.loads(config.read_text())
    config.write_text(json.dumps(record | {"rms_norm_eps": 1e-3}))
    unverified(tmp_path / "second")
    refused([first, second], "the configs differ in rms_norm_eps")


def test_another_tokenizer_of_the_same_size_is_refused_with_the_first_token_that_differs(saved_as, tmp_path):
    first, second = saved_as("first"), saved_as("second")
    path = tmp_path / "second" / "tokenizer.json"
    record = json.loads(path.read_text())
    vocabulary = record["model"]["vocab"]
    a, b = "c", "d"
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    path.write_text(json.dumps(record))
    unverified(tmp_path / "second")
    assert len(AutoTokenizer.from_pretrained(second)) == len(AutoTokenizer.from_pretrained(first))
    refused([first, second], r"the tokenizers differ: '[cd]' is token \d+ of one and \d+ of the other")


def test_a_model_that_lacks_a_weight_is_refused(saved_as, tmp_path):
    first, second = saved_as("first"), saved_as("second")
    weights = weights_in(second)
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "second" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"second lacks model\.layers\.0\.mlp\.up_proj\.weight"):
        average_models([first, second])


def test_attributes_of_other_units_are_refused_and_those_of_the_same_keep_them(make_decoder, tmp_path):
    folders = []
    for name, scales in (("a", (10.0, 0.1)), ("b", (10.0, 0.1)), ("c", (10.0, 0.2))):
        model = make_decoder(num_layers=1, head=AttributesHead(attributes=("x", "y")))
        units = {"attribute_scales": scales, "attribute_locations": (50.0, 0.5)}
        model.recipe = model.recipe.model_copy(update=units)
        save_reward_model(model, tmp_path / name)
        folders.append(str(tmp_path / name))
    kept = average_models(folders[:2]).recipe
    assert (kept.attribute_scales, kept.attribute_locations) == ((10.0, 0.1), (50.0, 0.5))
    refused([folders[0], folders[2]], r"the recipes differ in attribute_scales: \[10.0, 0.2\] where the first has")


def test_a_recipe_that_reads_rewards_by_another_template_is_refused(saved_as, tmp_path):
    first, second = saved_as("first"), saved_as("second")
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    (tmp_path / "second" / "chat_template.jinja").write_text(template)
    path = tmp_path / "second" / RECIPE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))
    refused([first, second], "the recipes differ in chat_template")


def test_weights_and_models_that_make_no_average_are_refused():
    with pytest.raises(ConfigError, match="at least two models, not 1"):
        average_models(["a"])
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ConfigError, match="weights"):
            average_models(["a", "b"], weights=weights)
