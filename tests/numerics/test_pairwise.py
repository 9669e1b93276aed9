"""Bradley–Terry against values worked out by hand, its derivatives, its invariances and its extremes."""

from __future__ import annotations

import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plaudit.errors import DataError, ModelError
from plaudit.objectives.config import BradleyTerry
from plaudit.objectives.objective import Rewards
from plaudit.objectives.pairwise import bradley_terry_loss, reward_centering_penalty

from .batches import batch_labels, pair_labels, t


def items_of(config, rewards, pairs, **others):
    """The items of an objective on rewards given as a tensor, and pairs."""
    return config(Rewards(response=rewards, **others), batch_labels(len(rewards), pairs=pairs))


def slow_loss(chosen, rejected, margin, probability, smoothing):
    """The definition, one pair at a time: −p log σ(Δ − m) − (1 − p) log σ(−Δ − m), in plain Python."""
    p = probability * (1 - smoothing) + (1 - probability) * smoothing

    def softplus(x):
        return max(x, 0.0) + math.log1p(math.exp(-abs(x)))

    lead = chosen - rejected
    return p * softplus(-(lead - margin)) + (1 - p) * softplus(lead + margin)


# ---------------------------------------------------------------------------------------------- values


def test_a_lead_of_two_costs_log1p_exp_minus_two():
    torch.testing.assert_close(bradley_terry_loss(t(2.0), t(0.0)), t(math.log1p(math.exp(-2))))


def test_equal_rewards_cost_log_two():
    torch.testing.assert_close(bradley_terry_loss(t(3.0), t(3.0)), t(math.log(2)))


def test_a_margin_is_taken_off_the_lead():
    # lead 2, margin 0.5: log(1 + e^-1.5)
    found = bradley_terry_loss(t(2.0), t(0.0), margin=t(0.5))
    torch.testing.assert_close(found, t(math.log1p(math.exp(-1.5))))
    assert found > bradley_terry_loss(t(2.0), t(0.0))


def test_a_soft_label_weighs_both_directions():
    # p = 0.75, lead 1: 0.75 log(1 + e^-1) + 0.25 log(1 + e)
    wanted = 0.75 * math.log1p(math.exp(-1)) + 0.25 * math.log1p(math.e)
    torch.testing.assert_close(bradley_terry_loss(t(1.0), t(0.0), probability=t(0.75)), t(wanted))


def test_a_soft_label_with_a_margin_asks_either_side_to_lead_by_it():
    # p = 0.75, lead 1, margin 2: 0.75 log(1 + e^-(1-2)) + 0.25 log(1 + e^(1+2))
    wanted = 0.75 * math.log1p(math.e) + 0.25 * math.log1p(math.exp(3))
    found = bradley_terry_loss(t(1.0), t(0.0), margin=t(2.0), probability=t(0.75))
    torch.testing.assert_close(found, t(wanted))


def test_a_tie_is_cheapest_at_no_lead():
    def cost(lead):
        return float(bradley_terry_loss(t(lead), t(0.0), probability=t(0.5)))

    assert cost(0.0) == pytest.approx(math.log(2))
    assert cost(0.0) < cost(0.1) == pytest.approx(cost(-0.1))


def test_smoothing_flips_a_share_of_the_labels():
    # ε = 0.1, lead 1: 0.9 log(1 + e^-1) + 0.1 log(1 + e)
    wanted = 0.9 * math.log1p(math.exp(-1)) + 0.1 * math.log1p(math.e)
    torch.testing.assert_close(bradley_terry_loss(t(1.0), t(0.0), label_smoothing=0.1), t(wanted))


def test_smoothing_of_a_soft_label_mixes_both():
    # p = 0.8, ε = 0.1: 0.8·0.9 + 0.2·0.1 = 0.74
    found = bradley_terry_loss(t(1.0), t(0.0), probability=t(0.8), label_smoothing=0.1)
    torch.testing.assert_close(found, bradley_terry_loss(t(1.0), t(0.0), probability=t(0.74)))


def test_probability_one_is_the_hard_label_in_value_and_gradient():
    rewards = t(-3.0, 0.0, 0.5, 40.0).requires_grad_()
    other = t(1.0, 0.0, -0.5, -40.0)
    hard = bradley_terry_loss(rewards, other, margin=t(0.0, 1.0, 2.0, 3.0))
    soft = bradley_terry_loss(rewards, other, margin=t(0.0, 1.0, 2.0, 3.0), probability=torch.ones(4).double())
    assert torch.equal(hard, soft)
    grads = [torch.autograd.grad(loss.sum(), rewards)[0] for loss in (hard, soft)]
    assert torch.equal(*grads)


