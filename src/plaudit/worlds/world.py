"""The built-in world: day plans with a gold reward, every kind of label, and confounders to order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from plaudit.data.schema.group import TWO_CLASSES, Group, Message, conversation
from plaudit.data.schema.pairing import ranks_of
from plaudit.errors import ConfigError, UnknownNameError, closest_or_all
from plaudit.worlds.labels import (
    LABELS,
    Label,
    draw_preferences,
    gold_attributes,
    gold_outcome,
    gold_reward,
    preference_score,
    step_labels,
)
from plaudit.worlds.prompts import CHOICES, NUMBERS, SPLITS, Split, Wishes, draw_prompts, read_wishes
from plaudit.worlds.responses import Draft, branch, draft_response

_SPREAD = 0.35
"""A response's quality is drawn from Beta(spread, spread): most steps right or most wrong, more often than half."""


@dataclass(frozen=True, slots=True)
class World:
    """A world of day plans: a prompt names things that a family loves, a response plans their day in steps.

    A family is on one side of each of a few choices (the sea or the snow, music or the kitchen …). A step is
    right when it serves their side ("They dream of the harbour." → "visit the pier"), wrong when it serves
    the other. The gold reward is (right − wrong) ÷ steps asked for. Length, politeness and layout of a
    response say nothing about it, unless a bias below makes them.

    Everything is drawn from ``seed``: the same seed gives the same text, in any process.

    Raises:
        ConfigError: naming the field that is out of range.
    """

    seed: int = 0
    """Every draw depends on it, and on nothing else that is not written here."""
    choices: int = 3
    """Choices that a prompt tells of, 1 to 4; more is harder to learn."""
    steps: int = 6
    """Steps that a prompt asks for, 2 to 8."""
    popularity: float = 0.65
    """Probability that a family is on the first side of a choice. At ½ a response without its prompt is worth
    nothing, and a model trained from random weights finds its first gradient very late; at 0.65 a judge that
    only knows the popular side is right in about seven pairs of ten, and the rest is learned soon after."""
    temperature: float = 0.1
    """Label noise: P(i preferred to j) = σ((gold_i − gold_j) ÷ temperature). 0 takes the better one."""
    length_bias: float = 0.0
    """Weight of length as quality, −1 to 1; for its place see ``bias_enters``."""
    politeness_bias: float = 0.0
    """Weight of politeness as quality, −1 to 1."""
    bias_enters: Literal["preferences", "responses"] = "preferences"
    """``preferences``: the annotator is swayed, and the gold reward is not. ``responses``: better responses
    are longer or more polite (at −1, shorter or less polite), and the annotator is fair."""
    branching: float = 0.3
    """Probability that a response begins word for word as an earlier one of its group and branches off after
    some steps, as samples of one policy do."""
    soft_labels: bool = False
    """Give every pair the probability itself, on the likelier side, in place of a drawn hard preference."""
    missing_ratings: float = 0.1
    """Probability that a rating is missing."""

    def __post_init__(self) -> None:
        """Check the range of every field."""
        ranges = {
            "choices": (1, len(CHOICES)),
            "steps": (2, len(NUMBERS)),
            "popularity": (0.0, 1.0),
            "temperature": (0.0, float("inf")),
            "length_bias": (-1.0, 1.0),
            "politeness_bias": (-1.0, 1.0),
            "branching": (0.0, 1.0),
            "missing_ratings": (0.0, 1.0),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"World.{name} is {value}; allowed: {low} to {high}")
        if self.bias_enters not in ("preferences", "responses"):
            raise ConfigError(f"World.bias_enters is {self.bias_enters!r}; allowed: preferences, responses")

    def prompts(self, count: int, *, split: Split) -> list[tuple[Message, ...]]:
        """Return the first ``count`` prompts of a split, all different; the splits share no set of things.

        Group number i of ``groups`` has prompt number i.

        Raises:
            UnknownNameError: for a split that is neither ``train`` nor ``held_out``.
        """
        _check_names([split], SPLITS, "split")
        stream = self._prompts(split)
        return [conversation(text) for text in itertools.islice(stream, count)]

    def groups(
        self,
        count: int,
        *,
        responses: int = 2,
        split: Split,
        labels: Collection[Label] = ("preferences",),
    ) -> Iterator[Group]:
        """Yield ``count`` groups of ``split``, streaming, each with ``responses`` different responses.

        Where preferences are asked for, at least two responses of a group differ in gold reward. Ranks,
        outcomes, steps and ratings are without noise; ``missing_ratings`` of the ratings are None.

        Raises:
            UnknownNameError: for a split or a label that does not exist.
            ConfigError: when fewer than two responses are to carry preferences.
        """
        _check_names([split], SPLITS, "split")
        _check_names(labels, LABELS, "label")
        if responses < 1 or ("preferences" in labels and responses < 2):
            raise ConfigError(f"responses is {responses}; a group needs one, and two where it has preferences")
        return self._groups(count, responses=responses, split=split, labels=frozenset(labels))

    def _prompts(self, split: Split) -> Iterator[str]:
        return draw_prompts(
            seed=self.seed, split=split, choices=self.choices, steps=self.steps, popularity=self.popularity
        )

    def _groups(self, count: int, *, responses: int, split: Split, labels: frozenset[Label]) -> Iterator[Group]:
        stream = self._prompts(split)
        for index, prompt in enumerate(itertools.islice(stream, count)):
            draw = random.Random(f"responses/{self.seed}/{split}/{index}")
            wishes = _read(prompt)
            while True:
                texts = self._texts(prompt, responses, quality=None, draw=draw)
                rewards = [gold_reward(wishes, text) for text in texts]
                if "preferences" not in labels or len(set(rewards)) > 1:
                    break
            yield Group(
                prompt=conversation(prompt),
                responses=tuple(texts),
                step_classes=TWO_CLASSES if "steps" in labels else None,
                id=f"world-{self.seed}-{split}-{index}",
                source="world",
                **self._labels(wishes, texts, rewards, labels, draw),
            )

    def gold_reward(self, prompt: str | Sequence[Message], response: str) -> float:
        """Return the gold reward of any text as a response to ``prompt``, from −1 to 1, by reading both.

        It is (right steps − wrong steps) ÷ steps asked for; 0 for a response without steps. Repeating a right
        step counts once.

        Raises:
            ConfigError: for a prompt that is not of this world.
        """
        return gold_reward(_read(_text(prompt)), response)

    def gold_attributes(self, prompt: str | Sequence[Message], response: str) -> dict[str, float]:
        """Return {attribute: value from 0 to 1}: correctness, coverage, courtesy, brevity."""
        return gold_attributes(_read(_text(prompt)), response)

    def sample_responses(
        self, prompt: str | Sequence[Message], count: int, *, quality: float | None = None, seed: int = 0
    ) -> list[str]:
        """Return ``count`` different responses of a synthetic policy.

        Each step is right with probability ``quality``; without it each response draws its own, many of them
        good or bad and few between. ``seed`` is combined with the world's.

        Raises:
            ConfigError: for a quality outside 0 to 1, or a prompt that is not of this world.
        """
        if quality is not None and not 0.0 <= quality <= 1.0:
            raise ConfigError(f"quality is {quality}; allowed: 0 to 1")
        text = _text(prompt)
        return self._texts(text, count, quality=quality, draw=random.Random(f"samples/{self.seed}/{seed}/{text}"))

    def _texts(self, prompt: str, count: int, *, quality: float | None, draw: random.Random) -> list[str]:
        wishes = _read(prompt)
        drafts: list[Draft] = []
        texts: list[str] = []
        while len(texts) < count:
            draft = self._draft(wishes, quality, draw)
            if drafts and draw.random() < self.branching:
                draft = branch(draw.choice(drafts), draft, draw.randrange(1, wishes.steps))
            text = draft.text()
            if text not in texts and len(set(draft.actions)) == len(draft.actions):
                drafts.append(draft)
                texts.append(text)
        return texts

    def _draft(self, wishes: Wishes, quality: float | None, draw: random.Random) -> Draft:
        drawn = draw.betavariate(_SPREAD, _SPREAD) if quality is None else quality
        return draft_response(wishes, draw, quality=drawn, **self._biases("responses"))

    def _biases(self, place: Literal["preferences", "responses"]) -> dict[str, float]:
        """Return the biases where they enter, and none elsewhere."""
        weight = float(self.bias_enters == place)
        return {"length_bias": weight * self.length_bias, "politeness_bias": weight * self.politeness_bias}

    def _labels(
        self,
        wishes: Wishes,
        texts: Sequence[str],
        rewards: Sequence[float],
        labels: frozenset[Label],
        draw: random.Random,
    ) -> dict[str, Any]:
        """Return the label fields of a group; each kind has its own generator, so that none moves another."""
        fields: dict[str, Any] = {}
        preference_draw, rating_draw = random.Random(draw.random()), random.Random(draw.random())
        if "preferences" in labels:
            biases = self._biases("preferences")
            scores = [preference_score(wishes, text, **biases) for text in texts]
            fields["preferences"] = draw_preferences(
                rewards, scores, preference_draw, temperature=self.temperature, soft=self.soft_labels
            )
        if "ranks" in labels:
            fields["ranks"] = ranks_of(rewards)
        if "ratings" in labels:
            fields["ratings"] = self._ratings(wishes, texts, rating_draw)
        if "outcomes" in labels:
            fields["outcomes"] = tuple(gold_outcome(wishes, text) for text in texts)
        if "steps" in labels:
            fields["steps"] = tuple(step_labels(wishes, text) for text in texts)
        return fields

    def _ratings(
        self, wishes: Wishes, texts: Sequence[str], draw: random.Random
    ) -> dict[str, tuple[float | None, ...]]:
        attributes = [gold_attributes(wishes, text) for text in texts]
        return {
            name: tuple(None if draw.random() < self.missing_ratings else values[name] for values in attributes)
            for name in attributes[0]
        }


def _text(prompt: str | Sequence[Message]) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


def _read(prompt: str) -> Wishes:
    wishes = read_wishes(prompt)
    if wishes is None:
        raise ConfigError(f"not a prompt of this world: {prompt[:80]!r}; it must name a thing and ask for steps")
    return wishes


def _check_names(names: Collection[str], allowed: Sequence[str], what: str) -> None:
    for name in names:
        if name not in allowed:
            raise UnknownNameError(f"unknown {what} {name!r}; {closest_or_all(name, allowed)}")
