"""What the rewards of a server say of the server: that it is gone, or does not give what its model computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from plaudit.errors import ModelError
from plaudit.scoring.remote.shapes import UNUSABLE, Shape
from plaudit.scoring.scorer import GroupRewards

NO_ANSWER = "no answer from the server"
REFUSED = "refused by the server"

_GIVE_UP_AFTER = 20
"""Groups in a row without an answer after which the run ends: a server that is gone would cost hours of waiting."""
_SATURATED_AFTER = 4
"""First rewards of exactly one number, as no model gives, that tell what the server puts in the place of rewards."""
_SQUASHED_AFTER = 16
"""First rewards all from 0 to 1 that tell of a sigmoid. Sixteen independent normal numbers of standard deviation 1 all
lie there with probability 2·10⁻⁷ at most, which is at mean ½."""

_RAW = "have the server give raw logits (problem_type regression in config.json; of SGLang /classify, not /v1/classify)"
_SOFTMAX = (1.0, f"as from a softmax over one output; {_RAW}")
_SATURATED: dict[Shape, tuple[float, str]] = {
    "vllm-classify": _SOFTMAX,
    "vllm-pooling": _SOFTMAX,
    "vllm-score": _SOFTMAX,
    "sglang": _SOFTMAX,
    "tei": _SOFTMAX,
    "llamafactory": (0.0, "which LLaMA-Factory gives in the place of NaN; look into the model"),
}
_SQUASHERS: tuple[Shape, ...] = ("vllm-classify", "vllm-pooling", "vllm-score", "sglang")
"""Shapes whose server may put a sigmoid on the outputs and not be talked out of it: older versions of vLLM do not know
the switch, and SGLang has none for cross-encoders. TEI has always had one; the other shapes have no sigmoid."""


@final
@dataclass(slots=True)
class Watch:
    """Sees the rewards of every group, in order, and ends the run when they cannot be meant.

    ``probabilities`` says that rewards from 0 to 1 are meant.
    """

    base: str
    shape: Shape
    probabilities: bool
    _lost_in_a_row: int = 0
    _has_answered: bool = False
    _known: int = 0
    _are_saturated: bool = True
    _are_squashed: bool = True

    def see(self, made: GroupRewards) -> None:
        """Take note of the rewards of a group.

        Raises:
            ModelError: see ``RemoteScorer.score_groups``.
        """
        self._has_answered |= any(reward is not None for reward in made.rewards)
        self._lost_in_a_row = self._lost_in_a_row + 1 if self._is_lost(made) else 0
        if self._lost_in_a_row >= _GIVE_UP_AFTER:
            raise ModelError(f"{self.base}: {_GIVE_UP_AFTER} groups in a row have no reward; the last: {made.reason}")
        self._see_numbers([reward for reward in made.rewards if reward is not None])

    def _is_lost(self, made: GroupRewards) -> bool:
        """Return whether a group was not answered, or refused by a server that has answered nothing so far."""
        if made.reason is None or any(reward is not None for reward in made.rewards):
            return False
        words = (NO_ANSWER, UNUSABLE) if self._has_answered else (NO_ANSWER, UNUSABLE, REFUSED)
        return made.reason.startswith(words)

    def _see_numbers(self, rewards: Sequence[float]) -> None:
        if not rewards:
            return
        self._known += len(rewards)
        if self.shape in _SATURATED:
            number, words = _SATURATED[self.shape]
            self._are_saturated = self._are_saturated and all(reward == number for reward in rewards)
            if self._are_saturated and self._known >= _SATURATED_AFTER:
                raise ModelError(f"{self.base}: the first {self._known} rewards are all exactly {number:g}, {words}")
        self._are_squashed = self._are_squashed and all(0.0 <= reward <= 1.0 for reward in rewards)
        if self.probabilities or self.shape not in _SQUASHERS:
            return
        if self._are_squashed and self._known >= _SQUASHED_AFTER:
            raise ModelError(
                f"{self.base}: the first {self._known} rewards all lie from 0 to 1, as after a sigmoid, which was not "
                f"asked for; {_RAW}; of a model whose rewards are meant to lie there, add probabilities=yes to the URL"
            )
