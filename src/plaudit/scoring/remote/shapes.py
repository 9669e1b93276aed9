"""What reward servers are sent and what they answer: one request body and one way of reading per shape."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, assert_never, cast, final, get_args

from pydantic import TypeAdapter, ValidationError

from plaudit.data.schema.group import Group, Message
from plaudit.errors import ConfigError, ModelError
from plaudit.records import first_problem
from plaudit.scoring.scorer import GroupRewards

Shape = Literal["plaudit", "vllm-classify", "vllm-pooling", "vllm-score", "sglang", "tei", "openrlhf", "llamafactory"]
TextShape = Literal["vllm-classify", "vllm-pooling", "vllm-score", "sglang", "tei", "openrlhf", "llamafactory"]
"""Shapes in which each response is asked about by itself."""

SHAPES: tuple[Shape, ...] = get_args(Shape)
PATHS: dict[Shape, str] = {
    "plaudit": "/rewards",
    "vllm-classify": "/classify",
    "vllm-pooling": "/pooling",
    "vllm-score": "/score",
    "sglang": "/classify",
    "tei": "/predict",
    "openrlhf": "/get_reward",
    "llamafactory": "/v1/score/evaluation",
}
RENDERS: tuple[Shape, ...] = ("plaudit", "vllm-classify", "vllm-pooling")
"""Shapes that take messages, which the server renders with its own chat template."""
ADDS_BOS: tuple[Shape, ...] = ("sglang", "tei")
"""Shapes whose server writes the BOS token itself and cannot be told not to: it is left out of what is sent."""

NOT_FINITE = "the server gave no finite number"
UNUSABLE = "an answer of the server that cannot be used"

_GROUP = TypeAdapter(GroupRewards)
_SHOWN = 200


@final
@dataclass(frozen=True, slots=True)
class Sent:
    """One response as it is sent: as text, or, where ``text`` is None, as messages."""

    prompt: tuple[Message, ...]
    response: str
    text: str | None


def shape_of_routes(routes: Sequence[str]) -> Shape | None:
    """Return the shape of a server with these routes, as its ``/openapi.json`` lists them; None where it is not clear.

    vLLM and SGLang both have ``/classify``; vLLM is known by ``/pooling`` or ``/tokenize``.
    """
    if "/pooling" in routes or {"/classify", "/tokenize"} <= set(routes):
        return "vllm-classify" if "/classify" in routes else "vllm-pooling"
    others: tuple[Shape, ...] = ("plaudit", "sglang", "tei", "openrlhf", "llamafactory")
    found = [shape for shape in others if PATHS[shape] in routes]
    return found[0] if len(found) == 1 else None


def shape_of_path(path: str) -> tuple[Shape | None, str]:
    """Return the shape whose route ``path`` ends in, if there is just one, and what stands before the route."""
    for route in sorted(set(PATHS.values()), key=len, reverse=True):
        if path.endswith(route):
            found = [shape for shape, own in PATHS.items() if own == route]
            prefix = path.removesuffix(route)
            before = prefix.removesuffix("/v1") if route == "/score" else prefix
            return (found[0] if len(found) == 1 else None), before
    return None, path


def groups_body(groups: Sequence[Group], model: str | None) -> dict[str, Any]:
    """Return the request of plaudit's own shape: whole groups, of which the labels are left out."""
    rows = [
        {
            "id": group.id,
            "prompt": [{"role": turn.role, "content": turn.content} for turn in group.prompt],
            "responses": list(group.responses),
        }
        for group in groups
    ]
    return _named({"groups": rows}, model)


def read_groups_answer(answer: object, groups: Sequence[Group]) -> list[GroupRewards | str]:
    """Return what an answer of plaudit's own shape, ``{"groups": [{"id", "rewards", …}]}``, holds for each group.

    A text says why the entry of a group gives it no rewards: it is of another group, has another number of rewards than
    the group has responses, or is of another form.

    Raises:
        ModelError: naming what was found, when there are more or fewer entries than groups.
    """
    entries = _listed(answer, "groups", len(groups))
    return [_read_group(entry, group) for entry, group in zip(entries, groups, strict=True)]


