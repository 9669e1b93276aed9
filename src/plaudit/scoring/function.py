"""Makes a plain Python function a ``Scorer``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import SupportsFloat, TypeGuard

from plaudit.data.schema.group import Group, Message
from plaudit.errors import ModelError, PlauditError
from plaudit.scoring.scorer import GroupRewards, ScorerInfo

RewardFunction = Callable[[Sequence[Message], Sequence[str]], Sequence[float | None]]


@dataclass(frozen=True, slots=True)
class FunctionScorer:
    """A function of a prompt (messages) and its responses that returns one reward per response."""

    function: RewardFunction

    @property
    def info(self) -> ScorerInfo:
        """A hash of the code of the module that the function is written in, or of its name without one.

        So no run is resumed once the module has changed. A function has no weights, and its reward scale is unknown.
        """
        code = hashlib.blake2b(_code_of(self.function).encode(), digest_size=8).hexdigest()
        return ScorerInfo(recipe_hash=code, weights_hash=code)

    def score_groups(self, groups: Iterable[Group]) -> Iterator[GroupRewards]:
        """Yield the function's rewards of each group, in order.

        A reward that is None, NaN or infinite is missing, and the group's ``reason`` says so.

        Raises:
            ModelError: when the function fails, or returns anything but one number per response.
        """
        for group in groups:
            values = self._rewards(group)
            odd = [index for index, value in enumerate(values) if value is None or not math.isfinite(value)]
            if not odd:
                yield GroupRewards(id=group.id, rewards=values)
                continue
            reason = f"the function gave no finite number: {values[odd[0]]} for response {odd[0]}"
            finite = tuple(None if index in odd else value for index, value in enumerate(values))
            yield GroupRewards(id=group.id, rewards=finite, reason=reason)

    def _rewards(self, group: Group) -> tuple[float | None, ...]:
        try:
            returned = self.function(group.prompt, group.responses)
            # A generator runs while it is read, and one without an end is read one further than it should go.
            rewards = tuple(itertools.islice(returned, len(group.responses) + 1)) if _is_list(returned) else None
        except PlauditError:
            raise
        except (Exception, SystemExit) as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            raise ModelError(f"the reward function failed on group {group.id!r}: {words}") from error
        if rewards is None:
            raise ModelError(
                f"the reward function returned {type(returned).__name__} for group {group.id!r}; "
                "it must return a list with one number per response"
            )
        if len(rewards) != len(group.responses):
            found = len(rewards) if len(rewards) < len(group.responses) else f"more than {len(group.responses)}"
            raise ModelError(
                f"the reward function returned {found} rewards for the {len(group.responses)} responses of "
                f"group {group.id!r}"
            )
        return tuple(_number(reward, index, group) for index, reward in enumerate(rewards))


def _code_of(function: RewardFunction) -> str:
    inner = inspect.unwrap(function)
    written = inner if inspect.isroutine(inner) or inspect.isclass(inner) else type(inner)
    module = inspect.getmodule(written)
    try:
        if module is not None:
            return inspect.getsource(module)
    except (OSError, TypeError):
        pass
    return f"{written.__module__}.{written.__qualname__}"


def _is_list(returned: object) -> TypeGuard[Iterable[object]]:
    """Return whether the numbers stand in an order: those of a set do not."""
    return isinstance(returned, Iterable) and not isinstance(returned, (str, bytes, Mapping, Set))


def _number(reward: object, index: int, group: Group) -> float | None:
    if reward is None:
        return None
    try:
        if isinstance(reward, SupportsFloat) and not isinstance(reward, str):
            return float(reward)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise ModelError(
        f"the reward function returned {reward!r:.60} for response {index} of group {group.id!r}; "
        "it must be a number that fits a float, or None"
    )


def load_function(path: str) -> FunctionScorer:
    """Return the function that ``module:function`` names, as a scorer.

    Raises:
        ModelError: when there is no such module or function.
    """
    module_name, _, name = path.partition(":")
    if not module_name or not name or module_name.startswith("."):
        raise ModelError(f"no function {path!r}: it must have the form module:function")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except PlauditError:
        raise
    except (ImportError, AttributeError) as error:
        raise ModelError(f"no function {path!r}: {error}") from error
    except (Exception, SystemExit) as error:
        words = f"{type(error).__name__}: {error}"
        raise ModelError(f"the module of {path!r} cannot be imported: {words}") from error
    if not callable(function):
        raise ModelError(f"{path!r} is {type(function).__name__}; it must be a function of (prompt, responses)")
    return FunctionScorer(function)
