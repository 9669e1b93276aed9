"""Makes a plain Python function a ``Scorer``."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from plaudit.data.group import Group, Message
from plaudit.errors import ModelError, PlauditError
from plaudit.scoring.scorer import GroupRewards

RewardFunction = Callable[[Sequence[Message], Sequence[str]], Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class FunctionScorer:
    """A function of a prompt (messages) and its responses that returns one reward per response."""

    function: RewardFunction

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the function's rewards of each group, in order.

        Raises:
            ModelError: when the function returns another number of rewards.
        """
        for group in groups:
            rewards = tuple(self.function(group.prompt, group.responses))
            if len(rewards) != len(group.responses):
                raise ModelError(
                    f"the reward function returned {len(rewards)} rewards for the {len(group.responses)} responses of "
                    f"group {group.id!r}"
                )
            values = tuple(None if reward is None else float(reward) for reward in rewards)
            yield GroupRewards(id=group.id, rewards=values)


def load_function(path: str) -> FunctionScorer:
    """Return the function that ``module:function`` names, as a scorer.

    Raises:
        ModelError: when there is no such module or function.
    """
    module_name, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except PlauditError:
        raise
    except (ImportError, AttributeError) as error:
        raise ModelError(f"no function {path!r}: {error}") from error
    if not callable(function):
        raise ModelError(
            f"{path!r} is {type(function).__name__}; it must be a function of (prompt, responses)"
        )
    return FunctionScorer(function)
