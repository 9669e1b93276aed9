"""Every head under every objective: rewards, gradients and whole steps do not depend on layout, memory or order."""

from __future__ import annotations

import copy

import pytest
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.models.heads.head import AttributesHead, ScalarHead
from plaudit.models.heads.language_model import LanguageModelHead, keep_language_model
from plaudit.models.heads.odin import OdinHead
from plaudit.models.heads.token import TokenHead
from plaudit.objectives.objective import OptimizerStepRewards
from plaudit.training.config import TrainConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
TWO, THREE = (0.0, 1.0), (-1.0, 0.0, 1.0)
WORDS = ("-", "+")
CASES = {
    "bradley_terry": ({}, ScalarHead()),
    "bradley_terry with its language model": ({"sft": 0.3, "centering": 0.01}, ScalarHead()),
    "plackett_luce": ({"type": "plackett_luce", "partial": "top"}, ScalarHead()),
    "top_one": ({"type": "top_one"}, ScalarHead()),
    "outcome": ({"type": "outcome"}, ScalarHead()),
    "attributes": (
        {"type": "regression", "attributes": ["safe", "help"], "scale": [0.5, 2.0]},
        AttributesHead(attributes=("safe", "help")),
    ),
    "odin": ({"type": "odin"}, OdinHead()),
    "odin, by group": ({"type": "odin", "weight": "group", "length": 3.0}, OdinHead()),
    "token outcome": ({"type": "token_outcome"}, TokenHead()),
    "token outcome with its language model": ({"type": "token_outcome", "language_model": 0.5}, TokenHead()),
    "process, 2 classes": ({"type": "process", "until_first_error": True}, TokenHead(classes=TWO)),
    "process, 3 classes": (
        {"type": "process", "classes": THREE, "weight": "response"},
        TokenHead(classes=THREE),
    ),
    "words": ({"type": "process"}, LanguageModelHead(classes=TWO, class_words=WORDS)),
    "words over the vocabulary": (
        {"type": "process", "over": "vocabulary"},
        LanguageModelHead(classes=TWO, class_words=WORDS),
    ),
    "turns": (
        {"type": "process", "over": "vocabulary"},
        LanguageModelHead(classes=TWO, class_words=WORDS, form="turns", shown_words="labels"),
    ),
    "one turn": ({"type": "process"}, LanguageModelHead(classes=TWO, class_words=WORDS, form="one_turn")),
    "joint language model, one word": (
        {"type": "token_outcome", "language_model": 0.5},
        LanguageModelHead(class_words=("+",)),
    ),
    "token outcome, two words": ({"type": "token_outcome"}, LanguageModelHead(class_words=WORDS)),
}
LAYOUTS = {
    "shared_prefix": ("shared_prefix", "right"),
    "packed": ("packed", "right"),
    "padded left": ("padded", "left"),
}


def objective_of(settings):
    config = {
        "name": "test",
        "model": {"init": {"type": "scratch"}},
        "data": {"train": ({"path": "unused"},)},
        "objective": settings,
    }
    return TrainConfig.model_validate(config).objective


@pytest.fixture(scope="module")
def build(make_decoder):
    """Return a function that gives a model and the objective of a case."""

    def make(name, **changes):
        settings, head = CASES[name]
        model, objective = make_decoder(head=head, max_length=256, init_std=0.2, **changes), objective_of(settings)
        if model.gain_and_bias is not None:
            model.gain_and_bias.data = torch.tensor([0.7, -0.3])
        if objective.needs.log_likelihood:
            keep_language_model(model, None)
        return model, objective

    return make


@pytest.fixture(scope="module")
def groups(make_labelled_groups):
    return make_labelled_groups(6, words=(3, 9))


def encoded(model, groups):
    encoder = model.recipe.encoder(model.tokenizer, for_training=True)
    return list(encoder.encode(list(enumerate(groups)), EncodingReport()))


def batch_of(model, objective, groups, layout, side="right"):
    needs = objective.needs
    return build_batch(
        groups,
        layout=layout,
        pad_id=model.recipe.pad_token,
        padding_side=side,
        attributes=needs.attributes,
        tokens=needs.tokens or needs.log_likelihood,
    )


