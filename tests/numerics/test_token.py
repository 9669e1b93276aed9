"""Losses at tokens and steps against values worked out by hand, masks, soft labels and extremes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.errors import DataError, ModelError
from plaudit.objectives.config import Process, TokenOutcome
from plaudit.objectives.objective import Rewards
from plaudit.objectives.pairwise import language_model_loss
from plaudit.objectives.pointwise import outcome_loss
from plaudit.objectives.token import process_loss, step_targets, token_outcome_loss, up_to_first_error

from .batches import NAN, batch_labels, finite, t

BINARY, THREE = (0.0, 1.0), (-1.0, 0.0, 1.0)


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


def log_loss(logit, label):
    return label * math.log1p(math.exp(-logit)) + (1 - label) * math.log1p(math.exp(logit))


# --------------------------------------------------------------------------------- outcomes at every token


def test_a_response_costs_the_mean_over_its_tokens():
    # response 0: right, tokens 1 and −2; response 1: unknown; response 2: wrong, one token; response 3: no token
    found = token_outcome_loss(t(1.0, -2.0, 9.0, 0.5), t(1.0, NAN, 0.0, 1.0), ints(0, 0, 1, 2))
    wanted = t((log_loss(1, 1) + log_loss(-2, 1)) / 2, 0.0, log_loss(0.5, 0), 0.0)
    torch.testing.assert_close(found, wanted)


def test_the_language_model_loss_is_the_mean_over_the_tokens_of_a_response():
    found = language_model_loss(t(-1.0, -3.0, -5.0), ints(0, 0, 2), 3)
    torch.testing.assert_close(found, t(2.0, 0.0, 5.0))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.one_of(st.just(NAN), st.sampled_from([0.0, 1.0, 0.25])), st.lists(st.floats(-20, 20), max_size=5)),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 1000),
)
def test_it_equals_the_definition_one_response_at_a_time_in_any_order_of_the_tokens(responses, seed):
    wanted = [
        sum(log_loss(z, label) for z in logits) / len(logits) if logits and label == label else 0.0
        for label, logits in responses
    ]
    tokens = [(z, index) for index, (_, logits) in enumerate(responses) for z in logits]
    order = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed)).tolist()
    logits = torch.tensor([tokens[k][0] for k in order], dtype=torch.float64)
    owner = torch.tensor([tokens[k][1] for k in order], dtype=torch.int64)
    found = token_outcome_loss(logits, t(*(label for label, _ in responses)), owner)
    torch.testing.assert_close(found, t(*wanted))


def test_derivatives_of_the_joint_form_agree_with_finite_differences():
    logits, likelihood = t(1.0, -2.0, 0.5).requires_grad_(), t(-1.0, -2.0, -0.1).requires_grad_()
    owner, outcome = ints(0, 0, 2), t(1.0, NAN, 0.3)

    def loss(logits, likelihood):
        return token_outcome_loss(logits, outcome, owner) + 0.5 * language_model_loss(likelihood, owner, 3)

    assert torch.autograd.gradcheck(loss, (logits, likelihood))


def test_the_token_outcome_objective_reads_the_last_token_and_adds_the_language_model():
    labels = batch_labels(4, outcome=[1.0, NAN, 0.0, 1.0], tokens=[0, 0, 1, 2])
    rewards = Rewards(
        tokens=torch.tensor([-1.0, 2.0, 9.0, -0.5]), log_likelihood=torch.tensor([-1.0, -3.0, -9.0, -4.0])
    )
    plain, joint = TokenOutcome(), TokenOutcome(language_model=0.5)
    assert (plain.needs.tokens, plain.needs.log_likelihood) == (True, False)
    assert (joint.needs.tokens, joint.needs.log_likelihood) == (True, True)
    items = plain(rewards._replace(log_likelihood=None), labels)
    wanted = [(log_loss(-1, 1) + log_loss(2, 1)) / 2, 0.0, log_loss(-0.5, 0), 0.0]
    assert items.losses.tolist() == pytest.approx(wanted)
    # unknown outcomes and responses without tokens weigh nothing
    assert items.weights.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert items.logged["accuracy"].tolist() == [1.0, 0.0, 1.0, 0.0]
    assert items.logged["token_accuracy"].tolist() == [0.5, 0.0, 1.0, 0.0]
    assert items.logged["rewards"].tolist() == [2.0, 0.0, -0.5, 0.0]
    items = joint(rewards, labels)
    assert items.losses.tolist() == pytest.approx([wanted[0] + 0.5 * 2, 0.0, wanted[2] + 0.5 * 4, 0.0])
    assert items.logged["language_model_loss"].tolist() == [2.0, 0.0, 4.0, 0.0]


def test_a_batch_that_was_not_built_for_tokens_weighs_nothing():
    items = TokenOutcome()(Rewards(tokens=torch.zeros(0)), batch_labels(2, outcome=[1.0, 0.0]))
    assert items.weights.tolist() == [0.0, 0.0]
    assert items.losses.tolist() == [0.0, 0.0]


# ----------------------------------------------------------------------------------------- process labels


def test_one_column_is_the_logit_of_the_upper_class():
    columns, labels = t(2.0, 2.0, 2.0, 2.0)[:, None], t(1.0, 0.0, 0.25, NAN)
    found = process_loss(columns, labels, classes=BINARY)
    torch.testing.assert_close(found, outcome_loss(columns[:, 0], labels))
    torch.testing.assert_close(found[2], t(log_loss(2, 0.25))[0])


def test_one_column_equals_two_of_which_the_lower_is_zero():
    columns, labels = t(-3.0, 0.5, 2.0)[:, None], t(1.0, 0.0, 0.25)
    two = torch.cat([torch.zeros_like(columns), columns], dim=1)
    torch.testing.assert_close(process_loss(columns, labels, classes=BINARY), process_loss(two, labels, classes=BINARY))


def test_three_classes_cost_the_cross_entropy_of_their_softmax():
    # probabilities 4/7, 2/7, 1/7 of −1, 0, +1
    columns = t(math.log(4), math.log(2), 0.0).expand(5, 3)
    found = process_loss(columns, t(-1.0, 0.0, 1.0, -0.25, NAN), classes=THREE)
    a, b, c = (math.log(7 / each) for each in (4, 2, 1))
    torch.testing.assert_close(found, t(a, b, c, 0.25 * a + 0.75 * b, 0.0))


def test_a_label_between_two_classes_is_shared_between_them():
    found = step_targets(t(-1.0, -0.25, 0.0, 0.9, 1.0), THREE)
    wanted = [[1, 0, 0], [0.25, 0.75, 0], [0, 1, 0], [0, 0.1, 0.9], [0, 0, 1]]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(-50, 50), min_size=2, max_size=5, unique=True).map(sorted),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
def test_the_mean_class_under_the_targets_is_the_label(classes, shares):
    labels = t(*(classes[0] + share * (classes[-1] - classes[0]) for share in shares))
    labels = labels.clamp(classes[0], classes[-1])
    targets = step_targets(labels, [float(value) for value in classes])
    torch.testing.assert_close(targets @ t(*classes), labels, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(targets.sum(1), torch.ones_like(labels))
    assert bool((targets >= 0).all())
    assert int((targets > 0).sum(1).max()) <= 2


def test_log_probabilities_of_class_tokens_are_made_relative_or_taken_as_they_are():
    # "−" has 0.1 of the vocabulary, "+" 0.3; relative to one another 1/4 and 3/4
    columns, labels = t(math.log(0.1), math.log(0.3)).expand(3, 2), t(1.0, 0.0, 0.5)
    relative = process_loss(columns, labels, classes=BINARY, over="classes")
    torch.testing.assert_close(
        relative, t(-math.log(3 / 4), -math.log(1 / 4), -(math.log(3 / 4) + math.log(1 / 4)) / 2)
    )
    absolute = process_loss(columns, labels, classes=BINARY, over="vocabulary")
    torch.testing.assert_close(absolute, t(-math.log(0.3), -math.log(0.1), -(math.log(0.3) + math.log(0.1)) / 2))


def test_only_differences_of_the_columns_matter_over_the_classes():
    columns = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = t(-1.0, 0.0, 0.5, 1.0)
    found = process_loss(columns, labels, classes=THREE)
    torch.testing.assert_close(process_loss(columns + t(5.0, -3.0, 0.0, 9.0)[:, None], labels, classes=THREE), found)


@pytest.mark.parametrize(("columns", "over"), [(1, "classes"), (2, "classes"), (2, "vocabulary")])
def test_derivatives_of_the_process_loss_agree_with_finite_differences(columns, over):
    values = torch.randn(
        4, columns, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    labels = t(1.0, 0.0, 0.3, NAN)
    assert torch.autograd.gradcheck(lambda each: process_loss(each, labels, classes=BINARY, over=over), (values,))


@pytest.mark.parametrize("columns", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_extreme_logits_are_finite_in_loss_and_gradient(columns, dtype):
    rows = torch.tensor([[1e4, -1e4, 1e4], [-1e4, 1e4, 0.0], [1e4, 1e4, 1e4], [1e4, -1e4, 0.0]], dtype=dtype)
    values = rows[:, :columns].clone().requires_grad_()
    classes = THREE if columns == 3 else BINARY
    losses = process_loss(values, torch.tensor([0.0, 1.0, 0.5, NAN]), classes=classes)
    losses.sum().backward()
    assert finite(losses, values.grad)
    assert losses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.equal(values.grad[3], torch.zeros_like(values.grad[3]))


def test_extreme_token_logits_are_finite_in_loss_and_gradient():
    logits = torch.tensor([1e4, -1e4, 1e4, -1e4], dtype=torch.bfloat16, requires_grad=True)
    losses = token_outcome_loss(logits, torch.tensor([1.0, 0.0, NAN]), ints(0, 0, 1, 2))
    losses.sum().backward()
    assert finite(losses, logits.grad)
    assert losses.detach().tolist() == pytest.approx([5e3, 1e4, 0.0], rel=4e-3)


@pytest.mark.parametrize(
    ("columns", "classes", "over"), [(2, THREE, "classes"), (1, THREE, "classes"), (1, BINARY, "vocabulary")]
)
def test_a_head_that_does_not_fit_the_classes_is_an_error(columns, classes, over):
    with pytest.raises(ModelError, match=f"the head gives {columns} outputs per step, for {len(classes)} classes"):
        process_loss(torch.zeros(1, columns), torch.zeros(1), classes=classes, over=over)


@pytest.mark.parametrize(("label", "classes"), [(-1.0, BINARY), (2.0, THREE)])
def test_a_label_outside_the_classes_is_an_error_that_says_what_to_set(label, classes):
    with pytest.raises(DataError, match=rf"label {label:g}, outside the classes .*; objective.classes must reach"):
        process_loss(torch.zeros(1, len(classes)), torch.tensor([label]), classes=classes)


def test_steps_behind_the_first_error_are_left_out_response_by_response():
    labels = t(1.0, 0.0, 1.0, 0.0, 1.0, NAN, 0.0, 1.0, 0.6)
    owner = ints(0, 0, 0, 0, 1, 1, 2, 2, 3)
    kept = [True, True, False, False, True, True, True, False, True]
    assert up_to_first_error(labels, owner, BINARY).tolist() == kept
    # the responses may stand in any order, their steps in their own
    order = [8, 0, 4, 6, 1, 5, 7, 2, 3]
    assert up_to_first_error(labels[order], owner[order], BINARY).tolist() == [kept[k] for k in order]
    assert up_to_first_error(t(), ints(), BINARY).tolist() == []


def test_a_step_is_wrong_where_its_label_is_nearer_to_the_lowest_class():
    # in three classes 0 is neutral; −0.6 is wrong, −0.4 is not
    labels, owner = t(0.0, -0.4, 1.0, -0.6, 1.0), ints(0, 0, 0, 0, 0)
    assert up_to_first_error(labels, owner, THREE).tolist() == [True, True, True, True, False]
    soft = up_to_first_error(t(0.5, 0.49, 1.0), ints(0, 0, 0), BINARY)
    assert soft.tolist() == [True, True, False]


def test_the_process_objective_weighs_labelled_steps_and_logs_its_accuracy():
    steps = [(0, 1.0), (0, 0.0), (0, NAN), (1, 0.5), (1, 1.0)]
    columns = torch.tensor([[2.0], [1.0], [9.0], [3.0], [0.0]])
    labels = batch_labels(3, steps=steps)
    items = Process()(Rewards(steps=columns), labels)
    assert items.weights.tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert items.losses.tolist() == pytest.approx([log_loss(2, 1), log_loss(1, 0), 0.0, log_loss(3, 0.5), math.log(2)])
    # right, wrong, unlabelled, a label between both, a logit that takes no side
    assert items.logged["step_accuracy"].tolist() == [1.0, 0.0, 0.0, 0.5, 0.0]
    chance = [1 / (1 + math.exp(-z)) for z in (2, 1, 0, 3, 0)]
    chance[2] = 0.0
    assert items.logged["step_rewards"].tolist() == pytest.approx(chance)
    assert items.logged["step_labels"].tolist() == [1.0, 0.0, 0.0, 0.5, 1.0]
    shared = Process(weight="response")(Rewards(steps=columns), labels)
    assert shared.weights.tolist() == [0.5, 0.5, 0.0, 0.5, 0.5]
    until = Process(weight="response", until_first_error=True)
    labels = batch_labels(2, steps=[(0, 1.0), (0, 0.0), (0, 0.0), (1, 0.0), (1, 1.0)])
    items = until(Rewards(steps=columns), labels)
    assert items.weights.tolist() == [0.5, 0.5, 0.0, 1.0, 0.0]
    assert items.losses[2] == items.losses[4] == 0.0


def test_a_step_that_an_earlier_response_holds_too_weighs_nothing_but_its_error_counts():
    steps = [(0, 1.0), (0, 0.0), (0, 1.0), (1, 1.0), (1, 0.0), (1, 1.0)]
    labels = batch_labels(2, steps=steps, repeats=[False, False, False, True, True, False])
    columns = torch.ones(6, 1)
    items = Process()(Rewards(steps=columns), labels)
    assert items.weights.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]
    assert items.losses[3] == items.losses[4] == 0.0
    until = Process(until_first_error=True, weight="response")(Rewards(steps=columns), labels)
    assert until.weights.tolist() == [0.5, 0.5, 0.0, 0.0, 0.0, 0.0]


def test_three_classes_log_the_likeliest_class_and_the_mean_class():
    columns = torch.tensor([[0.0, 2.0, 1.0], [0.0, 0.0, 0.0], [5.0, 0.0, 0.0]])
    labels = batch_labels(1, steps=[(0, 0.0), (0, 1.0), (0, -0.5)])
    items = Process(classes=THREE)(Rewards(steps=columns), labels)
    # right; three likeliest classes are none; −0.5 is as much −1 as 0
    assert items.logged["step_accuracy"].tolist() == [1.0, 0.0, 0.5]
    total = 1 + math.exp(2) + math.e
    assert items.logged["step_rewards"].tolist()[:2] == pytest.approx([(math.e - 1) / total, 0.0], abs=1e-6)


def test_no_steps_give_no_items():
    items = Process()(Rewards(steps=torch.zeros(0, 1)), batch_labels(2))
    assert items.losses.shape == items.weights.shape == (0,)
