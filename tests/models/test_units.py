"""The affine by which the outputs of a standardised head become ratings: part of the recipe, applied everywhere."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from plaudit.batching.batch import build_batch
from plaudit.errors import CheckpointError
from plaudit.models.backbone import head_hash
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.recipe import RECIPE_FILE
from plaudit.models.create import add_lora, merge_lora
from plaudit.models.heads.head import AttributesHead
from plaudit.scoring.ensemble import EnsembleScorer
from plaudit.scoring.local.engine import RewardScorer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
UNITS = {"attribute_scales": (12.0, 0.02), "attribute_locations": (50.0, 0.1)}


def with_units(model, units=UNITS):
    model.recipe = model.recipe.model_copy(update=units)
    return model


@pytest.fixture
def build(make_decoder):
    """Return a function that gives a tiny model of two attributes."""

    def make(**changes):
        return make_decoder(**({"head": AttributesHead(attributes=("stars", "share"))} | changes))

    return make


def table_of(model, groups):
    """Return the attributes of every response [response, attribute], and the rewards."""
    found = list(RewardScorer(model).score_groups(groups))
    table = [row for each in found for row in zip(*each.attributes.values(), strict=True)]
    return torch.tensor(table, dtype=torch.float64), torch.tensor([r for each in found for r in each.rewards])


def test_every_attribute_is_the_output_times_its_scale_plus_its_location(build, make_token_group):
    model = build().eval()
    batch = build_batch([make_token_group(0, 5, (3, 4))], layout="padded", pad_id=model.recipe.pad_token)
    with torch.no_grad():
        raw = model(batch)
        found = with_units(model)(batch)
        outputs = model.outputs_from(model.features(batch))
    assert raw.attribute_scale is None
    assert torch.equal(raw.attributes, outputs)
    torch.testing.assert_close(found.attributes, outputs * torch.tensor([12.0, 0.02]) + torch.tensor([50.0, 0.1]))
    assert found.attribute_scale.tolist() == pytest.approx([12.0, 0.02])


def test_rewards_and_attributes_are_in_units_of_the_ratings_and_so_are_those_of_an_ensemble(build, make_groups):
    groups = make_groups(3)
    (first, _), (second, _) = (table_of(build(seed=seed), groups) for seed in (0, 1))
    scale, location = torch.tensor([[12.0, 0.02], [50.0, 0.1]], dtype=torch.float64)
    other = {"attribute_scales": (1.0, 3.0), "attribute_locations": (0.0, -7.0)}
    one, two = with_units(build(seed=0)), with_units(build(seed=1), other)
    found, rewards = table_of(one, groups)
    torch.testing.assert_close(found, first * scale + location, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rewards.double(), found.mean(dim=1), rtol=1e-6, atol=1e-6)
    together = list(EnsembleScorer([RewardScorer(one), RewardScorer(two)]).score_groups(groups))
    stars = torch.tensor([value for each in together for value in each.attributes["stars"]], dtype=torch.float64)
    torch.testing.assert_close(stars, (first[:, 0] * 12 + 50 + second[:, 0]) / 2, rtol=1e-6, atol=1e-5)


def test_saved_and_loaded_the_units_and_the_rewards_are_the_same_and_transformers_reads_the_outputs(
    build, make_groups, make_token_group, tmp_path
):
    model, groups = with_units(build()), make_groups(3)
    save_reward_model(model, tmp_path / "model")
    again, _ = load_reward_model(str(tmp_path / "model"), layout="padded")
    assert again.recipe == model.recipe
    torch.testing.assert_close(table_of(again, groups)[0], table_of(model, groups)[0], rtol=0, atol=0)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    group = make_token_group(0, 5, (3,))
    ids = torch.tensor(group.tree.sequence(0)[None].astype("int64"))
    batch = build_batch([group], layout="padded", pad_id=model.recipe.pad_token)
    with torch.no_grad():
        logits, ours = theirs(input_ids=ids).logits, again(batch).attributes
    torch.testing.assert_close(logits * torch.tensor([12.0, 0.02]) + torch.tensor([50.0, 0.1]), ours)


def test_adapters_added_and_merged_keep_the_units(build, make_groups):
    model, groups = with_units(build()), make_groups(2)
    adapted = add_lora(model, rank=2, alpha=4, dropout=0.0, targets=("q_proj",))
    for name, weight in adapted.network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    before, _ = table_of(adapted, groups)
    merged = merge_lora(adapted)
    assert merged.recipe == adapted.recipe == model.recipe
    torch.testing.assert_close(table_of(merged, groups)[0], before, rtol=1e-5, atol=1e-4)


YOUNGER = ("quantization", "gate", "custom_head", "reward_scale", "tokenizer_hash", "config_hash")


def test_the_hash_of_a_recipe_tells_units_apart_and_without_any_is_what_it_was_before_there_were_some(build):
    model = build()
    plain = model.recipe
    fields = plain.model_dump(mode="json")
    assert (fields.pop("attribute_scales"), fields.pop("attribute_locations")) == ([], [])
    assert [fields.pop(name) for name in YOUNGER] == [None] * len(YOUNGER)
    assert (fields.pop("step_reward"), fields.pop("step_token")) == ("not_lowest", "step")
    before = hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=8).hexdigest()
    assert plain.hash == before
    head = head_hash(model.core)
    shifted = plain.model_copy(update=UNITS | {"attribute_locations": (50.0, 0.2)})
    assert len({plain.hash, with_units(model).recipe.hash, shifted.hash}) == 3
    assert head_hash(model.core) == head


def test_a_checkpoint_of_before_loads_and_means_the_same(build, make_groups, tmp_path):
    model, groups = build(), make_groups(2)
    save_reward_model(model, tmp_path / "model")
    path = tmp_path / "model" / RECIPE_FILE
    record = json.loads(path.read_text())
    del record["attribute_scales"], record["attribute_locations"]
    path.write_text(json.dumps(record))
    again, _ = load_reward_model(str(tmp_path / "model"), layout="padded")
    assert again.recipe == model.recipe
    torch.testing.assert_close(table_of(again, groups)[0], table_of(model, groups)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attribute_scales": [1.0]}, "2 attributes, 1 attribute_scales and 2 attribute_locations"),
        ({"attribute_locations": []}, "2 attributes, 2 attribute_scales and 0 attribute_locations"),
        ({"attribute_scales": []}, "2 attributes, 0 attribute_scales and 2 attribute_locations"),
        ({"attribute_scales": [1.0, 0.0]}, r"attribute_scales\.1: Input should be greater than 0"),
    ],
)
def test_units_that_do_not_fit_the_attributes_are_refused(build, tmp_path, changes, words):
    save_reward_model(with_units(build()), tmp_path / "model")
    path = tmp_path / "model" / RECIPE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(CheckpointError, match=f"is not a scoring recipe: .*{words}"):
        load_reward_model(str(tmp_path / "model"))
