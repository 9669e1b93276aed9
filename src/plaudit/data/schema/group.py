"""The one row schema of plaudit: a group, one prompt with K responses and their labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from plaudit.data.schema.turns import Changes, is_turn, regular_turn
from plaudit.errors import InvalidGroupError

ROLES = ("system", "user", "assistant", "tool")
MAX_RANK = 2**31 - 1
MAX_RESPONSES = 2**14
"""Responses of one group: metrics and losses compare every two of them, in memory that grows with their square."""
LARGEST = 1e100
"""Largest size of a label, and of a reward that is compared: squares of larger numbers overflow."""


TWO_CLASSES, THREE_CLASSES = (0.0, 1.0), (-1.0, 0.0, 1.0)
"""Classes of a step: wrong and right; wrong, neutral and right."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Preference:
    """An ordered pair inside a group: response ``chosen`` was preferred to response ``rejected``.

    ``margin`` is how much better, in the units of the data. ``probability`` is the probability that
    ``chosen`` is the better one (½ is a tie; absent means the hard label 1).
    """

    chosen: int
    rejected: int
    margin: float | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A reasoning step: ``end`` is the character offset just past its last character, in the response.

    ``label`` is 1 for right, 0 for wrong, −1 / 0 / +1 in three-class data, a soft value between, or None.
    """

    end: int
    label: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, K ≥ 1 responses, and every label that is known about them. Always valid once it exists.

    A response may be empty or blank, as policies give them: it has no reward, and no turn of the prompt may be.
    ``ranks[k]`` is 1 for the best; ties share a rank; None is unranked. ``ratings`` maps an attribute to one
    number or None per response. ``outcomes[k]`` says whether the response is correct. ``steps[k]`` are its
    labelled steps. ``step_classes`` are the values of the classes of a step, ascending, of which the lowest is wrong;
    None where the data do not say whether 0 is wrong or neutral. ``prompt_key`` identifies the prompt, for splits.

    Raises:
        InvalidGroupError: naming the field, the value found and the values allowed.
    """

    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    preferences: tuple[Preference, ...] = ()
    ranks: tuple[int | None, ...] | None = None
    ratings: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    outcomes: tuple[bool | None, ...] | None = None
    steps: tuple[tuple[Step, ...] | None, ...] | None = None
    id: str = ""
    source: str = ""
    step_classes: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check every rule of the schema."""
        check_prompt(self.prompt)
        _check_responses(self.responses)
        _check_preferences(self.preferences, len(self.responses))
        _check_ranks(self.ranks, len(self.responses))
        _check_ratings(self.ratings, len(self.responses))
        _check_outcomes(self.outcomes, len(self.responses))
        _check_steps(self.steps, self.responses)
        _check_step_classes(self.step_classes, self.steps)
        _check_unicode(self.id, "id")
        _check_unicode(self.source, "source")

    @property
    def prompt_key(self) -> str:
        """Return a text equal for equal prompts: whitespace at the ends of a turn does not count."""
        return "\x1e".join(f"{message.role}\x1f{message.content.strip()}" for message in self.prompt)


def conversation(prompt: str | Sequence[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    """Return a prompt as messages: a plain string is one user turn; turns are read as those of a file are.

    Raises:
        InvalidGroupError: naming the turn and what it must be.
    """
    if isinstance(prompt, str):
        return (Message("user", prompt),)
    read: list[Message] = []
    for index, turn in enumerate(prompt):
        place = f"prompt[{index}]"
        if isinstance(turn, Message):
            read.append(turn)
            continue
        if not isinstance(turn, Mapping):
            raise InvalidGroupError(f"{place} is {type(turn).__name__}; it must be an object with role and content")
        regular = regular_turn(turn, place, place, Changes()) if is_turn(turn) else turn
        if regular is not None:
            read.append(Message(_text(regular, "role"), _text(regular, "content")))
    return tuple(read)


def check_prompt(prompt: tuple[Message, ...]) -> None:
    """Raise InvalidGroupError unless ``prompt`` is a conversation that a response can follow."""
    if not prompt:
        raise InvalidGroupError("prompt is empty; it needs at least one message")
    for index, message in enumerate(prompt):
        if not isinstance(message, Message):
            raise InvalidGroupError(f"prompt[{index}] is {type(message).__name__}; it must be a Message")
        if message.role not in ROLES:
            raise InvalidGroupError(f"prompt[{index}].role is {message.role!r}; allowed: {', '.join(ROLES)}")
        _check_text(message.content, f"prompt[{index}].content")
    if prompt[-1].role == "assistant":
        raise InvalidGroupError("prompt ends in an assistant turn; a response must follow another role")
    if all(message.role == "system" for message in prompt):
        raise InvalidGroupError("prompt holds no more than system messages; a response needs something to answer")


def _text(turn: Mapping[str, Any], key: str) -> str:
    value = turn.get(key)
    if not isinstance(value, str):
        raise InvalidGroupError(f"message {key!r} is {type(value).__name__}; it must be a string")
    return value


def _check_text(text: str, name: str) -> None:
    if not isinstance(text, str):
        raise InvalidGroupError(f"{name} is {type(text).__name__}; it must be a string")
    if not text or text.isspace():
        raise InvalidGroupError(f"{name} is empty")
    _check_unicode(text, name)


def _check_unicode(text: str, name: str) -> None:
    if not isinstance(text, str):
        raise InvalidGroupError(f"{name} is {type(text).__name__}; it must be a string")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidGroupError(
                f"{name} holds a lone surrogate at character {error.start}; text must be valid Unicode"
            ) from None


def _check_responses(responses: tuple[str, ...]) -> None:
    if not responses:
        raise InvalidGroupError("responses is empty; a group needs at least one response")
    if isinstance(responses, str):
        raise InvalidGroupError("responses is one string; it must be a tuple of strings")
    if len(responses) > MAX_RESPONSES:
        raise InvalidGroupError(
            f"responses has {len(responses):,} entries; a group has at most {MAX_RESPONSES:,}: split it into several"
        )
    for index, response in enumerate(responses):
        _check_unicode(response, f"responses[{index}]")


def _check_number(value: float, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidGroupError(f"{name} is {type(value).__name__}; it must be a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        raise InvalidGroupError(f"{name} is an integer too large for a 64-bit float") from None
    if not finite:
        raise InvalidGroupError(f"{name} is {value}; it must be finite")
    if abs(value) > LARGEST:
        raise InvalidGroupError(f"{name} is {value:.3g}; it must lie within -{LARGEST:g} and {LARGEST:g}")


def _check_preferences(preferences: tuple[Preference, ...], count: int) -> None:
    for index, preference in enumerate(preferences):
        name = f"preferences[{index}]"
        for side, position in (("chosen", preference.chosen), ("rejected", preference.rejected)):
            if isinstance(position, bool) or not isinstance(position, int) or not 0 <= position < count:
                raise InvalidGroupError(
                    f"{name}.{side} is {position!r}; it must be a response index from 0 to {count - 1}"
                )
        if preference.chosen == preference.rejected:
            raise InvalidGroupError(f"{name} prefers response {preference.chosen} to itself")
        if preference.margin is not None:
            _check_number(preference.margin, f"{name}.margin")
        if preference.probability is not None:
            _check_number(preference.probability, f"{name}.probability")
            if not 0.0 <= preference.probability <= 1.0:
                raise InvalidGroupError(f"{name}.probability is {preference.probability}; it must lie between 0 and 1")


def _check_length(found: int, count: int, name: str) -> None:
    if found != count:
        raise InvalidGroupError(f"{name} has {found} entries for {count} responses")


def _check_ranks(ranks: tuple[int | None, ...] | None, count: int) -> None:
    if ranks is None:
        return
    _check_length(len(ranks), count, "ranks")
    for index, rank in enumerate(ranks):
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= MAX_RANK):
            raise InvalidGroupError(
                f"ranks[{index}] is {rank!r}; it must be an integer from 1 (best) to {MAX_RANK}, or null"
            )


def _check_ratings(ratings: Mapping[str, tuple[float | None, ...]], count: int) -> None:
    for attribute, values in ratings.items():
        _check_unicode(attribute, "ratings: an attribute name")
        _check_length(len(values), count, f"ratings[{attribute!r}]")
        for index, value in enumerate(values):
            if value is not None:
                _check_number(value, f"ratings[{attribute!r}][{index}]")


def _check_outcomes(outcomes: tuple[bool | None, ...] | None, count: int) -> None:
    if outcomes is None:
        return
    _check_length(len(outcomes), count, "outcomes")
    for index, outcome in enumerate(outcomes):
        if outcome is not None and not isinstance(outcome, bool):
            raise InvalidGroupError(f"outcomes[{index}] is {outcome!r}; it must be true, false or null")


def _check_steps(steps: tuple[tuple[Step, ...] | None, ...] | None, responses: tuple[str, ...]) -> None:
    if steps is None:
        return
    _check_length(len(steps), len(responses), "steps")
    for index, response_steps in enumerate(steps):
        previous = 0
        for number, step in enumerate(response_steps or ()):
            name = f"steps[{index}][{number}]"
            if isinstance(step.end, bool) or not isinstance(step.end, int):
                raise InvalidGroupError(f"{name}.end is {step.end!r}; it must be an integer")
            if not previous < step.end <= len(responses[index]):
                raise InvalidGroupError(
                    f"{name}.end is {step.end}; it must lie after {previous} and within the "
                    f"{len(responses[index])} characters of its response"
                )
            previous = step.end
            if step.label is not None:
                _check_number(step.label, f"{name}.label")


def _check_step_classes(classes: tuple[float, ...] | None, steps: tuple[tuple[Step, ...] | None, ...] | None) -> None:
    if classes is None:
        return
    for index, value in enumerate(classes):
        _check_number(value, f"step_classes[{index}]")
    if len(classes) < 2 or any(high <= low for low, high in pairwise(classes)):
        raise InvalidGroupError(f"step_classes is {list(classes)}; it must be two or more numbers that ascend")
    for index, response_steps in enumerate(steps or ()):
        for number, step in enumerate(response_steps or ()):
            if step.label is not None and not classes[0] <= step.label <= classes[-1]:
                raise InvalidGroupError(
                    f"steps[{index}][{number}].label is {step.label:g}, outside the step_classes "
                    f"{', '.join(f'{value:g}' for value in classes)}"
                )
