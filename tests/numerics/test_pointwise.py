"""Losses on single responses against values worked out by hand, and what is missing."""

from __future__ import annotations

import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.errors import ModelError
from plaudit.objectives.config import Outcome, Regression
from plaudit.objectives.objective import Rewards
from plaudit.objectives.pairwise import bradley_terry_loss
from plaudit.objectives.pointwise import outcome_loss, regression_loss

from .batches import NAN, batch_labels, finite, t

# ------------------------------------------------------------------------------------------ regression


def test_the_error_of_a_response_is_the_mean_over_its_present_attributes():
    predicted = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    rating = torch.tensor([[0.0, 2.0, 6.0], [NAN, 0.0, NAN], [NAN, NAN, NAN]])
    # (1 + 0 + 9) / 3; 4 alone; nothing
    torch.testing.assert_close(regression_loss(predicted, rating), torch.tensor([10 / 3, 4.0, 0.0]))


def test_errors_are_divided_by_the_scale_of_their_attribute():
    found = regression_loss(t(1.0, 2.0)[None], t(3.0, 32.0)[None], scale=(2.0, 10.0))
    torch.testing.assert_close(found, t((1.0 + 9.0) / 2))


def test_what_is_missing_has_no_gradient():
    predicted = torch.ones(2, 2, requires_grad=True)
    losses = regression_loss(predicted, torch.tensor([[NAN, 3.0], [NAN, NAN]]))
    losses.sum().backward()
    # d/dŷ (ŷ − 3)² = −4
    assert predicted.grad.tolist() == [[0.0, -4.0], [0.0, 0.0]]


def test_a_missing_rating_and_its_prediction_may_be_anything():
    rating = t(1.0, NAN)[None]
    a, b = (regression_loss(t(0.5, other)[None], rating) for other in (0.0, 1e4))
    assert torch.equal(a, b)


def test_derivatives_of_the_regression_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    rating = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    rating[0, 1] = rating[2] = NAN
    assert torch.autograd.gradcheck(lambda each: regression_loss(each, rating, scale=(1.0, 2.0, 0.5)), (predicted,))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(
                st.tuples(st.floats(-9, 9), st.one_of(st.none(), st.floats(-9, 9))), min_size=width, max_size=width
            ),
            min_size=1,
            max_size=5,
        )
    )
)
def test_the_regression_equals_the_definition_one_response_at_a_time(rows):
    wanted = []
    for row in rows:
        errors = [(predicted - rating) ** 2 for predicted, rating in row if rating is not None]
        wanted.append(sum(errors) / len(errors) if errors else 0.0)
    predicted = torch.tensor([[each for each, _ in row] for row in rows], dtype=torch.float64)
    rating = torch.tensor([[NAN if each is None else each for _, each in row] for row in rows], dtype=torch.float64)
    torch.testing.assert_close(regression_loss(predicted, rating), t(*wanted))


def test_the_regression_objective_weighs_rated_responses_and_logs_errors_in_units_of_the_data():
    objective = Regression(attributes=("help", "truth"), scale=(2.0, 1.0))
    assert objective.needs.attributes == ("help", "truth")
    labels = batch_labels(3, ratings=[[3.0, NAN], [NAN, NAN], [1.0, 0.0]])
    items = objective(Rewards(attributes=torch.tensor([[1.0, 9.0], [5.0, 5.0], [1.0, 3.0]])), labels)
    assert items.weights.tolist() == [1.0, 0.0, 1.0]
    assert items.losses.tolist() == [1.0, 0.0, 4.5]
    assert items.logged["mse"].tolist() == [4.0, 0.0, 4.5]
    assert items.logged["bias"].tolist() == [-2.0, 0.0, 1.5]


def test_a_standardised_objective_divides_errors_by_the_scale_of_the_model_and_logs_them_undivided():
    labels = batch_labels(2, ratings=[[44.0, NAN], [50.0, 0.5]])
    rewards = Rewards(attributes=torch.tensor([[50.0, 0.1], [60.0, 0.1]]), attribute_scale=torch.tensor([10.0, 0.2]))
    items = Regression(attributes=("stars", "share"))(rewards, labels)
    # ((50 − 44) / 10)² alone; (1² + (−0.4 / 0.2)²) / 2
    assert items.losses.tolist() == pytest.approx([0.36, 2.5])
    assert items.logged["mse"].tolist() == pytest.approx([36.0, (100.0 + 0.16) / 2])
    assert items.logged["bias"].tolist() == pytest.approx([6.0, 4.8])
    own = Regression(attributes=("stars", "share"), scale=(2.0, 0.4))(rewards, labels)
    assert own.losses.tolist() == pytest.approx([9.0, (25.0 + 1.0) / 2])
    raw = Regression(attributes=("stars", "share"), standardise=False)(rewards, labels)
    assert raw.losses.tolist() == pytest.approx([36.0, (100.0 + 0.16) / 2])


