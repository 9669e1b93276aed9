"""The forms in which reward servers are asked and answer: one ``Dialect`` each, and the reader of their answers."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, final

from pydantic import TypeAdapter, ValidationError

from plaudit.data.schema.group import Group, Message
from plaudit.errors import ModelError
from plaudit.records import first_problem
from plaudit.scoring.scorer import GroupRewards

Shape = Literal["plaudit", "vllm-classify", "vllm-pooling", "vllm-score", "sglang", "tei", "openrlhf", "llamafactory"]
"""Dialects: plaudit's own asks about whole groups, the others about each response by itself."""

NOT_FINITE = "the server gave no finite number"
UNUSABLE = "an answer of the server that cannot be used"

_SHOWN = 200
RAW_LOGITS = (
    "have the server give raw logits (problem_type regression in config.json; of SGLang /classify, not /v1/classify)"
)
_SOFTMAX = (1.0, f"as from a softmax over one output; {RAW_LOGITS}")


@final
@dataclass(frozen=True, slots=True)
class Sent:
    """One response as it is sent: as text, or, where ``text`` is empty, as messages."""

    prompt: tuple[Message, ...]
    response: str
    text: str


Body = dict[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Form of the requests and the answers of one kind of server.

    Rewards are asked for as they are, without sigmoid or softmax, where the dialect knows a switch.
    """

    path: str
    body: Callable[[Sequence[Any], str | None, bool | None], Body]
    """Request for the rewards of some ``Sent`` responses, or, of plaudit's own dialect, groups; the model as the server
    calls it; whether the server is to add its own special tokens to a text, None for messages. What is None in it is
    not sent, as servers may not know it."""
    entries: str | None
    """Key of the list of entries in an answer, one per response; None where the answer is the list."""
    reward: str | None = None
    """Key of the reward in an entry; None where the entry is the reward."""
    is_indexed: bool = False
    """True where entries carry their ``index``, and may come in any order."""
    takes_texts: bool = True
    """True where it takes texts made by a template; False for a server that renders by itself."""
    takes_messages: bool = False
    """True where it takes messages, which it renders; where it also takes texts, one response per request."""
    adds_bos: bool = False
    """True where the server always writes the BOS token itself, so that it is left out of the texts sent."""
    constant: tuple[float, str] | None = None
    """The number that the server gives in the place of rewards, and when."""
    may_squash: bool = False
    """True where the server may put a sigmoid on the outputs that cannot be switched off: older versions of vLLM lack
    the switch, and SGLang has none for cross-encoders. TEI has always had one; the others have no sigmoid."""


def _groups(groups: Sequence[Group], model: str | None, _: bool | None) -> Body:
    """Return the request for groups without their labels; the answer is ``{"groups": [{"id", "rewards", …}]}``."""
    rows = [{"id": each.id, "prompt": _turns(each.prompt), "responses": list(each.responses)} for each in groups]
    return {"model": model, "groups": rows}


def _vllm_classify(sent: Sequence[Sent], model: str | None, special_tokens: bool | None) -> Body:
    """Return the request for texts or for one conversation.

    The switch has its present name only: versions that know both names read a false under the older ones,
    ``activation`` and ``softmax``, as true.
    """
    asked: Body = {"model": model, "use_activation": False}
    if special_tokens is not None:
        return asked | {"input": _texts(sent), "add_special_tokens": special_tokens}
    (one,) = sent
    return asked | {"messages": _turns((*one.prompt, Message("assistant", one.response)))}


def _vllm_pooling(sent: Sequence[Sent], model: str | None, special_tokens: bool | None) -> Body:
    return _vllm_classify(sent, model, special_tokens) | {"task": "classify"}


def _vllm_score(sent: Sequence[Sent], model: str | None, _: bool | None) -> Body:
    documents = [each.response for each in sent]
    return {"model": model, "queries": _queries(sent), "documents": documents, "use_activation": False}


def _sglang(sent: Sequence[Sent], model: str | None, _: bool | None) -> Body:
    return {"model": model, "text": _texts(sent)}


def _tei(sent: Sequence[Sent], _: str | None, __: bool | None) -> Body:
    return {"inputs": [[text] for text in _texts(sent)], "raw_scores": True, "truncate": False}


def _openrlhf(sent: Sequence[Sent], _: str | None, __: bool | None) -> Body:
    return {"query": _texts(sent), "prompts": _queries(sent), "labels": [""] * len(sent)}


def _llamafactory(sent: Sequence[Sent], model: str | None, _: bool | None) -> Body:
    return {"model": model or "", "messages": _texts(sent)}


_VLLM: dict[str, Any] = {"entries": "data", "is_indexed": True, "constant": _SOFTMAX, "may_squash": True}
_NAN_OF_LLAMAFACTORY = (0.0, "which LLaMA-Factory gives in the place of NaN; look into the model")

DIALECTS: dict[Shape, Dialect] = {
    "plaudit": Dialect(path="/rewards", body=_groups, entries="groups", takes_texts=False, takes_messages=True),
    "vllm-classify": Dialect(path="/classify", body=_vllm_classify, reward="probs", takes_messages=True, **_VLLM),
    "vllm-pooling": Dialect(path="/pooling", body=_vllm_pooling, reward="data", takes_messages=True, **_VLLM),
    # of a cross-encoder, whose template the server knows
    "vllm-score": Dialect(
        path="/score", body=_vllm_score, reward="score", takes_texts=False, takes_messages=True, **_VLLM
    ),
    "sglang": Dialect(
        path="/classify",
        body=_sglang,
        entries=None,
        reward="embedding",
        adds_bos=True,
        constant=_SOFTMAX,
        may_squash=True,
    ),
    # /predict of Text Embeddings Inference
    "tei": Dialect(path="/predict", body=_tei, entries=None, reward="score", adds_bos=True, constant=_SOFTMAX),
    # of OpenRLHF's serve_rm
    "openrlhf": Dialect(path="/get_reward", body=_openrlhf, entries="rewards"),
    "llamafactory": Dialect(
        path="/v1/score/evaluation", body=_llamafactory, entries="scores", constant=_NAN_OF_LLAMAFACTORY
    ),
}
_PATHS = {shape: each.path for shape, each in DIALECTS.items()}

_GROUP = TypeAdapter(GroupRewards)


def shape_of_routes(routes: Sequence[str]) -> Shape | None:
    """Return the dialect of a server with these routes, those of its ``/openapi.json``; None if not clear.

    vLLM and SGLang both have ``/classify``; vLLM is known by ``/pooling`` or ``/tokenize``.
    """
    if "/pooling" in routes or {"/classify", "/tokenize"} <= set(routes):
        return "vllm-classify" if "/classify" in routes else "vllm-pooling"
    found = [shape for shape, path in _PATHS.items() if path in routes and not shape.startswith("vllm")]
    return found[0] if len(found) == 1 else None


def shape_of_path(path: str) -> tuple[Shape | None, str]:
    """Return the dialect whose route ``path`` ends in, if there is just one, and the part before the route."""
    for route in sorted(set(_PATHS.values()), key=len, reverse=True):
        if path.endswith(route):
            found = [shape for shape, own in _PATHS.items() if own == route]
            prefix = path.removesuffix(route)
            before = prefix.removesuffix("/v1") if route == "/score" else prefix
            return (found[0] if len(found) == 1 else None), before
    return None, path


def read_groups_answer(answer: object, groups: Sequence[Group]) -> list[GroupRewards | str]:
    """Return the entry of each group in an answer of plaudit's own dialect.

    A text says why the entry of a group gives it no rewards: it is of another group, has another number of rewards than
    the group has responses, or is of another form.

    Raises:
        ModelError: with the number found, when there are more or fewer entries than groups.
    """
    entries = _listed(answer, "groups", len(groups))
    return [_read_group(entry, group) for entry, group in zip(entries, groups, strict=True)]


def read_responses_answer(dialect: Dialect, answer: object, count: int) -> list[float | str]:
    """Return the reward of each response in an answer, in the order of the request, or why there is none.

    Raises:
        ModelError: with the entries found, when they cannot be matched to responses: there are more or fewer of
            them, or their indices are not those of the responses.
    """
    entries = _listed(answer, dialect.entries, count)
    return [_read(entry, dialect) for entry in (_by_index(entries) if dialect.is_indexed else entries)]


def reason_of(values: Sequence[float | str]) -> str | None:
    """Return why responses have no reward, of the values of a group: the first text among them, and whose it is."""
    failed = [index for index, value in enumerate(values) if isinstance(value, str)]
    if not failed:
        return None
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f"{values[failed[0]]} (response {failed[0]}{more})"


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": each.role, "content": each.content} for each in messages]


def _queries(sent: Sequence[Sent]) -> list[str]:
    """Return prompts as one text each: a single turn as it is, several with their roles, an empty line between."""
    return [
        each.prompt[0].content
        if len(each.prompt) == 1
        else "\n\n".join(f"{turn.role}: {turn.content}" for turn in each.prompt)
        for each in sent
    ]


def _texts(sent: Sequence[Sent]) -> list[str]:
    return [each.text for each in sent]


def _read_group(entry: object, group: Group) -> GroupRewards | str:
    try:
        found = _GROUP.validate_json(json.dumps(entry), strict=True)
        # Truncation, comparisons and strengths are not a server's to say: nothing checks that they fit the rewards.
        rewards = dataclasses.replace(found, truncation=None, comparisons=(), strengths=None)
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
    """Return the rewards with None for non-finite numbers, and a reason where a reward is missing without one."""
    values = [_finite(value) for value in rewards.rewards]
    reason = reason_of(values)
    if reason is None:
        return rewards
    known = tuple(None if isinstance(value, str) else value for value in values)
    return replace(rewards, rewards=known, reason=rewards.reason or reason)


def _finite(value: float | None) -> float | str:
    """Return a number, or the reason why it is none."""
    if value is None or not math.isfinite(value):
        return f"{NOT_FINITE}: {'null' if value is None else value}"
    return value


def _read(entry: object, form: Dialect) -> float | str:
    """Return the one number of an entry, or the reason why there is none."""
    name = form.reward or form.entries or ""
    try:
        return _finite(_number(entry if form.reward is None else _field(_alone(entry, name), name), name))
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


def _by_index(entries: list[Any]) -> list[Mapping[str, Any]]:
    """Return the entries in the order of their ``index``, which a server is free to leave."""
    numbers = [_field(entry, "index") for entry in entries]
    if sorted(map(str, numbers)) != sorted(map(str, range(len(entries)))):
        raise ModelError(f"the entries of the answer have the indices {numbers}; they must be 0 to {len(entries) - 1}")
    return sorted(entries, key=lambda entry: int(entry["index"]))


def _alone(value: object, name: str) -> object:
    """Return the single entry of ``value``, out of any nested lists.

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


def _number(values: object, name: str) -> float | None:
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
