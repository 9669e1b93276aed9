"""Planted signals for the objectives at tokens and steps. Each function gives the right figure and a broken one."""

from __future__ import annotations

import torch
from torch import Tensor

from plaudit.objectives.numerics import segment_mean
from plaudit.objectives.pairwise import language_model_loss
from plaudit.objectives.pointwise import outcome_loss
from plaudit.objectives.token import process_loss, token_outcome_loss, up_to_first_error

from .fits import Planted, descended, drawn, fitted, normal, uniform

BINARY = (0.0, 1.0)
THREE = (-1.0, 0.0, 1.0)
COUNT, WIDTH = 1000, 20


def drawn_solutions(seed: int):
    """Quality, outcome and length of solutions: σ(2 · quality) of them are right, in 1 to 5 tokens; others take 16."""
    generator = drawn(seed)
    quality = normal(generator, COUNT)
    outcome = (uniform(generator, COUNT) < torch.sigmoid(2 * quality)).double()
    length = torch.where(outcome == 1, 1, 16) + (uniform(generator, COUNT) * 5).long().clamp(max=4)
    return quality, outcome, length


def even_chance(loss_of) -> float:
    """How far the probability at quality 0, which is ½, is missed by the weight and offset that are least in loss."""
    return abs(float(torch.sigmoid(fitted(loss_of, 0.0, 0.0)[1])) - 0.5)


def padding_tokens() -> Planted:
    """Tokens in a rectangle, right solutions short: their padding would be learned as right."""
    quality, outcome, length = drawn_solutions(seed=0)
    owner = torch.arange(COUNT).repeat_interleave(WIDTH)
    real = torch.arange(WIDTH).repeat(COUNT) < length[owner]
    feature = quality[owner] * real

    def loss_on(tokens: Tensor):
        def loss(weights: Tensor) -> Tensor:
            logits = weights[0] * feature[tokens] + weights[1]
            return token_outcome_loss(logits, outcome, owner[tokens]).mean()

        return loss

    return {
        "name": "token_outcome",
        "what": "1,000 solutions: right ones of 1 to 5 tokens, wrong ones of 16 to 20",
        "metric": "error of the probability at a token where right and wrong are even",
        "right": even_chance(loss_on(real)),
        "broken": even_chance(loss_on(torch.ones_like(real))),
        "broken_variant": "padding counted as tokens",
    }


def pooled_tokens() -> Planted:
    """An item is a response: long solutions, mostly wrong, must not count for their length."""
    quality, outcome, length = drawn_solutions(seed=0)
    owner = torch.arange(COUNT).repeat_interleave(length)

    def right(weights: Tensor) -> Tensor:
        return token_outcome_loss(weights[0] * quality[owner] + weights[1], outcome, owner).mean()

    def broken(weights: Tensor) -> Tensor:
        return outcome_loss(weights[0] * quality[owner] + weights[1], outcome[owner]).mean()

    return {
        "name": "token_outcome",
        "what": "1,000 solutions: right ones of 1 to 5 tokens, wrong ones of 16 to 20",
        "metric": "error of the probability at a token where right and wrong are even",
        "right": even_chance(right),
        "broken": even_chance(broken),
        "broken_variant": "mean over the tokens of the batch in place of the response",
    }


def joint_language_model() -> Planted:
    """The joint form keeps the model a language model: here a unigram over four of eight words."""
    generator = drawn(1)
    words = torch.randint(0, 4, (400,), generator=generator)
    owner = torch.arange(20).repeat_interleave(20)
    outcome = torch.ones(20, dtype=torch.float64)

    def nats(sign: float) -> float:
        def loss(weights: Tensor) -> Tensor:
            likelihood = torch.log_softmax(weights[1:], 0)[words]
            joint = sign * language_model_loss(likelihood, owner, 20)
            return (token_outcome_loss(weights[0].expand(400), outcome, owner) + joint).mean()

        found = descended(loss, *[0.0] * 9, steps=200, rate=0.5)
        return float(-torch.log_softmax(found[1:], 0)[words].mean())

    return {
        "name": "token_outcome, language_model",
        "what": "solutions over four words of eight; a unigram language model",
        "metric": "nats per token after 200 steps (start: 2.079, least: 1.386)",
        "right": nats(1.0),
        "broken": nats(-1.0),
        "broken_variant": "log-likelihood added, not subtracted",
    }


