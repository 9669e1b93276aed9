"""Put your own head on a backbone: here, a two-layer head trained on frozen features of a reward model.

    python examples/your_own_head.py runs/quickstart/run

``RewardModel.features`` gives the hidden state at the last token of each response, in any layout. What you do with it
is yours: this script trains a small network on those features with the Bradley–Terry loss, and compares it with the
model's own head.
"""

import sys
from pathlib import Path

import torch
from torch import nn

import plaudit
from plaudit import World
from plaudit.batching.batch import TokenBatch, build_batch
from plaudit.batching.encode import EncodingReport
from plaudit.batching.tokens import TokenGroup
from plaudit.models.reward_model import RewardModel
from plaudit.objectives.pairwise import bradley_terry_loss


class TwoLayerHead(nn.Module):
    """Maps hidden states ``[response, feature]`` to rewards ``[response]``."""

    def __init__(self, features: int, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return one reward per response."""
        return self.layers(features).squeeze(-1)


def batches(model: RewardModel, world: World, split: str, count: int) -> list[TokenBatch]:
    """Return groups of the built-in world as batches in the model's layout."""
    groups = list(enumerate(world.groups(count, responses=2, split=split)))
    encoded = model.recipe.encoder(model.tokenizer).encode(groups, EncodingReport())
    tokens = [each for each in encoded if isinstance(each, TokenGroup)]
    pad = model.recipe.pad_token
    return [build_batch(tokens[i : i + 50], layout=model.layout, pad_id=pad) for i in range(0, len(tokens), 50)]


def accuracy(rewards: list[torch.Tensor], data: list[TokenBatch]) -> float:
    """Return the share of preferences whose chosen response has the higher reward."""
    right = [r[b.pairs.chosen] > r[b.pairs.rejected] for r, b in zip(rewards, data, strict=True)]
    return torch.cat(right).float().mean().item()


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart/run"
    model = plaudit.load(Path(source)).model
    torch.manual_seed(0)
    world = World(seed=7)
    train, held_out = batches(model, world, "train", 1000), batches(model, world, "held_out", 300)
    with torch.no_grad():
        train_features = [model.features(batch) for batch in train]
        held_out_features = [model.features(batch) for batch in held_out]

    head = TwoLayerHead(train_features[0].shape[1])
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(20):
        for features, batch in zip(train_features, train, strict=True):
            rewards = head(features)
            loss = bradley_terry_loss(rewards[batch.pairs.chosen], rewards[batch.pairs.rejected]).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    with torch.no_grad():
        own = accuracy([model.rewards_from(each) for each in held_out_features], held_out)
        new = accuracy([head(each) for each in held_out_features], held_out)
    print(f"held-out accuracy: the model's head {own:.3f}, your head {new:.3f}")


if __name__ == "__main__":
    main()
