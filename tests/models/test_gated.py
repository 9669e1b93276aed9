"""Gated models: the published layout gives the published rewards, in any layout, and what is wrong with one is said."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, LlamaConfig, dynamic_module_utils
from typer.testing import CliRunner

import plaudit
from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.tokens import TokenGroup
from plaudit.cli.main import app
from plaudit.data.reading.write import write_groups
from plaudit.data.schema.group import Group, Message, Preference, conversation
from plaudit.errors import CheckpointError, ConfigError, LayoutError, ModelError
from plaudit.models.checkpoint.average import average_models
from plaudit.models.checkpoint.doctor import diagnose
from plaudit.models.checkpoint.files import load_reward_model, save_reward_model
from plaudit.models.checkpoint.foreign import PUBLISHED_ATTRIBUTES, published_gate
from plaudit.models.checkpoint.recipe import ScoringRecipe
from plaudit.models.create import add_lora, new_reward_model
from plaudit.models.heads.gate import Gate, gate_rows, turn_opening, with_gate
from plaudit.models.heads.head import AttributesHead
from plaudit.opening import open_scorer
from plaudit.scoring.local.engine import RewardScorer

from .gated_folders import COUNT, HIDDEN, WIDTH, gated_tokenizer, published_forward, save_published

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
MATRIX = "reward_transform_matrix"
WORDS = ["red", "green", "blue", "cat", "dog", "runs", "sleeps", "why", "how", "when", "four", "three"]
TALK = (Message("user", "why red"), Message("assistant", "three dog"), Message("user", "how blue"))


@pytest.fixture(scope="module")
def turns_tokenizer():
    return gated_tokenizer(WORDS)


@pytest.fixture
def published(turns_tokenizer, tmp_path):
    return tmp_path / "armo", save_published(tmp_path / "armo", turns_tokenizer)


@pytest.fixture
def hard_groups(make_groups):
    """Groups of 1 to 4 responses: several turns before them, one that writes out the turn tokens, equal ones."""
    opening = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    return [
        *make_groups(4),
        Group(TALK, ("blue cat", "blue cat", "green"), id="turns"),
        Group(conversation("when"), ("four",), id="one"),
        Group(conversation(f"red{opening}three"), ("green dog", "dog"), id="opened by the user"),
    ]


def edit(folder, **changes):
    record = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))


def rewrite(folder, tensors, **changes):
    """Write the tensors with some replaced, or left out where the new one is None."""
    changed = tensors | {name.replace("__", "."): each for name, each in changes.items()}
    kept = {name: each for name, each in changed.items() if each is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


# --------------------------------------------------------------------------------- the published layout


@pytest.mark.parametrize("layout", ["shared_prefix", "packed", "padded"])
def test_the_rewards_attributes_and_weights_are_those_of_the_published_forward(published, hard_groups, layout):
    folder, tensors = published
    scorer = plaudit.load(folder, layout=layout)
    assert scorer.model.layout == layout
    spread = []
    for group, found in zip(hard_groups, scorer.score_groups(hard_groups), strict=True):
        for k, response in enumerate(group.responses):
            rewards, gating, score = published_forward(folder, tensors, group.prompt, response)
            told = {name: values[k] for name, values in found.attributes.items()}
            assert found.rewards[k] == pytest.approx(score, abs=1e-5)
            assert [told[f"attribute_{a}"] for a in range(COUNT)] == pytest.approx(rewards, abs=1e-5)
            weights = [told[f"gate:attribute_{a}"] for a in range(COUNT)]
            assert [1.3 * weight for weight in weights] == pytest.approx(gating, abs=1e-5)
            assert sum(weights) == pytest.approx(1.0, abs=1e-6)
            spread.append(weights)
    assert float(torch.tensor(spread).std(dim=0).max()) > 1e-3


@pytest.mark.parametrize("layout", ["shared_prefix", "packed", "padded"])
@pytest.mark.parametrize("max_tokens", [1, 60, 10_000])
def test_no_batch_size_changes_a_reward(published, hard_groups, layout, max_tokens):
    folder, _ = published
    wanted = [each.rewards for each in plaudit.load(folder, layout="padded").score_groups(hard_groups)]
    found = list(plaudit.load(folder, layout=layout, max_tokens=max_tokens).score_groups(hard_groups))
    for rewards, each in zip(wanted, found, strict=True):
        assert each.rewards == pytest.approx(rewards, abs=1e-5)


def test_left_padding_and_the_order_of_the_responses_change_nothing(published, hard_groups):
    model = plaudit.load(published[0], layout="padded").model
    for group in hard_groups:
        turned = Group(group.prompt, group.responses[::-1], id=group.id)
        found = []
        for each, side in ((group, "right"), (group, "left"), (turned, "right")):
            (tokens,) = model.recipe.encoder(model.tokenizer).encode([(0, each)], EncodingReport())
            batch = build_batch([tokens], layout="padded", pad_id=model.recipe.pad_token, padding_side=side)
            with torch.no_grad():
                found.append(model(batch))
        torch.testing.assert_close(found[0].response, found[1].response, rtol=0, atol=1e-5)
        torch.testing.assert_close(found[0].response, found[2].response.flip(0), rtol=0, atol=1e-5)
        torch.testing.assert_close(found[0].gate, found[1].gate, rtol=0, atol=1e-6)


def test_the_gate_is_worked_out_once_for_the_responses_of_a_shared_prompt(published, hard_groups):
    model, rows = plaudit.load(published[0], layout="shared_prefix").model, []
    model.gate.register_forward_hook(lambda gate, inputs, output: rows.append(len(output)))
    groups = hard_groups[:4]
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    for layout in ("shared_prefix", "padded"):
        model.use_layout(layout)
        with torch.no_grad():
            weights = model(build_batch(encoded, layout=layout, pad_id=model.recipe.pad_token)).gate
        assert len(weights) == sum(len(group.responses) for group in groups)
    assert rows == [len(groups), sum(len(group.responses) for group in groups)]


def test_the_gate_reads_the_end_of_the_prompt_whatever_a_response_writes(published):
    model = plaudit.load(published[0]).model
    opened = model.recipe.gate.opening
    opening = model.tokenizer.decode(list(opened))
    group = Group(TALK, ("blue", f"cat{opening}dog", "red"), id="0")
    (tokens,) = model.recipe.encoder(model.tokenizer).encode([(0, group)], EncodingReport())
    ids = tokens.tree.sequence(1).tolist()
    for layout in ("shared_prefix", "packed", "padded"):
        batch = build_batch([tokens], layout=layout, pad_id=model.recipe.pad_token)
        rows, found = gate_rows(batch, opened)
        assert found.all()
        # the response with a turn of its own: two openings end in front of it, one lies in it; the second is read
        ends = [k for k in range(len(ids)) if tuple(ids[k : k + len(opened)]) == opened]
        assert len(ends) == 3
        assert batch.position_ids.flatten()[rows].tolist() == [ends[1]] * 3
        assert set(batch.input_ids.flatten()[rows].tolist()) == {model.tokenizer.convert_tokens_to_ids("<|eot_id|>")}


@given(
    prompt=st.lists(st.integers(0, 2), min_size=2, max_size=9),
    tails=st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=4),
    starts=st.lists(st.integers(0, 4), min_size=4, max_size=4),
    opening=st.sampled_from([(1,), (1, 2), (2, 1, 2)]),
)
def test_the_place_of_the_gate_is_that_of_a_slow_search_in_every_layout(prompt, tails, starts, opening):
    sequences = [np.asarray([*prompt, *tail], dtype=np.int32) for tail in tails]
    first = [min(len(prompt) - 2 + start, len(each) - 1) for start, each in zip(starts, sequences, strict=False)]
    group = TokenGroup(0, build_prefix_tree(sequences, min_saving=1), np.asarray(first, dtype=np.int32))
    for layout, side in (("shared_prefix", "right"), ("packed", "right"), ("padded", "right"), ("padded", "left")):
        batch = build_batch([group, group], layout=layout, pad_id=1, padding_side=side)
        rows, found = gate_rows(batch, opening)
        for k in range(2 * len(tails)):
            sequence, start = sequences[k % len(tails)].tolist(), first[k % len(tails)]
            assert bool(found[k]) == (tuple(sequence[max(0, start - len(opening)) : start]) == opening)
            place = start - len(opening) if found[k] else len(sequence) - 1
            assert int(batch.position_ids.flatten()[rows[k]]) == place
            assert int(batch.input_ids.flatten()[rows[k]]) == sequence[place]


def test_a_prompt_that_was_cut_away_gives_no_reward_instead_of_a_wrong_one(published):
    scorer = plaudit.load(published[0])
    limit = len(scorer.model.tokenizer("red " * 20)["input_ids"]) + 4
    recipe = scorer.model.recipe.model_copy(update={"max_length": limit})
    scorer.model.recipe = recipe
    short = RewardScorer(scorer.model)
    (found,) = short.score_groups([Group(conversation("why"), ("red " * 20, "cat"), id="0")])
    assert found.rewards[0] is None
    assert found.reason is not None
    assert found.rewards[1] is not None


def test_no_code_of_the_checkpoint_is_run_even_where_it_is_allowed(published, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("remote code was asked for")

    monkeypatch.setattr(dynamic_module_utils, "get_class_from_dynamic_module", refuse)
    model, _ = load_reward_model(str(published[0]), trust_remote_code=True)
    assert type(model.core).__name__ == "LlamaForSequenceClassification"


def test_half_precision_keeps_both_heads_as_they_were_saved(published, tmp_path):
    folder, tensors = published
    model, _ = load_reward_model(str(folder), dtype="bfloat16")
    assert model.core.model.embed_tokens.weight.dtype == torch.bfloat16
    assert torch.equal(model.core.score.weight, tensors["regression_layer.weight"])
    assert torch.equal(model.gate.layers[0].weight, tensors["gating.layers.0.weight"])
    save_reward_model(model, tmp_path / "half")
    again, _ = load_reward_model(str(tmp_path / "half"))
    assert again.recipe.dtype == "bfloat16"
    assert torch.equal(again.core.score.weight, tensors["regression_layer.weight"])
    assert torch.equal(again.gate.transform, tensors["reward_transform_matrix"])


def test_in_float64_the_layouts_agree_to_nine_digits_and_autocast_changes_nothing(published, hard_groups):
    rewards = {}
    for layout in ("shared_prefix", "packed", "padded"):
        model, _ = load_reward_model(str(published[0]), layout=layout, dtype="float64")
        encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(hard_groups)), EncodingReport()))
        with torch.no_grad():
            rewards[layout] = model(build_batch(encoded, layout=layout, pad_id=model.recipe.pad_token)).response
    assert rewards["padded"].dtype == torch.float64
    torch.testing.assert_close(rewards["shared_prefix"], rewards["padded"], rtol=0, atol=1e-9)
    torch.testing.assert_close(rewards["packed"], rewards["padded"], rtol=0, atol=1e-9)
    gate = load_reward_model(str(published[0]))[0].gate
    attributes, weights = torch.rand(3, COUNT), torch.rand(3, COUNT)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gate.reward(attributes, weights)
    assert torch.equal(inside, gate.reward(attributes, weights).detach())


def test_the_names_of_attributes_are_those_of_the_config_or_of_the_published_model(turns_tokenizer, tmp_path):
    named = {str(k): name for k, name in enumerate("abcde")}
    save_published(tmp_path / "named", turns_tokenizer, config={"id2label": named, "label2id": {}})
    assert load_reward_model(str(tmp_path / "named"))[0].recipe.attributes == tuple("abcde")
    save_published(tmp_path / "nineteen", turns_tokenizer, count=19, config={"gating_temperature": ...})
    recipe = load_reward_model(str(tmp_path / "nineteen"))[0].recipe
    assert recipe.attributes == PUBLISHED_ATTRIBUTES
    assert len(set(PUBLISHED_ATTRIBUTES)) == 19
    assert recipe.gate is not None
    assert recipe.gate.temperature == 10.0


def test_weights_of_whole_numbers_are_refused(turns_tokenizer, tmp_path):
    tensors = save_published(tmp_path / "model", turns_tokenizer)
    tensors["regression_layer.weight"] = tensors["regression_layer.weight"].to(torch.int32)
    save_file(tensors, tmp_path / "model/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"regression_layer\.weight holds whole numbers"):
        load_reward_model(str(tmp_path / "model"))


def test_the_names_and_shapes_of_the_published_checkpoint_make_a_gated_model(tmp_path):
    shapes = {"regression_layer.weight": (19, 4096), "reward_transform_matrix": (19, 19), "gating.logit_scale": (1,)}
    widths = (4096, 1024, 1024, 1024, 19)
    for place, (inputs, outputs) in enumerate(pairwise(widths)):
        shapes |= {f"gating.layers.{place}.weight": (outputs, inputs), f"gating.layers.{place}.bias": (outputs,)}
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    config = LlamaConfig(hidden_size=4096, num_objectives=19, gating_temperature=10)
    found = published_gate(str(tmp_path), config)
    assert (found.attributes, found.gate.sizes, found.gate.temperature) == (PUBLISHED_ATTRIBUTES, widths, 10.0)
    assert found.regression.shape == (19, 4096)


# ------------------------------------------------------------------------------ saved by plaudit, and used


def test_a_gated_model_that_plaudit_saves_gives_the_same_rewards(published, hard_groups, tmp_path):
    folder, _ = published
    scorer = plaudit.load(folder)
    save_reward_model(scorer.model, tmp_path / "own")
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert "auto_map" not in config
    again = plaudit.load(tmp_path / "own")
    # the config that is written names another class and none of the fields of the published one
    assert again.recipe.model_copy(update={"config_hash": scorer.recipe.config_hash}) == scorer.recipe
    for wanted, found in zip(scorer.score_groups(hard_groups), again.score_groups(hard_groups), strict=True):
        assert found.rewards == pytest.approx(wanted.rewards, abs=1e-6)
        assert found.attributes.keys() == wanted.attributes.keys()
    # other tools read the attributes
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "own")
    assert torch.equal(theirs.score.weight, again.model.core.score.weight)


def test_gated_models_are_averaged_with_their_gates(published, turns_tokenizer, tmp_path):
    other = save_published(tmp_path / "other", turns_tokenizer, seed=1)
    average = average_models([str(published[0]), str(tmp_path / "other")], weights=[1.0, 3.0])
    for own, name in ((average.gate.layers[1].weight, "gating.layers.1.weight"), (average.gate.transform, MATRIX)):
        torch.testing.assert_close(own.data, (published[1][name] + 3 * other[name]) / 4)


def test_training_on_a_gated_model_says_that_its_gate_is_left_out(published, tmp_path, caplog):
    save_reward_model(load_reward_model(str(published[0]))[0], tmp_path / "own")
    head = AttributesHead(attributes=tuple(f"attribute_{k}" for k in range(COUNT)))
    for folder, name in ((published[0], "gating.layers.0.bias"), (tmp_path / "own", "reward_gate.layers.0.bias")):
        caplog.clear()
        assert new_reward_model(str(folder), seed=0, head=head).recipe.gate is None
        assert f"{folder}: its gate ({name}, …) is left out" in caplog.text


def test_an_adapter_whose_recipe_is_gated_is_refused(published, tmp_path):
    save_reward_model(load_reward_model(str(published[0]))[0], tmp_path / "own")
    (tmp_path / "own" / "adapter_config.json").write_text('{"base_model_name_or_path": "somewhere"}')
    with pytest.raises(CheckpointError, match="gates take no adapters"):
        load_reward_model(str(tmp_path / "own"))


def test_a_gate_of_other_weights_is_told_by_the_hash_of_the_model(published, tmp_path):
    folder, tensors = published
    first = plaudit.load(folder)
    rewrite(folder, tensors, reward_transform_matrix=torch.eye(COUNT))
    second = plaudit.load(folder)
    assert first.info.recipe_hash == second.info.recipe_hash
    assert first.info.weights_hash != second.info.weights_hash


def test_the_command_line_scores_evaluates_and_examines_it(published, make_groups, tmp_path):
    folder, _ = published
    write_groups(tmp_path / "groups.jsonl", make_groups(6))
    run = CliRunner().invoke
    scored = run(app, ["score", str(folder), str(tmp_path / "groups.jsonl"), "-o", str(tmp_path / "out.jsonl")])
    assert scored.exit_code == 0, scored.output
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    names = {name for row in rows for name in row.get("attributes", {})}
    assert {"attribute_0", "gate:attribute_4"} <= names
    evaluated = run(app, ["evaluate", str(folder), str(tmp_path / "groups.jsonl"), "-o", str(tmp_path / "result")])
    assert evaluated.exit_code == 0, evaluated.output
    examined = run(app, ["doctor", str(folder)])
    assert examined.exit_code == 0, examined.output
    assert "gate" in examined.output


def test_the_doctor_says_what_the_gate_is_and_what_was_assumed(published, tmp_path):
    folder, _ = published
    checks = {check.name: check for check in diagnose(str(folder))}
    assert checks["scoring recipe"].status == "warning"
    assert "inferred" in checks["scoring recipe"].found
    assert "have the names in its config, or numbers without any" in checks["scoring recipe"].found
    gate = checks["gate"]
    assert gate.status == "ok"
    assert f"layers {WIDTH} → {HIDDEN} → {HIDDEN} → {HIDDEN} → {COUNT}, temperature 1.5, scale 1.3" in gate.found
    assert f"its matrix changes {COUNT} of {COUNT} attributes" in gate.found
    assert "read at '<|eot_id|>', the first token of '<|eot_id|><|start_header_id|>assistant" in gate.found
    assert checks["agrees with transformers"].status == "ok"
    assert checks["agrees with transformers"].found.startswith("attributes (transformers knows no gate) differ")
    save_reward_model(load_reward_model(str(folder))[0], tmp_path / "own")
    own = {check.name: check for check in diagnose(str(tmp_path / "own"))}
    assert {check.status for check in own.values()} == {"ok"}
    assert own["gate"].found == gate.found


# ---------------------------------------------------------------------------------------- from tensors


def gate_of(count=2, width=32, **options):
    layers = [(torch.randn(6, width), torch.randn(6)), (torch.randn(count, 6), None)]
    return Gate(layers, **({"temperature": 2.0} | options))


def test_a_gate_is_a_softmax_over_attributes_scaled_and_debiased_by_hand():
    gate = Gate(
        [(torch.tensor([[1.0, 0.0], [0.0, -1.0]]), None)],
        temperature=2.0,
        transform=torch.tensor([[1.0, -0.5], [0.0, 0.0]]),
        scale=3.0,
    )
    weights = gate(torch.tensor([[4.0, 1.0], [0.0, 0.0]]))
    # logits (4, -1) ÷ 2: odds of exp(2.5) to 1
    assert weights.tolist() == [pytest.approx([0.924142, 0.075858], abs=1e-6), [0.5, 0.5]]
    rewards = gate.reward(torch.tensor([[2.0, 7.0], [2.0, 7.0]]), weights)
    # the attributes become (2, -1): 3 · (0.924142 · 2 − 0.075858) and 3 · (1 − 0.5)
    assert rewards.tolist() == pytest.approx([5.317277, 1.5], abs=1e-5)


def test_a_gate_put_on_a_model_of_attributes_works_in_the_units_of_its_ratings(make_decoder, make_groups, tmp_path):
    model = make_decoder(head=AttributesHead(attributes=("help", "length")))
    units = {"attribute_scales": (3.0, 0.5), "attribute_locations": (2.0, -1.0), "attribute_weights": (1.0, 0.0)}
    model.recipe = model.recipe.model_copy(update=units)
    groups = make_groups(3)
    plain = list(RewardScorer(model).score_groups(groups))
    torch.manual_seed(0)
    matrix = torch.tensor([[1.0, 0.0], [-0.3, 0.0]])
    gated = with_gate(model, gate_of(transform=matrix))
    assert gated.recipe.attribute_weights == ()
    assert gated.recipe.gate is not None
    assert list(gated.recipe.gate.opening) == gated.tokenizer.encode("<|end|><|assistant|>")
    save_reward_model(gated, tmp_path / "gated")
    for scorer in (RewardScorer(gated), plaudit.load(tmp_path / "gated")):
        for before, found in zip(plain, scorer.score_groups(groups), strict=True):
            for k, reward in enumerate(found.rewards):
                help_, length = before.attributes["help"][k], before.attributes["length"][k]
                assert found.attributes["help"][k] == pytest.approx(help_, abs=1e-5)
                assert reward == pytest.approx(found.attributes["gate:help"][k] * (help_ - 0.3 * length), abs=1e-5)


def test_tensors_that_do_not_fit_are_refused(make_decoder):
    with pytest.raises(ModelError, match="needs at least one layer"):
        Gate([], temperature=1.0)
    with pytest.raises(ModelError, match=r"temperature of the gate is 0\.0; it must be above 0"):
        gate_of(temperature=0.0)
    with pytest.raises(ModelError, match="layer 0 of the gate has 6 outputs, layer 1 5 inputs"):
        Gate([(torch.zeros(6, 3), None), (torch.zeros(2, 5), None)], temperature=1.0)
    with pytest.raises(ModelError, match=r"weighs 2 attributes; its matrix has shape \[3, 3\], not \[2, 2\]"):
        gate_of(transform=torch.eye(3))
    with pytest.raises(ModelError, match=r"layer 0 of the gate has the shapes \[\[6, 3\], \[5\]\]"):
        Gate([(torch.zeros(6, 3), torch.zeros(5))], temperature=1.0)
    rated = AttributesHead(attributes=("a", "b"))
    with pytest.raises(ModelError, match="gate weighs 3 attributes; the model has 2"):
        with_gate(make_decoder(head=rated), gate_of(3))
    with pytest.raises(ModelError, match="gate reads 31 features; the hidden states have 32"):
        with_gate(make_decoder(head=rated), gate_of(width=31))
    with pytest.raises(ModelError, match=r"head for attributes and no adapters, not .* of kind scalar"):
        with_gate(make_decoder(), gate_of())
    gated = with_gate(make_decoder(head=rated), gate_of())
    with pytest.raises(ModelError, match="takes no adapters"):
        add_lora(gated, rank=2, alpha=2, dropout=0.0, targets="all-linear")


def test_a_template_that_writes_nothing_before_a_response_has_no_place_for_a_gate(make_decoder):
    model = make_decoder(head=AttributesHead(attributes=("a", "b")))
    model.recipe = model.recipe.model_copy(
        update={"chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}"}
    )
    with pytest.raises(ModelError, match="writes nothing between prompt and response"):
        turn_opening(model.recipe, model.tokenizer)


def test_a_recipe_with_half_a_gate_is_refused(published):
    fields = plaudit.load(published[0]).recipe.model_dump(mode="json")
    for changes in ({"gate": None}, {"head": "attributes"}, {"attributes": []}):
        with pytest.raises(ValueError, match="a head of kind gated has a gate and attributes"):
            ScoringRecipe.model_validate(fields | changes)


# ----------------------------------------------------------------------------------- what is wrong is said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reward_transform_matrix": None}, "lacks reward_transform_matrix, without which"),
        ({"gating__logit_scale": None}, r"lacks gating\.logit_scale"),
        ({"regression_layer__weight": None}, r"lacks regression_layer\.weight"),
        ({"reward_transform_matrix": torch.eye(4)}, r"matrix has shape \[4, 4\], not \[5, 5\]"),
        ({"regression_layer__weight": torch.zeros(4, WIDTH)}, "gives 4 attributes, the gate weighs 5"),
        ({"regression_layer__weight": torch.zeros(COUNT, 7)}, r"has shape \[5, 7\]; the hidden states have 32"),
        ({"gating__layers__0__weight": torch.zeros(HIDDEN, 31)}, "gate reads 31 features"),
        ({"gating__layers__1__weight": None}, r"lacks layers\.1\.weight|layer 0 of the gate"),
        ({"gating__layers__2__weight": torch.zeros(HIDDEN, 3)}, "layer 1 of the gate has 12 outputs, layer 2 3"),
        ({"gating__logit_scale": torch.ones(2)}, "scale of the gate has 2 numbers"),
        ({"quantile_layer__weight": torch.zeros(2)}, r"has no place for: quantile_layer\.weight"),
    ],
)
def test_weights_that_make_no_gated_model_are_refused(published, changes, words):
    folder, tensors = published
    rewrite(folder, tensors, **changes)
    with pytest.raises(ModelError, match=words):
        load_reward_model(str(folder))
    assert [check.status for check in diagnose(str(folder))] == ["ok", "error"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_objectives": 6}, "num_objectives is 6 in config.json; the weights say 5"),
        ({"gating_n_hidden": 2}, "gating_n_hidden is 2 in config.json; the weights say 3"),
        ({"gating_hidden_dim": 7}, "gating_hidden_dim is 7 in config.json; the weights say 12"),
        ({"gating_temperature": 0}, "temperature of the gate is 0.0; it must be above 0"),
        ({"gating_temperature": "warm"}, "gating_temperature is 'warm'; it must be a number"),
        ({"num_quantiles": 19}, r"predicts 19 quantiles of each attribute \(QRM\)"),
        ({"architectures": ["Gemma2ForRewardModelWithGating"]}, "a class of its own code .* not run here; of such"),
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused(published, changes, words):
    edit(published[0], **changes)
    with pytest.raises((ModelError, CheckpointError), match=words):
        load_reward_model(str(published[0]))


def test_a_template_without_the_published_opening_is_refused(published):
    (published[0] / "chat_template.jinja").write_text(
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    )
    with pytest.raises(ModelError, match=r"the chat template writes '<\|end\|><\|assistant\|>' there"):
        load_reward_model(str(published[0]))


def test_a_checkpoint_of_plaudit_without_its_gate_is_refused(published, tmp_path):
    save_reward_model(load_reward_model(str(published[0]))[0], tmp_path / "own")
    weights = load_file(tmp_path / "own" / "model.safetensors")
    kept = {name: each for name, each in weights.items() if name != "reward_gate.transform"}
    save_file(kept, tmp_path / "own" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="the gate lacks transform; its recipe says that it has a gate"):
        load_reward_model(str(tmp_path / "own"))


def test_gated_rewards_are_no_unit_of_an_ensemble_with_others(published, make_decoder, tmp_path):
    save_reward_model(make_decoder(), tmp_path / "scalar")
    with pytest.raises(ConfigError, match="armo gives gated ratings"):
        open_scorer(f"ensemble:mean:{published[0]},{tmp_path / 'scalar'}")


def test_a_gated_model_has_no_rewards_of_steps(published):
    with pytest.raises(ConfigError, match="gives no rewards to steps"):
        plaudit.load(published[0], aggregation="min")


# ----------------------------------------------------------------- several outputs without a recipe, no gate


@pytest.fixture
def rated(make_decoder, tmp_path):
    """A model of two attributes, as another tool saves it: without a recipe."""
    save_reward_model(make_decoder(head=AttributesHead(attributes=("help", "safe"))), tmp_path / "rated")
    (tmp_path / "rated" / "plaudit.json").unlink()
    return tmp_path / "rated"


def test_named_ratings_load_as_attributes_whose_mean_is_the_reward_and_this_is_said(rated, make_groups, caplog):
    scorer = plaudit.load(rated)
    assert "its reward is taken to be the mean of help, safe" in caplog.text
    (found,) = scorer.score_groups([Group(conversation("why"), ("red", "blue"), (Preference(0, 1),), id="0")])
    for k in range(2):
        parts = [found.attributes[name][k] for name in ("help", "safe")]
        assert found.rewards[k] == pytest.approx(sum(parts) / 2, abs=1e-6)
    check = next(each for each in diagnose(str(rated)) if each.name == "scoring recipe")
    assert check.status == "warning"
    assert "inferred" in check.found
    assert "the reward is the mean of help, safe" in check.found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"problem_type": None}, "has 2 outputs; .* these may be classes"),
        ({"problem_type": "single_label_classification"}, r"these may be classes \(help, safe\)"),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, "names each in id2label of its config; these are LABEL_0"),
        ({"id2label": {"0": "help", "1": "help"}}, "these are help, help"),
        ({"auto_map": {"AutoModelForSequenceClassification": "custom.Model"}}, "how its own code .* is not known here"),
    ],
)
def test_outputs_that_may_be_anything_are_refused(rated, changes, words):
    edit(rated, **changes)
    with pytest.raises(CheckpointError, match=words):
        load_reward_model(str(rated))
    assert diagnose(str(rated))[-1].status == "error"


def test_a_scalar_model_without_a_recipe_is_said_to_be_inferred(make_decoder, tmp_path):
    save_reward_model(make_decoder(), tmp_path / "model")
    (tmp_path / "model" / "plaudit.json").unlink()
    check = next(each for each in diagnose(str(tmp_path / "model")) if each.name == "scoring recipe")
    assert check.status == "warning"
    assert "there is no plaudit.json" in check.found
    assert "read at the last token; at most 128 tokens" in check.found


def test_a_layout_that_is_not_exact_is_refused_for_gated_models_too(published, monkeypatch):
    from plaudit.models import parity

    monkeypatch.setattr(parity, "_fault_of_tree", lambda *_: "a fault")
    with pytest.raises(LayoutError, match="shared_prefix is not exact"):
        load_reward_model(str(published[0]), layout="shared_prefix")
