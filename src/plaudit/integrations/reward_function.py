"""A reward model as the ``reward_funcs`` of TRL's trainers take it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plaudit.data.schema.group import Group, Message, conversation
from plaudit.data.schema.turns import KEYS, ROLE_NAMES, is_list
from plaudit.errors import DataError, InvalidGroupError
from plaudit.opening import open_scorer
from plaudit.scoring.scorer import Scorer

RewardFunction = Callable[..., "list[float | None]"]
"""``(prompts, completions, **columns) -> rewards``."""


def reward_function(model: str | Path | Scorer) -> RewardFunction:
    """Return a function ``(prompts, completions, **columns) -> rewards``, as TRL's trainers take in ``reward_funcs``.

    Prompts and completions are texts, or lists of messages; a prompt that is a text is one user turn. Completions of
    one prompt are scored together, so each prompt is encoded once. A reward is None where there is none: an empty
    completion, one that ends in no text of the assistant, one that is too long or that the chat template refuses, and
    where a prompt or a completion is neither a text nor messages.
    Other keyword arguments, as the columns of the data that TRL hands over, are left aside.

    Raises:
        ModelError, CheckpointError: when the model cannot be loaded.
        DataError: of the function, where prompts and completions are not two lists of one length.
    """
    scorer = open_scorer(str(model)) if isinstance(model, str | Path) else model

    def rewards(prompts: Iterable[Any], completions: Iterable[Any], **columns: Any) -> list[float | None]:
        prompts, completions = _listed(prompts, "prompts"), _listed(completions, "completions")
        if len(prompts) != len(completions):
            raise DataError(f"there are {len(prompts)} prompts and {len(completions)} completions; each needs its own")
        return _rewards(scorer, prompts, completions)

    rewards.__name__ = _function_name(model)
    return rewards


def _listed(values: Any, name: str) -> list[Any]:
    """Return the entries of ``values``; those of one text would be its characters, those of a message its keys."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise DataError(f"{name} is {type(values).__name__}; it must be a list, with an entry for every completion")
    return list(values)


def _function_name(model: str | Path | Scorer) -> str:
    """Return the name under which TRL logs the rewards."""
    return Path(model).name or "reward" if isinstance(model, str | Path) else type(model).__name__


def _rewards(scorer: Scorer, prompts: Sequence[Any], completions: Sequence[Any]) -> list[float | None]:
    found: list[float | None] = [None] * len(prompts)
    members: dict[str, list[int]] = {}
    turns: dict[str, Any] = {}
    responses: dict[int, str] = {}
    for place, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        asked, spoken = _turns(prompt, "user"), _turns(completion, "assistant")
        if asked is None or spoken is None:
            continue
        conversation, response = _split(asked, spoken)
        if response is None or not response.strip():
            continue
        key = json.dumps(conversation, sort_keys=True, default=str)
        turns[key], responses[place] = conversation, response
        members.setdefault(key, []).append(place)
    groups: list[Group] = []
    places: list[list[int]] = []
    for number, (key, alike) in enumerate(members.items()):
        for part in _valid(turns[key], alike, responses, id=str(number)):
            groups.append(part[0])
            places.append(part[1])
    for alike, scored in zip(places, scorer.score_groups(groups), strict=True):
        for place, reward in zip(alike, scored.rewards, strict=True):
            found[place] = reward
    return found


def _valid(turns: Any, alike: list[int], responses: Mapping[int, str], *, id: str) -> Iterator[tuple[Group, list[int]]]:
    """Yield the completions of one prompt as a group; where one of them makes no group, each that does by itself."""
    try:
        yield _group(turns, [responses[place] for place in alike], id), alike
    except InvalidGroupError:
        for place in alike if len(alike) > 1 else ():
            yield from _valid(turns, [place], responses, id=f"{id}/{place}")


def _group(turns: Any, responses: Sequence[str], id: str) -> Group:
    return Group(prompt=conversation(turns), responses=tuple(responses), id=id)


def _turns(said: Any, role: str) -> list[dict[str, Any]] | None:
    """Return a text, a message or a list of messages as messages, a text as one of ``role``; None of anything else."""
    if isinstance(said, str):
        return [{"role": role, "content": said}]
    messages: list[Any] = [said] if isinstance(said, Mapping) else list(said) if is_list(said) else [None]
    if not all(isinstance(each, (Mapping, Message)) for each in messages):
        return None
    return [_turn(each) for each in messages]


def _split(turns: list[dict[str, Any]], spoken: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
    """Return the conversation before the response, and the response; None where there is no text of the assistant.

    A completion of several turns, as with tools, is scored by its last; a prompt that ends in the beginning of the
    response gives it back.
    """
    if not spoken or spoken[-1]["role"] != "assistant":
        return turns, None
    turns, response = [*turns, *spoken[:-1]], spoken[-1]["content"]
    if isinstance(response, str) and turns and turns[-1]["role"] == "assistant":
        begun = turns[-1]["content"]
        return turns[:-1], begun + response if isinstance(begun, str) else None
    return turns, response if isinstance(response, str) else None


def _turn(message: Mapping[str, Any] | Message) -> dict[str, Any]:
    """Return role and text of a message or of a ShareGPT turn, of one in parts the text of the parts.

    The text is None where it has another part.
    """
    if isinstance(message, Message):
        return {"role": message.role, "content": message.content}
    role, content = (message.get(key, message.get(other)) for key, other in zip(*KEYS, strict=True))
    if is_list(content):
        texts: list[Any] = [part.get("text") if isinstance(part, Mapping) else None for part in content]
        content = "".join(texts) if all(isinstance(text, str) for text in texts) else None
    return {"role": ROLE_NAMES.get(role.strip().lower(), role) if isinstance(role, str) else role, "content": content}