def rewards_and_gradients(model, objective, groups, layout, side="right"):
    """Return every output, the loss, and every parameter's gradient of the mean loss, in one layout."""
    model.use_layout(layout)
    model.zero_grad()
    batch = batch_of(model, objective, groups, layout, side)
    rewards = model(batch)
    items = objective(rewards, batch.labels)
    loss = (items.losses * items.weights).sum() / items.weights.sum()
    loss.backward()
    outputs = {name: each.detach() for name, each in rewards._asdict().items() if each is not None and each.numel()}
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return outputs | {"loss": loss.detach()}, gradients


def gradient_difference(found, wanted):
    """Return the norm of the difference of all gradients together, relative to their norm."""
    assert found.keys() == wanted.keys()
    apart = torch.stack([(found[name] - wanted[name]).norm() for name in wanted]).norm()
    return float(apart / torch.stack([grad.norm() for grad in wanted.values()]).norm())


@pytest.mark.parametrize("name", CASES)
def test_rewards_and_gradients_do_not_depend_on_the_layout(build, groups, name):
    model, objective = build(name)
    tokens = encoded(model, groups)
    wanted, wanted_grads = rewards_and_gradients(model, objective, tokens, "padded")
    assert max(float(each.std()) for key, each in wanted.items() if key != "loss" and each.numel() > 1) > 1e-2
    assert wanted["loss"] > 0
    for layout, side in LAYOUTS.values():
        found, grads = rewards_and_gradients(model, objective, tokens, layout, side)
        assert found.keys() == wanted.keys()
        for key, each in wanted.items():
            assert found[key].shape == each.shape
            assert float((found[key] - each).abs().max()) <= 1e-5, (layout, key)
        assert gradient_difference(grads, wanted_grads) <= 1e-5


@pytest.mark.parametrize("name", CASES)
def test_every_weight_that_the_loss_can_move_is_moved(build, groups, name):
    model, objective = build(name)
    _, grads = rewards_and_gradients(model, objective, encoded(model, groups), "shared_prefix")
    assert [key for key, _ in model.named_parameters() if key not in grads or not bool(grads[key].any())] == []


@pytest.mark.parametrize("name", ["odin", "token outcome with its language model", "turns", "process, 3 classes"])
def test_neighbours_and_their_order_change_nothing(build, groups, name):
    model, objective = build(name)
    tokens = encoded(model, groups)
    for layout in ("shared_prefix", "padded"):
        model.use_layout(layout)
        with torch.no_grad():
            together = model(batch_of(model, objective, tokens, layout))
            alone = [model(batch_of(model, objective, [each], layout)) for each in tokens]
        for key, each in together._asdict().items():
            if each is not None and each.numel() and key != "head_weight":
                apart = torch.cat([getattr(one, key) for one in alone])
                assert float((apart - each).abs().max()) <= 3e-6, (layout, key)


@pytest.mark.parametrize("name", ["process, 2 classes", "words", "turns", "token outcome", "odin"])
def test_a_batch_of_which_no_step_or_pair_is_labelled_has_loss_and_gradient_zero(build, make_labelled_groups, name):
    import dataclasses

    model, objective = build(name)
    bare = [
        dataclasses.replace(group, steps=None, outcomes=None, preferences=(), ranks=None, ratings={})
        for group in make_labelled_groups(2, seed=3)
    ]
    for layout in ("shared_prefix", "packed", "padded"):
        model.use_layout(layout)
        model.zero_grad()
        batch = batch_of(model, objective, encoded(model, bare), layout)
        rewards = model(batch)
        items = objective(rewards, batch.labels)
        loss = (items.losses * items.weights).sum()
        assert loss == 0
        loss.backward()
        assert not any(weight.grad is not None and weight.grad.any() for weight in model.parameters())


# ------------------------------------------------------------------------------------- whole steps


@pytest.fixture(scope="module")
def three_steps(build, make_labelled_groups, make_trainer):
    """Return a function that trains three steps of a case and gives the logs and the weights after them."""

    def run(name, **options):
        model, _ = build(name)
        groups = make_labelled_groups(11, seed=2, words=(3, 9))
        # AdamW divides the first gradients by their own size; a larger epsilon keeps the comparison about the sums
        trainer = make_trainer(model, groups, objective=CASES[name][0], optim={"epsilon": 1e-3}, max_steps=3, **options)
        trainer.train()
        weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
        return trainer.logged, weights, trainer.evaluate()

    return run


