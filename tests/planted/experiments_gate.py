"""Planted signals for a gate: prompts of two kinds need opposite attributes, and only the prompt says which."""

from __future__ import annotations

import copy
import functools
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.data.schema.group import Group, Preference, conversation
from plaudit.models.create import build_decoder, build_tokenizer
from plaudit.models.heads.gate import Gate, gate_rows, turn_opening, with_gate
from plaudit.models.heads.head import AttributesHead
from plaudit.models.reward_model import RewardModel
from plaudit.scoring.local.engine import RewardScorer

from .fits import Planted

Layers = list[tuple[Tensor, Tensor]]
WHAT = "200 pairs, prompts of two kinds that need opposite attributes"

FILL = ("the", "a", "small", "large", "house", "tree", "near", "under")
KINDS = ("question", "answer")


def planted(count: int, seed: int) -> list[Group]:
    """Groups of two responses: "cat three" has the first attribute, "dog two" the second; the prompt says which counts.

    The kinds of prompts and the places of the better responses are drawn, so no response is better by itself.
    """
    rng = np.random.default_rng(seed)
    made = []
    for number in range(count):
        kind, first = rng.integers(2, size=2).tolist()
        fill = [" ".join(rng.choice(FILL, 2)) for _ in range(3)]
        texts = [f"{fill[0]} cat three", f"{fill[1]} dog two"]
        better = kind if first == 0 else 1 - kind
        preference = (Preference(better, 1 - better),)
        made.append(
            Group(conversation(f"{KINDS[kind]} {fill[2]}"), tuple(texts[:: 1 - 2 * first]), preference, id=str(number))
        )
    return made


def features(model: RewardModel, groups: list[Group]) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states ``[group, 2, feature]``: at the end of the prompt, its first token, and the last one."""
    encoded = list(model.recipe.encoder(model.tokenizer).encode(list(enumerate(groups)), EncodingReport()))
    batch = build_batch(encoded, layout="padded", pad_id=model.recipe.pad_token)
    rows, found = gate_rows(batch, turn_opening(model.recipe, model.tokenizer))
    assert found.all()
    first = torch.arange(len(rows)) * batch.input_ids.shape[1]
    with torch.no_grad():
        hidden = model.hidden_states(batch)
    at_end, at_first = hidden[rows].unflatten(0, (-1, 2)), hidden[first].unflatten(0, (-1, 2))
    assert torch.allclose(at_end[:, 0], at_end[:, 1], atol=1e-5)
    return at_end, at_first, hidden[batch.response_end].unflatten(0, (-1, 2))


def drawn_layers(width: int) -> nn.Sequential:
    """The layers of a gate over two attributes as they are drawn."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(width, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))


def backward(layers: nn.Module, prompts: Tensor, rewards: Tensor, chosen: Tensor, axis: int) -> None:
    """Add the gradient of the mean −log σ(chosen − rejected), with the softmax over ``axis``: group, response, …"""
    scores = (torch.softmax(layers(prompts), dim=axis) * rewards).sum(dim=-1)
    torch.nn.functional.softplus((2.0 * chosen - 1.0) * (scores[:, 0] - scores[:, 1])).mean().backward()


def tensors(layers: nn.Sequential) -> Layers:
    """The weights and biases of the layers."""
    return [(layer.weight, layer.bias) for layer in layers if isinstance(layer, torch.nn.Linear)]


def fitted_layers(prompts: Tensor, rewards: Tensor, chosen: Tensor, *, axis: int = -1) -> Layers:
    """The layers of a gate, fitted to the preferences with its softmax over ``axis``.

    In float64: Adam would make steps of the rounding errors of a gradient that is zero.
    """
    layers = drawn_layers(prompts.shape[-1]).double()
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.01)
    for _ in range(300):
        optimizer.zero_grad()
        backward(layers, prompts.double(), rewards.double(), chosen, axis)
        optimizer.step()
    return tensors(layers.float())


class Setting(NamedTuple):
    """A model of two attributes, fitted by least squares to a random decoder, and what it says of training pairs."""

    model: RewardModel
    at_end: Tensor
    at_first: Tensor
    rewards: Tensor
    chosen: Tensor


@functools.cache
def setting() -> Setting:
    """The model and its training pairs."""
    groups = planted(200, 0)
    texts = [text for group in groups for text in (group.prompt[0].content, *group.responses)]
    tokenizer = build_tokenizer(texts, vocabulary=400)
    head = AttributesHead(attributes=("cat", "dog"))
    sizes = {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_length": 128, "seed": 0, "init_std": 0.2}
    model = build_decoder(tokenizer, head=head, **sizes).eval()
    at_end, at_first, responses = features(model, groups)
    truth = torch.tensor([[[float("cat" in text), float("dog" in text)] for text in each.responses] for each in groups])
    solution = torch.linalg.lstsq(responses.flatten(0, 1), truth.flatten(0, 1)).solution
    with torch.no_grad():
        model.core.score.weight.copy_(solution.T)
    chosen = torch.tensor([each.preferences[0].chosen for each in groups])
    return Setting(model, at_end, at_first, responses @ solution, chosen)


def accuracy(model: RewardModel, layers: Layers) -> float:
    """The share of held-out pairs that the model with this gate orders right."""
    model = copy.deepcopy(model)
    model.use_layout("shared_prefix")
    groups = planted(200, 1)
    found = RewardScorer(with_gate(model, Gate(layers, temperature=1.0))).score_groups(groups)
    right = [
        each.rewards[group.preferences[0].chosen] > each.rewards[group.preferences[0].rejected]
        for each, group in zip(found, groups, strict=True)
    ]
    return float(np.mean(right))


def gate_axis() -> Planted:
    """A softmax over the responses of a group gives both the same weight of an attribute: no gradient, ever."""
    model, at_end, _, rewards, chosen = setting()
    return {
        "name": "gate, axis of the softmax",
        "what": WHAT,
        "metric": "accuracy on 200 other pairs",
        "right": accuracy(model, fitted_layers(at_end, rewards, chosen)),
        "broken": accuracy(model, fitted_layers(at_end, rewards, chosen, axis=1)),
        "broken_variant": "softmax over the responses, not the attributes",
    }


def gate_position() -> Planted:
    """The first token comes before what tells the prompts apart."""
    model, at_end, at_first, rewards, chosen = setting()
    gate = Gate(fitted_layers(at_first, rewards, chosen), temperature=1.0)
    scores = (gate(at_first).detach() * rewards).sum(dim=-1)
    return {
        "name": "gate, where it reads",
        "what": WHAT,
        "metric": "accuracy on 200 other pairs; broken: on those it was fitted to",
        "right": accuracy(model, fitted_layers(at_end, rewards, chosen)),
        "broken": float(((scores[:, 1] > scores[:, 0]).long() == chosen).float().mean()),
        "broken_variant": "reads the first token, not the end of the prompt",
    }


EXPERIMENTS = (gate_axis, gate_position)
