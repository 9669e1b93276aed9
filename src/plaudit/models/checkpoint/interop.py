"""Checks of the doctor on the text of a model: what its chat template writes, and what other tools read of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from plaudit.batching.batch import build_batch
from plaudit.batching.encode import REWRITTEN, Encoder, EncodingReport
from plaudit.batching.prefix_tree import build_prefix_tree
from plaudit.batching.rendering import dates_in
from plaudit.batching.separated import SeparatedEncoder
from plaudit.batching.tokens import TokenGroup
from plaudit.batching.turns import TurnsEncoder
from plaudit.data.schema.group import Group, Step, conversation
from plaudit.models.checkpoint.recipe import own_template
from plaudit.models.reward_model import RewardModel

Status = Literal["ok", "warning", "error"]

_THINKING = Group(conversation("What is two and two?"), ("<think>\nTwo and two.\n</think>\n\nIt is four.",), id="t")
_OPEN = ("<think>", "<|channel|>", "<|start|>assistant")
"""Texts behind which a model has yet to think, or to name a channel, before it answers."""
_TAIL = 60


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a checkpoint: its finding, and advice where something is wrong."""

    name: str
    status: Status
    found: str
    advice: str = ""


def template_checks(model: RewardModel) -> list[Check]:
    """Return the checks of a chat template by itself: its hash, a date, what it does with a thinking part."""
    recipe = model.recipe
    found = f"hash {recipe.template_hash}, {len(recipe.chat_template)} characters"
    checks = [Check("chat template", "ok", found)]
    match dates_in(own_template(model.tokenizer, recipe.architecture) or ""):
        case "today":
            checks.append(
                Check(
                    "date",
                    "warning",
                    "the chat template prints the date; here it is always 26 July 2024, in other tools that of the day",
                    "save the model with this version, which fixes the date in the saved template too",
                )
            )
        case "fixed":
            checks.append(Check("date", "ok", "the chat template prints a date, fixed at 26 July 2024 for every tool"))
        case None:
            pass
    if recipe.form == "conversation":
        checks += _thinking_check(model)
    return checks


def _thinking_check(model: RewardModel) -> list[Check]:
    report = EncodingReport()
    encoder = model.recipe.conversation_encoder(model.tokenizer)
    (found,) = encoder.encode_responses([(0, _THINKING)], report)
    if found.tokens is None or not report.changed[REWRITTEN]:
        return []
    words = "the chat template rewrites a response with a thinking part (<think> … </think>)"
    if model.recipe.reads_steps:
        return [Check("thinking", "warning", f"{words}, so its steps have no place, and it has no reward")]
    return [Check("thinking", "ok", f"{words}; its reward is that of the text which is left, as in transformers")]


def sample_checks(model: RewardModel, sample: Group, encoded: TokenGroup) -> list[Check]:
    """Return a rendered sample, its first and last token, and for steps and comparisons the place that is read."""
    recipe, tokenizer = model.recipe, model.tokenizer
    encoder = recipe.encoder(tokenizer)
    text = encoder.texts(sample)[0]
    ids = encoded.tree.sequence(0).tolist()
    checks = [
        Check("rendered sample", "ok", repr(text if len(text) <= 400 else f"{text[:200]} … {text[-200:]}")),
        Check(
            "first and last token", "ok", f"{_begins(model, ids)}; the {recipe.form} ends in {_named(model, ids[-1])}"
        ),
    ]
    if recipe.form == "comparison":
        checks.append(_answer_check(text))
    if isinstance(encoder, TurnsEncoder) and recipe.form == "turns":
        checks.append(_context_check(model, encoder))
    return checks


def _begins(model: RewardModel, ids: Sequence[int]) -> str:
    """Return how many BOS tokens a text opens with, in words."""
    bos = model.tokenizer.bos_token_id
    if bos is None:
        return "no BOS in this tokenizer"
    count = next((k for k, token in enumerate(ids) if token != bos), len(ids))
    return f"{count} BOS {_named(model, bos)}"


def _named(model: RewardModel, token: int) -> str:
    return repr(model.tokenizer.convert_ids_to_tokens(int(token)))


def _answer_check(text: str) -> Check:
    """Say where a comparison is answered, and whether the model would rather think there."""
    tail = text[-_TAIL:]
    is_open = any(text.rfind(mark) > max(text.rfind("</think>"), text.rfind("<|message|>")) for mark in _OPEN)
    found = f"the answer is read behind {tail!r}"
    if not is_open:
        return Check("place of the answer", "ok", found)
    return Check(
        "place of the answer",
        "warning",
        f"{found}, where the model would first think or name a channel, and not write its letter",
        "train it on this text, as plaudit does; the letters of a model that was not are no answer there",
    )