def assert_same_run(found, wanted, *, tolerance=2e-6):
    timed = ("tokens_per_second", "groups_per_second", "seconds")
    assert len(found[0]) == len(wanted[0]) == 3
    for row, expected in zip(found[0], wanted[0], strict=True):
        assert row.keys() == expected.keys()
        for key in row.keys() - set(timed):
            assert row[key] == pytest.approx(expected[key], rel=tolerance, abs=5 * tolerance), key
    assert float((found[1] - wanted[1]).norm() / wanted[1].norm()) <= tolerance
    assert found[2] == pytest.approx(wanted[2], rel=tolerance, abs=5 * tolerance)


@pytest.mark.parametrize("name", ["odin", "process, 3 classes", "joint language model, one word", "turns"])
def test_three_steps_are_the_same_in_any_layout_and_memory(three_steps, name):
    wanted = three_steps(name, layout="padded", max_tokens=10**6)
    assert_same_run(three_steps(name, layout="shared_prefix", max_tokens=60), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("layout", "max_tokens"), [("padded", 150), ("packed", 1), ("shared_prefix", 60)])
def test_three_steps_are_the_same_in_every_layout_and_memory(three_steps, name, layout, max_tokens):
    wanted = three_steps(name, layout="padded", max_tokens=10**6)
    assert_same_run(three_steps(name, layout=layout, max_tokens=max_tokens), wanted)


@pytest.mark.parametrize("name", ["odin", "odin, by group"])
def test_the_gradient_of_a_split_odin_step_is_that_of_the_whole(build, groups, name):
    model, objective = build(name, seed=3)
    tokens = encoded(model, groups)
    model.use_layout("shared_prefix")
    _, wanted = rewards_and_gradients(model, objective, tokens, "shared_prefix")
    batches = [batch_of(model, objective, part, "shared_prefix") for part in (tokens[:1], tokens[1:3], tokens[3:])]
    weight = sum(objective.weights(batch.labels).sum() for batch in batches)
    with torch.no_grad():
        attributes = torch.cat([model(batch).attributes for batch in batches])
    whole = OptimizerStepRewards(attributes, torch.cat([batch.labels.length for batch in batches]).float(), weight)

    def gradient(step):
        model.zero_grad()
        for batch in batches:
            items = objective(model(batch), batch.labels, step)
            ((items.losses * items.weights).sum() / weight).backward()
        return {key: p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}

    assert gradient_difference(gradient(whole), wanted) <= 1e-5
    # the guard can fail: correlations of each part by itself give another gradient
    assert gradient_difference(gradient(None), wanted) > 1e-2


# ----------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("name", ["words over the vocabulary", "joint language model, one word", "process, 2 classes"])
def test_under_autocast_the_head_keeps_float32(build, groups, name):
    model, objective = build(name)
    tokens = encoded(model, groups)
    model.use_layout("shared_prefix")
    batch = batch_of(model, objective, tokens, "shared_prefix")
    rows = torch.cat([batch.step_end, batch.token_at])
    with torch.no_grad():
        hidden = model.features_at(batch, rows).to(torch.bfloat16)
        exact = copy.deepcopy(model).double().outputs_from(hidden.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model.outputs_from(hidden)
    assert found.dtype == torch.float32
    if found.shape[1] > 1:
        # over the vocabulary the common normaliser may be rounded, what tells the classes apart is not
        found, exact = found[:, 1] - found[:, 0], exact[:, 1] - exact[:, 0]
    assert float((found - exact).abs().max()) <= 1e-5 * float(exact.abs().max())


def test_a_model_in_float64_is_read_in_float64(build, groups):
    for name in ("words over the vocabulary", "process, 3 classes", "joint language model, one word"):
        model, objective = build(name)
        model.double()
        tokens = encoded(model, groups)
        wanted, wanted_grads = rewards_and_gradients(model, objective, tokens, "padded")
        found, grads = rewards_and_gradients(copy.deepcopy(model), objective, tokens, "shared_prefix")
        reading = "tokens" if "joint" in name else "steps"
        assert wanted[reading].dtype == torch.float64
        # transformers computes rotary positions and some norms in float32, the same for every layout
        assert float((found[reading] - wanted[reading]).abs().max()) <= 1e-7
        assert gradient_difference(grads, wanted_grads) <= 1e-7