def test_the_loss_in_units_of_the_data_is_that_of_standardised_outputs_and_targets():
    output, rating = t(0.3, -1.2)[None], t(57.0, 0.11)[None]
    scale, location = t(12.0, 0.02), t(50.0, 0.1)
    found = regression_loss(output * scale + location, rating, scale=scale)
    # targets are (57 − 50) / 12 = 7/12 and (0.11 − 0.1) / 0.02 = 0.5
    torch.testing.assert_close(found, t(((0.3 - 7 / 12) ** 2 + 1.7**2) / 2))


def test_a_head_of_another_number_of_attributes_is_an_error():
    objective = Regression(attributes=("help", "truth"))
    with pytest.raises(ModelError, match="rates help, truth; the head gives 3 attributes and the batch 2"):
        objective(Rewards(attributes=torch.zeros(1, 3)), batch_labels(1, ratings=[[1.0, 1.0]]))


# --------------------------------------------------------------------------------------------- outcomes


def test_an_outcome_costs_the_log_loss_of_its_logit():
    # log(1 + e^-2) for right, log(1 + e^2) for wrong, 0.3 / 0.7 of them for a label of 0.3, nothing where unknown
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    found = outcome_loss(t(2.0, 2.0, 2.0, 2.0), t(1.0, 0.0, 0.3, NAN))
    torch.testing.assert_close(found, t(right, wrong, 0.3 * right + 0.7 * wrong, 0.0))


def test_the_positive_weight_multiplies_what_is_right():
    right, wrong = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    found = outcome_loss(t(2.0, 2.0, 2.0), t(1.0, 0.0, 0.5), positive_weight=3.0)
    torch.testing.assert_close(found, t(3 * right, wrong, 1.5 * right + 0.5 * wrong))


def test_an_outcome_is_a_preference_to_a_response_of_reward_zero():
    logits = t(-3.0, 0.2, 5.0)
    p = t(1.0, 0.0, 0.4)
    torch.testing.assert_close(outcome_loss(logits, p), bradley_terry_loss(logits, t(0.0, 0.0, 0.0), probability=p))


def test_derivatives_of_the_outcome_agree_with_finite_differences():
    logits = t(-3.0, 0.2, 5.0, 1.0).requires_grad_()
    outcome = t(1.0, 0.0, 0.4, NAN)
    assert torch.autograd.gradcheck(lambda each: outcome_loss(each, outcome, positive_weight=2.0), (logits,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_extreme_values_are_finite_in_loss_and_gradient(dtype):
    logits = torch.tensor([1e4, -1e4, 1e4, -1e4, 1e4], dtype=dtype, requires_grad=True)
    outcome = torch.tensor([1.0, 1.0, 0.0, 0.5, NAN])
    losses = outcome_loss(logits, outcome, positive_weight=10.0)
    predicted = torch.tensor([[1e4, -1e4]], dtype=dtype, requires_grad=True)
    errors = regression_loss(predicted, torch.tensor([[-1e4, NAN]]))
    (losses.sum() + errors.sum()).backward()
    assert finite(losses, errors, logits.grad, predicted.grad)
    assert losses.detach().tolist() == pytest.approx([0.0, 1e5, 1e4, 5e4, 0.0], rel=4e-3)
    assert losses.dtype == errors.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_the_outcome_objective_weighs_known_outcomes():
    labels = batch_labels(5, outcome=[1.0, 0.0, NAN, 0.0, 0.5])
    items = Outcome()(Rewards(response=torch.tensor([2.0, 2.0, 2.0, 0.0, 1.0])), labels)
    assert items.weights.tolist() == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert items.losses.tolist() == pytest.approx(
        [
            math.log1p(math.exp(-2)),
            math.log1p(math.exp(2)),
            0.0,
            math.log(2),
            (math.log1p(math.exp(-1)) + math.log1p(math.e)) / 2,
        ]
    )
    # a logit of exactly 0 takes no side, and a label of ½ has none
    assert items.logged["accuracy"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.5]
    assert items.logged["rewards"].tolist() == [2.0, 2.0, 0.0, 0.0, 1.0]
    assert items.logged["outcomes"].tolist() == [1.0, 0.0, 0.0, 0.0, 0.5]


def test_columns_in_place_of_rows_are_refused():
    with pytest.raises(jaxtyping.TypeCheckError):
        outcome_loss(torch.rand(4, 1), torch.rand(4))
    with pytest.raises(jaxtyping.TypeCheckError):
        regression_loss(torch.rand(4, 1), torch.rand(4, 2))