def _context_check(model: RewardModel, encoder: TurnsEncoder) -> Check:
    """Compare the tokens before the places where two steps are judged."""
    response = "First one.\nThen two."
    group = Group(conversation("a"), (response,), steps=((Step(10, None), Step(len(response), None)),), id="s")
    (found,) = encoder.encode_responses([(0, group)], EncodingReport())
    if found.tokens is None:
        return Check("context of steps", "error", f"two steps cannot be encoded: {found.reason}")
    ids = found.tokens.tree.sequence(0)
    first, second = (ids[: place + 1][::-1] for place in found.tokens.step_position.tolist())
    count = min(len(first), len(second))
    differs = np.flatnonzero(first[:count] != second[:count])
    shared = model.tokenizer.decode(first[: int(differs[0]) if len(differs) else count][::-1].tolist())
    note = " (a user turn is put behind the last one for that)" if encoder.is_followed else ""
    return Check("context of steps", "ok", f"every step is judged behind {shared!r}{note}")


def interop_checks(model: RewardModel, samples: Sequence[Group], encoded: Sequence[TokenGroup]) -> list[Check]:
    """Return checks of two ways by which other tools tokenise: a chat template at once, or rendered text."""
    encoder = model.recipe.encoder(model.tokenizer)
    if not isinstance(encoder, Encoder) or isinstance(encoder, SeparatedEncoder):
        return []
    return [_chat_check(model, samples, encoded), _text_check(model, encoder, samples[0], encoded[0])]


def _chat_check(model: RewardModel, samples: Sequence[Group], encoded: Sequence[TokenGroup]) -> Check:
    """Compare with ``apply_chat_template(tokenize=True)``, as TRL, vLLM and transformers read a conversation."""
    name, tokenizer = "as other tools tokenise chats", model.tokenizer
    theirs: list[TokenGroup] = []
    for group in samples:
        chats = [
            [
                *({"role": turn.role, "content": turn.content} for turn in group.prompt),
                {"role": "assistant", "content": said},
            ]
            for said in group.responses
        ]
        found: Any = [tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True) for chat in chats]
        sequences = [np.asarray(each["input_ids"], dtype=np.int32) for each in found]
        start = np.zeros(len(sequences), dtype=np.int32)
        theirs.append(TokenGroup(index=0, tree=build_prefix_tree(sequences), response_start=start))
    pairs = [
        (own.tree.sequence(k).tolist(), other.tree.sequence(k).tolist())
        for own, other in zip(encoded, theirs, strict=True)
        for k in range(own.num_responses)
    ]
    if all(own == other for own, other in pairs):
        return Check(
            name, "ok", "apply_chat_template(tokenize=True), as TRL, vLLM and transformers use it, gives these tokens"
        )
    own, other = next((own, other) for own, other in pairs if own != other)
    difference = (_rewards(model, encoded) - _rewards(model, theirs)).abs().max()
    lacks = [_named(model, token) for token in dict.fromkeys(own) if own.count(token) > other.count(token)]
    return Check(
        name,
        "warning",
        "apply_chat_template(tokenize=True), as TRL, vLLM and transformers use it, gives other tokens"
        f"{f' (without {chr(44).join(lacks[:5])})' if lacks else ''}: rewards of two samples differ by up to "
        f"{float(difference):.2g}",
        "train a new model on this one: its special tokens, and a fixed date, then stand in the saved chat template",
    )


@torch.inference_mode()
def _rewards(model: RewardModel, groups: Sequence[TokenGroup]) -> torch.Tensor:
    """Return the outputs of the head at the ends of the responses."""
    model.use_layout("padded")
    batch = build_batch(groups, layout="padded", pad_id=model.recipe.pad_token).to(model.device)
    rows = batch.response_end
    return model.classified(batch, rows) if model.is_classifier else model.outputs_from(model.features_at(batch, rows))


def _text_check(model: RewardModel, encoder: Encoder, sample: Group, encoded: TokenGroup) -> Check:
    """Compare with the tokens that the tokenizer makes of the rendered text when it adds its special tokens."""
    name, text = "as other tools tokenise text", encoder.texts(sample)[0]
    own, other = encoded.tree.sequence(0).tolist(), model.tokenizer(text)["input_ids"]
    if own == other:
        return Check(name, "ok", "tokenised with or without add_special_tokens, the rendered text gives these tokens")
    added = [_named(model, token) for token in dict.fromkeys(other) if other.count(token) > own.count(token)]
    found = (
        f"of the rendered text the tokenizer makes other tokens unless add_special_tokens=False is given "
        f"(it adds {', '.join(added[:5]) or 'none, but leaves some out'})"
    )
    bos = model.tokenizer.bos_token_id
    if bos is None or own[0] == bos or other[0] != bos:
        return Check(name, "ok", f"{found}; give it, to a pipeline of transformers too")
    return Check(
        name,
        "warning",
        f"{found}: the chat template writes no BOS, and the tokenizer adds one. Read here, by apply_chat_template and "
        "by TRL: no BOS. Tools that tokenise rendered text with special tokens: one",
        "use the convention that the model was trained with; plaudit reads the first",
    )