def test_a_strength_multiplies_the_loss():
    # strengths 3 and 0 at a lead of 2
    found = bradley_terry_loss(t(2.0, 2.0), t(0.0, 0.0), strength=t(3.0, 0.0))
    torch.testing.assert_close(found, t(3 * math.log1p(math.exp(-2)), 0.0))


def test_the_unbiased_form_weighs_the_stated_side_up_and_the_other_down():
    # ε = 0.1, lead 1: (0.9 log(1 + e^-1) − 0.1 log(1 + e)) / 0.8
    wanted = (0.9 * math.log1p(math.exp(-1)) - 0.1 * math.log1p(math.e)) / 0.8
    torch.testing.assert_close(bradley_terry_loss(t(1.0), t(0.0), flip_rate=0.1), t(wanted))


@pytest.mark.parametrize("margin", [0.0, 1.5])
@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_the_unbiased_form_is_the_clean_loss_on_average_over_flips(rate, margin):
    chosen, rejected, m = t(1.0, -2.0, 0.3), t(0.0, 3.0, 0.3), t(margin, margin, margin)
    p = t(1.0, 0.8, 0.5)
    clean = bradley_terry_loss(chosen, rejected, margin=m, probability=p)
    kept = bradley_terry_loss(chosen, rejected, margin=m, probability=p, flip_rate=rate)
    flipped = bradley_terry_loss(rejected, chosen, margin=m, probability=p, flip_rate=rate)
    torch.testing.assert_close((1 - rate) * kept + rate * flipped, clean)
    # smoothing, the other way to treat noise, is not unbiased
    smooth = [
        bradley_terry_loss(*each, margin=m, probability=p, label_smoothing=rate)
        for each in ((chosen, rejected), (rejected, chosen))
    ]
    assert ((1 - rate) * smooth[0] + rate * smooth[1] - clean)[0].abs() > 0.05


def test_smoothing_and_the_unbiased_form_undo_one_another():
    found = bradley_terry_loss(t(1.0), t(0.0), label_smoothing=0.2, flip_rate=0.2)
    torch.testing.assert_close(found, bradley_terry_loss(t(1.0), t(0.0)))


def test_centering_is_the_squared_sum_of_each_pair():
    torch.testing.assert_close(reward_centering_penalty(t(1.0, 2.0), t(3.0, -2.0)), t(16.0, 0.0))


# ----------------------------------------------------------------------------------------- derivatives


def test_the_gradient_of_a_hard_label_is_the_probability_of_being_wrong():
    # d/dΔ log(1 + e^-Δ) = −σ(−Δ); at Δ = 1: −1 / (1 + e)
    chosen, rejected = t(1.0).requires_grad_(), t(0.0).requires_grad_()
    bradley_terry_loss(chosen, rejected).backward()
    torch.testing.assert_close(chosen.grad, t(-1 / (1 + math.e)))
    torch.testing.assert_close(rejected.grad, t(1 / (1 + math.e)))


@pytest.mark.parametrize("noise", [{}, {"label_smoothing": 0.2}, {"flip_rate": 0.2}])
@pytest.mark.parametrize("soft", [False, True])
def test_derivatives_agree_with_finite_differences(soft, noise):
    generator = torch.Generator().manual_seed(0)
    rewards = [torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    margin = torch.rand(6, generator=generator, dtype=torch.float64)
    probability = torch.rand(6, generator=generator, dtype=torch.float64) if soft else None

    def loss(chosen, rejected):
        return bradley_terry_loss(
            chosen, rejected, margin=margin, strength=1 + margin, probability=probability, **noise
        ) + 0.1 * reward_centering_penalty(chosen, rejected)

    assert torch.autograd.gradcheck(loss, tuple(rewards))


# ------------------------------------------------------------------------------ invariances, extremes


def test_only_the_difference_matters():
    chosen, rejected = t(0.3, -2.0, 5.0), t(1.0, -4.0, 5.0)
    torch.testing.assert_close(bradley_terry_loss(chosen + 5, rejected + 5), bradley_terry_loss(chosen, rejected))


def test_order_of_the_pairs_moves_nothing():
    chosen, rejected, order = t(0.3, -2.0, 5.0), t(1.0, -4.0, 5.0), torch.tensor([2, 0, 1])
    assert torch.equal(bradley_terry_loss(chosen[order], rejected[order]), bradley_terry_loss(chosen, rejected)[order])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"flip_rate": 0.4}, {"probability": (1.0, 1.0, 0.0, 0.5)}]
)
def test_extreme_rewards_are_finite_in_loss_and_gradient(dtype, options):
    if "probability" in options:
        options = {"probability": torch.tensor(options["probability"])}
    chosen = torch.tensor([1e4, -1e4, 1e4, 0.0], dtype=dtype, requires_grad=True)
    rejected = torch.tensor([-1e4, 1e4, 1e4, 0.0], dtype=dtype, requires_grad=True)
    loss = bradley_terry_loss(chosen, rejected, margin=torch.tensor([0.0, 1.0, 1.0, 1e4]), **options)
    loss.sum().backward()
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for each in (loss, chosen.grad, rejected.grad):
        assert torch.isfinite(each).all()


