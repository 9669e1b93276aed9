"""Bradley–Terry finds planted signals that its broken variants miss."""

from __future__ import annotations

import torch

from plaudit.objectives.pairwise import bradley_terry_loss


def fitted(features, loss_of, steps=300):
    """The weights of a linear reward fitted to pairs of ``features`` [pair, 2, feature]; side 0 is chosen."""
    weights = torch.zeros(features.shape[-1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=steps, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        rewards = features @ weights
        loss = loss_of(rewards[:, 0], rewards[:, 1]).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weights.detach()


def drawn_pairs(truth, count, seed):
    """Pairs whose chosen side is drawn by Bradley–Terry from the rewards ``features @ truth``."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 2, len(truth), generator=generator, dtype=torch.float64)
    rewards = features @ truth
    first_wins = torch.rand(count, generator=generator, dtype=torch.float64) < torch.sigmoid(
        rewards[:, 0] - rewards[:, 1]
    )
    return torch.where(first_wins[:, None, None], features, features.flip(1))


def test_the_weights_that_drew_the_pairs_are_found_again():
    truth = torch.tensor([1.5, -1.0, 0.0, 0.5], dtype=torch.float64)
    found = fitted(drawn_pairs(truth, 20_000, seed=0), bradley_terry_loss)
    torch.testing.assert_close(found, truth, atol=0.08, rtol=0)


def test_a_loss_summed_over_the_batch_before_the_sigmoid_does_not_find_them():
    truth = torch.tensor([1.5, -1.0, 0.0, 0.5], dtype=torch.float64)

    def batch_summed(chosen, rejected):
        return bradley_terry_loss(chosen.sum()[None], rejected.sum()[None])

    found = fitted(drawn_pairs(truth, 20_000, seed=0), batch_summed)
    assert (found - truth).abs().max() > 0.3


def test_soft_labels_are_followed_where_hard_ones_mislead():
    """One feature decides with probability 0.7; every label names its side chosen, and only p tells how surely."""
    features = torch.zeros(200, 2, 1, dtype=torch.float64)
    features[:, 0, 0] = 1.0
    p = torch.full((200,), 0.7, dtype=torch.float64)
    soft = fitted(features, lambda c, r: bradley_terry_loss(c, r, probability=p))
    torch.testing.assert_close(torch.sigmoid(soft), torch.tensor([0.7], dtype=torch.float64), atol=1e-4, rtol=0)
    hard = fitted(features, bradley_terry_loss)
    assert torch.sigmoid(hard).item() > 0.99


def test_a_margin_pushes_the_lead_up_and_its_wrong_sign_pushes_it_down():
    """With p = 0.9 on every pair the lead settles at log 9 without a margin; with one it must grow."""
    features = torch.zeros(200, 2, 1, dtype=torch.float64)
    features[:, 0, 0] = 1.0
    margin = torch.ones(200, dtype=torch.float64)
    p = torch.full((200,), 0.9, dtype=torch.float64)
    plain = fitted(features, lambda c, r: bradley_terry_loss(c, r, probability=p)).item()
    right = fitted(features, lambda c, r: bradley_terry_loss(c, r, probability=p, margin=margin)).item()
    wrong = fitted(features, lambda c, r: bradley_terry_loss(c, r, probability=p, margin=-margin)).item()
    assert abs(plain - 2.1972) < 1e-3
    assert right > plain + 0.3
    assert wrong < plain - 0.3