def _read_group(entry: object, group: Group) -> GroupRewards | str:
    try:
        rewards = _GROUP.validate_json(json.dumps(entry), strict=True)
    except ValidationError as error:
        return f"{UNUSABLE}: the entry is not one of rewards: {first_problem(error)}"
    if rewards.id != group.id:
        return f"{UNUSABLE}: it holds group {rewards.id!r} where {group.id!r} was due"
    columns = [*rewards.attributes.values(), rewards.uncertainty or (), *(rewards.steps or ())]
    lists = [rewards.rewards, *rewards.attributes.values(), rewards.steps, rewards.uncertainty]
    if any(len(each) != len(group.responses) for each in lists if each is not None):
        return (
            f"{UNUSABLE}: it has {len(rewards.rewards)} rewards, or another list of another length, for "
            f"{len(group.responses)} responses"
        )
    if not all(value is None or math.isfinite(value) for column in columns for value in column or ()):
        return f"{NOT_FINITE} for an attribute, a step or an uncertainty"
    return _with_finite_rewards(rewards)


def _with_finite_rewards(rewards: GroupRewards) -> GroupRewards:
    """Return the rewards with None for what is no finite number, and a reason where a reward is missing without one."""
    values = [finite(value) for value in rewards.rewards]
    reason = reason_of(values)
    if reason is None:
        return rewards
    known = tuple(None if isinstance(value, str) else value for value in values)
    return replace(rewards, rewards=known, reason=rewards.reason or reason)


def reason_of(values: Sequence[float | str]) -> str | None:
    """Return why responses have no reward, of the values of a group: the first text among them, and whose it is."""
    failed = [index for index, value in enumerate(values) if isinstance(value, str)]
    if not failed:
        return None
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{values[failed[0]]} (response {failed[0]}{more})"


def responses_body(
    shape: TextShape, sent: Sequence[Sent], model: str | None, *, special_tokens: bool
) -> dict[str, Any]:
    """Return the request for some responses; of messages, for one.

    Rewards are asked for as they are, without sigmoid or softmax, where the shape knows a switch; of vLLM under its
    present name only, as versions that know both names read a false under the older ones, ``activation`` and
    ``softmax``, as true. ``special_tokens`` says whether the server is to add its own to a text.

    Raises:
        ConfigError: when a shape that takes texts is to send messages.
    """
    if shape == "vllm-score":
        queries = [query_text(each.prompt) for each in sent]
        documents = [each.response for each in sent]
        return _named({"queries": queries, "documents": documents, "use_activation": False}, model)
    if shape in ("vllm-classify", "vllm-pooling"):
        task = {"task": "classify"} if shape == "vllm-pooling" else {}
        return _named({**_vllm_input(sent, special_tokens), **task, "use_activation": False}, model)
    texts = _texts(shape, sent)
    match shape:
        case "sglang":
            return _named({"text": texts}, model)
        case "tei":
            return {"inputs": [[text] for text in texts], "raw_scores": True, "truncate": False}
        case "openrlhf":
            prompts = [query_text(each.prompt) for each in sent]
            return {"query": texts, "prompts": prompts, "labels": [""] * len(texts)}
        case "llamafactory":
            return {"model": model or "", "messages": texts}
        case _:
            assert_never(shape)


def read_responses_answer(shape: TextShape, answer: object, count: int) -> list[float | str]:
    """Return what an answer holds for each response, in the order of the request: a number, or why there is none.

    Raises:
        ModelError: naming what was found, when it cannot be told which entry is whose: there are more or fewer than
            responses, or their indices are not those of the responses.
    """
    match shape:
        case "vllm-classify":
            return [_read(entry, "probs") for entry in _indexed(answer, "data", count)]
        case "vllm-pooling":
            return [_read(entry, "data") for entry in _indexed(answer, "data", count)]
        case "vllm-score":
            return [_read(entry, "score") for entry in _indexed(answer, "data", count)]
        case "sglang":
            return [_read(entry, "embedding") for entry in _listed(answer, None, count)]
        case "tei":
            return [_read(entry, "score") for entry in _listed(answer, None, count)]
        case "openrlhf":
            return [_read({"rewards": each}, "rewards") for each in _listed(answer, "rewards", count)]
        case "llamafactory":
            return [_read({"scores": each}, "scores") for each in _listed(answer, "scores", count)]
        case _:
            assert_never(shape)