def drawn_steps(seed: int):
    """Features [response, step], labels and numbers of steps: σ(2 · feature + 1) of the steps are right."""
    generator = drawn(seed)
    feature = normal(generator, COUNT, WIDTH)
    label = (uniform(generator, COUNT, WIDTH) < torch.sigmoid(2 * feature + 1)).double()
    length = 1 + (uniform(generator, COUNT) * WIDTH).long().clamp(max=WIDTH - 1)
    return feature, label, length


def missed_chance(feature: Tensor, label: Tensor, counted: Tensor) -> float:
    """How far the probability at feature 0, which is σ(1), is missed."""

    def loss(weights: Tensor) -> Tensor:
        columns = (weights[0] * feature + weights[1])[:, None]
        return process_loss(columns, label, classes=BINARY)[counted].mean()

    found = torch.sigmoid(fitted(loss, 0.0, 0.0)[1])
    return abs(float(found - torch.sigmoid(torch.tensor(1.0))))


def padding_steps() -> Planted:
    """Solutions of different numbers of steps in a rectangle; what is not there has no label."""
    feature, label, length = drawn_steps(seed=2)
    absent = torch.arange(WIDTH) >= length[:, None]
    feature = feature.masked_fill(absent, 0.0).flatten()
    label = label.masked_fill(absent, torch.nan).flatten()
    return {
        "name": "process, two classes",
        "what": "1,000 solutions of 1 to 20 steps in a rectangle of 20",
        "metric": "error of the probability at a middling step (truth: 0.731)",
        "right": missed_chance(feature, label, ~label.isnan()),
        "broken": missed_chance(feature, label.nan_to_num(0.0), torch.ones_like(label, dtype=torch.bool)),
        "broken_variant": "padding counted as a wrong step",
    }


def first_error() -> Planted:
    """Behind its first wrong step everything in a solution was marked wrong, whatever it says."""
    feature, label, _ = drawn_steps(seed=3)
    marked = (torch.cumprod(label, dim=1)).flatten()
    owner = torch.arange(COUNT).repeat_interleave(WIDTH)
    kept = up_to_first_error(marked, owner, BINARY)
    return {
        "name": "process, until_first_error",
        "what": "1,000 solutions of 20 steps, all marked wrong behind the first error",
        "metric": "error of the probability at a middling step (truth: 0.731)",
        "right": missed_chance(feature.flatten(), marked, kept),
        "broken": missed_chance(feature.flatten(), marked, torch.ones_like(kept)),
        "broken_variant": "steps behind the first error carry a loss",
    }


def three_classes() -> Planted:
    """Labels −1, 0, +1 are classes 0, 1, 2; used as indices, −1 is the last class of all."""
    generator = drawn(4)
    features = torch.cat([normal(generator, 3000, 2), torch.ones(3000, 1, dtype=torch.float64)], dim=1)
    label = torch.bucketize(features[:, 0].contiguous(), torch.tensor([-0.5, 0.5], dtype=torch.float64)).double() - 1

    def accuracy(loss_of) -> float:
        def loss(weights: Tensor) -> Tensor:
            return loss_of(features @ weights.view(3, 3)).mean() + 1e-4 * weights.square().sum()

        found = features @ fitted(loss, *[0.0] * 9).view(3, 3)
        return float((found.argmax(1) - 1 == label).double().mean())

    return {
        "name": "process, three classes",
        "what": "3,000 steps labelled −1, 0, +1 by one feature",
        "metric": "step accuracy",
        "right": accuracy(lambda columns: process_loss(columns, label, classes=THREE)),
        "broken": accuracy(lambda columns: -torch.log_softmax(columns, 1)[torch.arange(3000), label.long()]),
        "broken_variant": "labels used as class indices",
    }