def test_a_wrong_lead_of_twenty_thousand_costs_twenty_thousand():
    loss = bradley_terry_loss(t(-1e4, dtype=torch.bfloat16), t(1e4, dtype=torch.bfloat16))
    assert float(loss) == pytest.approx(2e4, rel=4e-3)


def test_half_precision_rewards_are_subtracted_in_float32():
    # 256.5 needs nine bits: a difference in bfloat16, which has eight, would lose the half
    chosen = torch.tensor([0.5, 256.0], dtype=torch.bfloat16)
    rejected = torch.tensor([-256.0, 0.5], dtype=torch.bfloat16)
    margin = torch.tensor([256.0, 255.0])
    wanted = torch.tensor([math.log1p(math.exp(-0.5))] * 2)
    torch.testing.assert_close(bradley_terry_loss(chosen, rejected, margin=margin), wanted)


def test_no_pairs_give_an_empty_loss_and_a_zero_gradient():
    rewards = torch.randn(3, requires_grad=True)
    items = items_of(BradleyTerry(), rewards, pair_labels([], []))
    assert items.losses.shape == (0,)
    items.losses.sum().backward()
    assert torch.equal(rewards.grad, torch.zeros(3))


# ------------------------------------------------------------------------------- against the definition

finite = st.floats(-50, 50)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(finite, finite, st.floats(0, 5), st.floats(0, 1)), min_size=1, max_size=8),
    st.floats(0, 0.49),
)
def test_it_equals_the_definition_computed_one_pair_at_a_time(pairs, smoothing):
    chosen, rejected, margin, probability = (t(*column) for column in zip(*pairs, strict=True))
    found = bradley_terry_loss(chosen, rejected, margin=margin, probability=probability, label_smoothing=smoothing)
    wanted = [slow_loss(*pair, smoothing) for pair in pairs]
    torch.testing.assert_close(found, t(*wanted), rtol=1e-12, atol=1e-12)


# ----------------------------------------------------------------------------------- shapes are checked


@pytest.mark.parametrize("argument", ["chosen", "rejected", "margin", "probability"])
def test_a_column_in_place_of_a_row_is_refused_and_never_broadcast(argument):
    values = {name: torch.rand(4) for name in ("chosen", "rejected", "margin", "probability")}
    values[argument] = values[argument][:, None]
    chosen, rejected = values.pop("chosen"), values.pop("rejected")
    with pytest.raises(jaxtyping.TypeCheckError):
        bradley_terry_loss(chosen, rejected, **values)


def test_the_check_of_shapes_covers_the_centering_penalty_and_the_labels():
    with pytest.raises(jaxtyping.TypeCheckError):
        reward_centering_penalty(torch.rand(4, 1), torch.rand(4))
    with pytest.raises(jaxtyping.TypeCheckError):
        items_of(BradleyTerry(), torch.rand(4, 1), pair_labels([0], [1]))


# ------------------------------------------------------------------------------------- the objective


def test_the_objective_takes_its_rewards_by_index_and_says_what_to_log():
    items = items_of(BradleyTerry(), torch.tensor([0.0, 2.0, 2.0]), pair_labels([1, 1, 0], [0, 2, 1]))
    wanted = [math.log1p(math.exp(-2)), math.log(2), math.log1p(math.exp(2))]
    torch.testing.assert_close(items.losses, t(*wanted, dtype=torch.float32))
    assert items.logged["accuracy"].tolist() == [1.0, 0.0, 0.0]
    assert items.logged["ties"].tolist() == [0.0, 1.0, 0.0]
    assert items.logged["reward_margin"].tolist() == [2.0, 0.0, -2.0]
    assert items.weights.tolist() == [1.0, 1.0, 1.0]


def test_logged_accuracy_is_of_the_side_that_the_label_holds_better():
    # chosen leads, trails and ties, under labels for chosen, against it, and for neither
    rewards = torch.tensor([2.0, 0.0, 0.0])
    lead, trail, tie = (0, 1), (1, 0), (1, 2)
    pairs = [(*pair, p) for p in (0.8, 0.2, 0.5) for pair in (lead, trail, tie)]
    chosen, rejected, probability = zip(*pairs, strict=True)
    items = items_of(BradleyTerry(), rewards, pair_labels(chosen, rejected, probability=list(probability)))
    assert items.logged["accuracy"].tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5, 0.5, 0.5]


