"""The pairs that a model gets most confidently wrong, with their texts."""

from __future__ import annotations

import heapq

from plaudit.data.schema.group import Group
from plaudit.evaluation.metrics.preference import labelled_pairs
from plaudit.records import ItemScore, Record

MAX_PAIRS = 20
MAX_CHARACTERS = 1500


class ConfidentError(Record):
    """A preference pair that the model orders the wrong way round."""

    id: str
    """Id of the group."""
    source: str
    """Source of the group."""
    prompt: str
    """The prompt, its turns labelled where there are several; cut in the middle, so that its end is there."""
    chosen: str
    """The response that the label prefers; cut at the end."""
    rejected: str
    """The other response; cut at the end."""
    chosen_reward: float
    """Reward of ``chosen``."""
    rejected_reward: float
    """Reward of ``rejected``; the larger one."""
    chosen_length: int
    """Characters of the whole chosen response."""
    rejected_length: int
    """Characters of the whole rejected response."""
    prompt_length: int
    """Characters of the whole prompt."""


class ConfidentErrors(Record):
    """Content of ``confident_errors.json``."""

    max_characters: int
    """Each text is cut to this many characters."""
    pairs: tuple[ConfidentError, ...]
    """The most confidently wrong pairs, the largest error first, at most one per prompt."""


class ConfidentErrorCollector:
    """Keeps the ``limit`` most confidently wrong pairs of a stream, one per prompt, in constant memory."""

    def __init__(self, *, limit: int = MAX_PAIRS, max_characters: int = MAX_CHARACTERS) -> None:
        self._limit = limit
        self._max_characters = max_characters
        self._heap: list[tuple[float, int, str, ConfidentError]] = []
        self._count = 0

    def add(self, group: Group, item: ItemScore) -> None:
        """Take note of the worst wrong pair of ``group``, if it has one."""
        wrong = [pair for pair in labelled_pairs(item) if pair.margin < 0]
        if not wrong:
            return
        worst = min(wrong, key=lambda pair: pair.margin)
        size = -worst.margin
        held = next((entry for entry in self._heap if entry[2] == item.prompt_key), None)
        if held is not None:
            if held[0] >= size:
                return
            self._heap.remove(held)
            heapq.heapify(self._heap)
        elif len(self._heap) == self._limit and self._heap[0][0] >= size:
            return
        self._count += 1
        pair = _pair(group, item, worst.chosen, worst.rejected, self._max_characters)
        heapq.heappush(self._heap, (size, -self._count, item.prompt_key, pair))
        if len(self._heap) > self._limit:
            heapq.heappop(self._heap)

    def pairs(self) -> ConfidentErrors:
        """Return the confident errors kept, the largest first; of equal errors, the first in the data."""
        ordered = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))
        return ConfidentErrors(max_characters=self._max_characters, pairs=tuple(entry[3] for entry in ordered))


def _pair(group: Group, item: ItemScore, chosen: int, rejected: int, max_characters: int) -> ConfidentError:
    chosen_reward, rejected_reward = item.rewards[chosen], item.rewards[rejected]
    assert chosen_reward is not None
    assert rejected_reward is not None
    prompt = prompt_text(group)
    return ConfidentError(
        id=group.id,
        source=group.source,
        prompt=cut_middle(prompt, max_characters),
        chosen=cut_end(group.responses[chosen], max_characters),
        rejected=cut_end(group.responses[rejected], max_characters),
        chosen_reward=chosen_reward,
        rejected_reward=rejected_reward,
        chosen_length=item.lengths[chosen],
        rejected_length=item.lengths[rejected],
        prompt_length=len(prompt),
    )


def prompt_text(group: Group) -> str:
    """Return the prompt as one text, its turns labelled where there are several."""
    if len(group.prompt) == 1:
        return group.prompt[0].content
    return "\n\n".join(f"{message.role}: {message.content}" for message in group.prompt)


def cut_end(text: str, limit: int) -> str:
    """Return the first ``limit`` characters, with an ellipsis where some are left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def cut_middle(text: str, limit: int) -> str:
    """Return ``limit`` characters of both ends, with an ellipsis between where some are left out."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return text[:head] + "…" + text[-(limit - 1 - head) :]
