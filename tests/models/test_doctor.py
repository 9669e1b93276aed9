"""The doctor looks at what can change a reward, and never falls over."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.heads.head import AttributesHead

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")


def statuses(path):
    return {check.name: check.status for check in diagnose(str(path))}


def test_a_sound_model_has_nothing_wrong(saved):
    found = statuses(saved)
    assert set(found.values()) == {"ok"}
    assert {"strict loading", "agrees with transformers", "shared-prefix layout", "pad token"} <= set(found)


def test_the_units_of_attributes_are_told_with_what_other_tools_read(make_decoder, tmp_path):
    model = make_decoder(head=AttributesHead(attributes=("stars", "share")))
    save_reward_model(model, tmp_path / "raw")
    units = {"attribute_scales": (12.0, 0.02), "attribute_locations": (50.0, -0.1)}
    model.recipe = model.recipe.model_copy(update=units)
    save_reward_model(model, tmp_path / "standardised")
    found = {name: diagnose(str(tmp_path / name)) for name in ("raw", "standardised")}
    told = {name: next(check.found for check in checks if check.name == "units") for name, checks in found.items()}
    assert told["raw"] == "the outputs of the head are in the units of the ratings, here and for every other tool"
    assert told["standardised"].startswith(
        "stars = 12 · output + 50, share = 0.02 · output - 0.1; other tools read the"
    )
    assert {check.status for checks in found.values() for check in checks} == {"ok"}


def test_a_half_precision_model_is_compared_with_transformers_too(saved, tmp_path):
    half, _ = load_reward_model(str(saved), dtype="bfloat16")
    save_reward_model(half, tmp_path / "half")
    assert set(statuses(tmp_path / "half").values()) == {"ok"}


def test_a_missing_head_is_an_error_and_the_last_check(saved):
    weights = load_file(saved / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    checks = diagnose(str(saved))
    assert (checks[-1].name, checks[-1].status) == ("strict loading", "error")
    assert "score.weight" in checks[-1].found


def test_a_conversation_that_ends_in_the_pad_token_is_a_warning(saved):
    # transformers takes the last token that is not the pad token, so the two read different positions
    tokenizer = AutoTokenizer.from_pretrained(saved)
    for name in ("config.json", "plaudit.json"):
        record = json.loads((saved / name).read_text())
        field = "pad_token_id" if name == "config.json" else "pad_token"
        hashes = {} if name == "config.json" else {"config_hash": None}
        (saved / name).write_text(json.dumps(record | {field: tokenizer.eos_token_id} | hashes))
    found = statuses(saved)
    assert found["pad token"] == "warning"
    assert found["agrees with transformers"] == "warning"


def test_a_folder_that_is_not_there_is_one_error(tmp_path):
    (check,) = diagnose(str(tmp_path / "nothing"))
    assert check.status == "error"
    assert "does not exist" in check.found