def test_margins_of_the_data_count_only_where_they_are_asked_for():
    rewards, pairs = torch.tensor([2.0, 0.0]), pair_labels([0], [1], margin=[3.0])
    without = items_of(BradleyTerry(), rewards, pairs).losses
    scaled = items_of(BradleyTerry(use_margin=True, margin_scale=0.5), rewards, pairs).losses
    torch.testing.assert_close(without, t(math.log1p(math.exp(-2)), dtype=torch.float32))
    torch.testing.assert_close(scaled, t(math.log1p(math.exp(-0.5)), dtype=torch.float32))


def test_centering_adds_its_share_of_the_squared_sum():
    items = items_of(BradleyTerry(centering=0.01), torch.tensor([3.0, 1.0]), pair_labels([0], [1]))
    wanted = math.log1p(math.exp(-2)) + 0.01 * 16
    torch.testing.assert_close(items.losses, t(wanted, dtype=torch.float32))


def test_group_weights_give_every_group_one_vote():
    # a group of three pairs and a group of one: each group weighs 1
    pairs = pair_labels([0, 0, 1, 3], [1, 2, 2, 4], weight=[1 / 3, 1 / 3, 1 / 3, 1.0])
    rewards = torch.tensor([1.0, 1.0, 1.0, 2.0, 0.0])
    by_group, by_pair = (items_of(BradleyTerry(weight=weight), rewards, pairs) for weight in ("group", "pair"))
    assert by_group.weights.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert by_pair.weights.tolist() == [1.0] * 4
    mean = float((by_group.losses * by_group.weights).sum() / by_group.weights.sum())
    assert mean == pytest.approx((math.log(2) + math.log1p(math.exp(-2))) / 2)


def test_all_pairs_of_two_responses_are_bradley_terry():
    # K = 2 has one pair, of weight 1/C(2,2) = 1
    items = items_of(BradleyTerry(weight="group"), torch.tensor([0.5, -1.0]), pair_labels([0], [1]))
    torch.testing.assert_close(items.losses, bradley_terry_loss(torch.tensor([0.5]), torch.tensor([-1.0])))
    assert items.weights.tolist() == [1.0]


def test_strengths_weigh_the_loss_and_a_pair_without_one_is_left_out():
    pairs = pair_labels([0, 0, 0], [1, 1, 1], margin=[3.0, 1.0, 0.0], weight=[1 / 3] * 3)
    config = BradleyTerry(strength="scaled", margin_scale=2.0, centering=0.1, weight="group")
    items = items_of(config, torch.tensor([2.0, 0.0]), pairs)
    # the scale doubles the strengths: 6, 2, 0; centering, 0.1 · 2², is not a part of the likelihood
    likelihood = math.log1p(math.exp(-2))
    assert items.losses.tolist() == pytest.approx([6 * likelihood + 0.4, 2 * likelihood + 0.4, 0.0])
    assert items.weights.tolist() == pytest.approx([1 / 3, 1 / 3, 0.0])
    assert items.logged["accuracy"].tolist() == [1.0, 1.0, 0.0]


def test_a_negative_strength_is_an_error_that_says_what_to_do():
    pairs = pair_labels([0], [1], margin=[-1.0])
    with pytest.raises(DataError, match=r"margin -1; objective.strength: scaled reads margins as strengths"):
        items_of(BradleyTerry(strength="scaled"), torch.tensor([2.0, 0.0]), pairs)


def test_the_language_model_term_is_that_of_the_chosen_response():
    # response 0 has tokens of −1 and −3, response 1 one of −5; pair 0 chooses 0, pair 1 chooses 1
    pairs = pair_labels([0, 1], [1, 0])
    labels = batch_labels(2, pairs=pairs, tokens=[0, 0, 1])
    objective = BradleyTerry(sft=0.1)
    assert objective.needs.tokens
    assert objective.needs.log_likelihood
    rewards = Rewards(response=torch.tensor([0.0, 0.0]), log_likelihood=torch.tensor([-1.0, -3.0, -5.0]))
    items = objective(rewards, labels)
    assert items.losses.tolist() == pytest.approx([math.log(2) + 0.2, math.log(2) + 0.5])
    assert items.logged["language_model_loss"].tolist() == [2.0, 5.0]
    with pytest.raises(ModelError, match=r"reads Rewards.log_likelihood, .* it gives response"):
        objective(Rewards(response=torch.zeros(2)), labels)