def finite(value: float | None) -> float | str:
    """Return a number, or the reason why it is none."""
    if value is None or not math.isfinite(value):
        return f"{NOT_FINITE}: {'null' if value is None else value}"
    return value


def query_text(prompt: Sequence[Message]) -> str:
    """Return a prompt as one text: a single turn as it is, several with their roles, an empty line between."""
    if len(prompt) == 1:
        return prompt[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in prompt)


def _vllm_input(sent: Sequence[Sent], special_tokens: bool) -> dict[str, Any]:
    texts = [each.text for each in sent if each.text is not None]
    if len(texts) == len(sent):
        return {"input": texts, "add_special_tokens": special_tokens}
    (one,) = sent
    turns = (*one.prompt, Message("assistant", one.response))
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in turns]}


def _texts(shape: Shape, sent: Sequence[Sent]) -> list[str]:
    texts = [each.text for each in sent if each.text is not None]
    if len(texts) < len(sent):
        raise ConfigError(f"a server of the shape {shape} takes texts, not messages; it needs a template")
    return texts


def _named(body: dict[str, Any], model: str | None) -> dict[str, Any]:
    return body if model is None else {"model": model, **body}


def _read(entry: object, name: str) -> float | str:
    """Return the one number of an entry, or the reason why there is none."""
    try:
        return finite(_one(_field(_alone(entry, name), name), name))
    except ModelError as error:
        return f"{UNUSABLE}: {error}"


def _field(entry: object, name: str) -> object:
    if not isinstance(entry, Mapping) or name not in entry:
        raise ModelError(f"an entry has no {name!r}: {_shown(entry)}")
    return cast("Mapping[str, object]", entry)[name]


def _listed(answer: object, key: str | None, count: int) -> list[Any]:
    if key is not None or not isinstance(answer, list):
        if not isinstance(answer, Mapping) or key not in answer:
            wanted = "a list" if key is None else f"an object with {key!r}"
            raise ModelError(f"the answer is {_shown(answer)}; it must be {wanted}")
        answer = answer[key]
    if not isinstance(answer, list) or len(answer) != count:
        found = f"{len(answer)} entries" if isinstance(answer, list) else _shown(answer)
        raise ModelError(f"the answer is {found}; it must be a list with an entry for each of {count}")
    return answer


def _indexed(answer: object, key: str, count: int) -> list[Mapping[str, Any]]:
    """Return the entries in the order of their ``index``, which a server is free to leave."""
    entries = _listed(answer, key, count)
    numbers = [_field(entry, "index") for entry in entries]
    if sorted(map(str, numbers)) != sorted(map(str, range(count))):
        raise ModelError(f"the entries of the answer have the indices {numbers}; they must be 0 to {count - 1}")
    return sorted(entries, key=lambda entry: int(entry["index"]))


def _alone(value: object, name: str) -> object:
    """Return what stands in ``value``, or in the lists around it.

    Raises:
        ModelError: when there are several, or none.
    """
    while isinstance(value, list):
        if len(value) != 1:
            raise ModelError(
                f"{name!r} holds {len(value)} entries for one response: {_shown(value)}; a reward is one number, so "
                "the model must have one output (num_labels 1)"
            )
        value = value[0]
    return value


def _one(values: object, name: str) -> float | None:
    """Return the only number in ``values``.

    Raises:
        ModelError: when there are several or none, or it is not a number.
    """
    value = _alone(values, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ModelError(f"{name!r} holds {_shown(value)} where a number must stand")
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