def soft_steps() -> Planted:
    """A label of −0.25 means ¼ at −1 and ¾ at 0, and so does the model's mean class."""
    label = torch.tensor([-0.25, 0.5], dtype=torch.float64).repeat_interleave(50)

    def gap(target: Tensor) -> float:
        def loss(weights: Tensor) -> Tensor:
            columns = weights.view(2, 3).repeat_interleave(50, 0)
            return process_loss(columns, target, classes=THREE).mean() + 1e-6 * weights.square().sum()

        classes = torch.tensor(THREE, dtype=torch.float64)
        mean = torch.softmax(fitted(loss, *[0.0] * 6).view(2, 3), 1) @ classes
        return float((mean - label[[0, 50]]).abs().max())

    return {
        "name": "process, soft labels",
        "what": "steps labelled −0.25 and 0.5 in classes −1, 0, +1",
        "metric": "largest gap between the model's mean class and the label",
        "right": gap(label),
        "broken": gap(label.round()),
        "broken_variant": "soft labels rounded to the nearest class",
    }


def class_tokens() -> Planted:
    """What "+" and "−" share of the vocabulary depends on the topic; the label does not."""
    generator = drawn(5)
    feature, topic = normal(generator, 3000), uniform(generator, 3000)
    label = (uniform(generator, 3000) < torch.sigmoid(2 * feature + 1)).double()

    def missed(loss_of) -> float:
        def loss(weights: Tensor) -> Tensor:
            z = weights[0] * feature + weights[1]
            relative = torch.log_softmax(torch.stack([torch.zeros_like(z), z], dim=1), 1)
            return loss_of(relative + torch.log(0.05 + 0.9 * topic)[:, None]).mean()

        return abs(float(torch.sigmoid(fitted(loss, 0.0, 0.0)[1])) - float(torch.sigmoid(torch.tensor(1.0))))

    def plus_alone(columns: Tensor) -> Tensor:
        return -label * columns[:, 1] - (1 - label) * torch.log1p(-columns[:, 1].exp())

    return {
        "name": "process, language-model form",
        "what": "3,000 steps whose class tokens hold 5 to 95 % of the vocabulary's probability",
        "metric": "error of the probability at a middling step (truth: 0.731)",
        "right": missed(lambda columns: process_loss(columns, label, classes=BINARY)),
        "broken": missed(plus_alone),
        "broken_variant": 'the probability of "+" alone read as that of right',
    }


def vocabulary() -> Planted:
    """Over the vocabulary a model also learns to say a class token at all: here two tokens of eight."""
    label = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)

    def mass(over) -> float:
        def loss(weights: Tensor) -> Tensor:
            columns = torch.log_softmax(weights, 0)[:2].expand(4, 2)
            return process_loss(columns, label, classes=BINARY, over=over).mean() + 1e-4 * weights.square().sum()

        return float(torch.softmax(fitted(loss, *[0.0] * 8), 0)[:2].sum())

    return {
        "name": "process, over: vocabulary",
        "what": "a next-token distribution over eight tokens, two of them classes",
        "metric": "probability of the two class tokens together (start: 0.25)",
        "right": mass("vocabulary"),
        "broken": mass("classes"),
        "broken_variant": "only the share among the classes trained",
    }


def response_weight() -> Planted:
    """Ten long solutions of forty wrong steps, a hundred of one right step."""
    owner = torch.cat([torch.arange(10).repeat_interleave(40), torch.arange(10, 110)])
    label = (owner >= 10).double()

    def chance(mean) -> float:
        def loss(weights: Tensor) -> Tensor:
            return mean(process_loss(weights.expand(500)[:, None], label, classes=BINARY))

        return float(torch.sigmoid(fitted(loss, 0.0)))

    return {
        "name": "process, weight: response",
        "what": "10 solutions of 40 wrong steps, 100 of one right step",
        "metric": "gap between the model's probability and the share of the solutions, 100/110",
        "right": abs(chance(lambda losses: segment_mean(losses, owner, 110).mean()) - 100 / 110),
        "broken": abs(chance(lambda losses: losses.mean()) - 100 / 110),
        "broken_variant": "every step weighs 1",
    }


EXPERIMENTS = (
    padding_tokens,
    pooled_tokens,
    joint_language_model,
    padding_steps,
    first_error,
    three_classes,
    soft_steps,
    class_tokens,
    vocabulary,
    response_weight,
)
