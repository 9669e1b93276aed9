"""From groups to token groups: every conversation rendered and tokenised whole, as any other tool would."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from jinja2.exceptions import TemplateError
from transformers import BatchEncoding, PreTrainedTokenizerBase

from plaudit.batching.lengths import RESPONSES_TOO_LONG as RESPONSES_TOO_LONG
from plaudit.batching.lengths import TOKENS_CUT as TOKENS_CUT
from plaudit.batching.lengths import TOO_LONG as TOO_LONG
from plaudit.batching.lengths import TRUNCATED as TRUNCATED
from plaudit.batching.lengths import LengthRule, Truncation, fitted
from plaudit.batching.prefix_tree import Int32Array, build_prefix_tree
from plaudit.batching.tokens import Float32Array, TokenGroup
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.steps import label_steps_once
from plaudit.errors import DataError, ModelError

REFUSED = "refused by the chat template"
IDENTICAL_PAIR = "preferences whose two sides are identical tokens"

_FIXED_DATE = datetime.datetime(2024, 7, 26)
_RESPONSE_PLACE = "the-place-of-the-response"


@dataclass(slots=True)
class EncodingReport:
    """How many groups went in and came out, and how many of what was dropped or cut, by reason."""

    groups: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for a run record."""
        return {
            "groups": self.groups,
            "kept": self.kept,
            "dropped": dict(self.dropped),
            "changed": dict(self.changed),
            "examples": dict(self.examples),
        }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A group that was not encoded, by its row, and why."""

    index: int
    reason: str


class GroupEncoder(Protocol):
    """Turns groups into token groups, by whatever text its form gives them."""

    def encode(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[TokenGroup | LeftOut]:
        """Yield each of the ``(row, group)`` pairs, in order, as tokens or as left out, counted in ``report``."""
        ...

    def texts(self, group: Group) -> list[str]:
        """Return the text of each sequence of a group."""
        ...


@dataclass(frozen=True, slots=True)
class Encoder:
    """Renders and tokenises groups by a fixed rule.

    The date that some templates print is fixed, so a reward does not change from day to day. ``special_tokens`` says
    whether the tokenizer adds its own (BOS, CLS …); a template that writes BOS itself must come with False.
    ``final_token`` is appended to conversations that do not end in it.
    """

    tokenizer: PreTrainedTokenizerBase
    chat_template: str
    special_tokens: bool
    final_token: int | None
    max_length: int
    truncation: Truncation
    min_saving: int = 8

    def render(self, prompt: Sequence[Message], response: str) -> str:
        """Return the text of a conversation.

        Raises:
            DataError: when the template refuses the conversation.
        """
        return render_turns(self.tokenizer, self.chat_template, (*prompt, Message("assistant", response)))

    def texts(self, group: Group) -> list[str]:
        """Return the text of each sequence of a group: its conversations.

        Raises:
            DataError: when the template refuses the conversation.
        """
        return [self.render(group.prompt, response) for response in group.responses]

    def encode(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[TokenGroup | LeftOut]:
        """Yield each of the ``(row, group)`` pairs, in order, as tokens or as left out, counted in ``report``."""
        texts: list[str] = []
        starts: list[int] = []
        spans: list[range | LeftOut] = []
        for row, group in groups:
            report.groups += 1
            try:
                rendered = self._rendered(group)
            except DataError as error:
                report.dropped[REFUSED] += 1
                report.examples.setdefault(REFUSED, f"group {group.id!r}: {error}")
                spans.append(LeftOut(row, f"{REFUSED}: {error}"))
                continue
            spans.append(range(len(texts), len(texts) + len(rendered)))
            texts.extend(text for text, _ in rendered)
            starts.extend(start for _, start in rendered)
        encoded = self._tokenize(texts) if texts else None
        for (row, group), span in zip(groups, spans, strict=True):
            if isinstance(span, LeftOut):
                yield span
                continue
            assert encoded is not None
            made = self._token_group(row, group, encoded, span, starts, report)
            report.kept += isinstance(made, TokenGroup)
            yield made

    def _tokenize(self, texts: list[str]) -> BatchEncoding:
        return self.tokenizer(texts, add_special_tokens=self.special_tokens, return_attention_mask=False, verbose=False)

    def _rendered(self, group: Group) -> list[tuple[str, int]]:
        """Return each conversation's text and the character at which its response begins."""
        before, _, _ = self.render(group.prompt, _RESPONSE_PLACE).rpartition(_RESPONSE_PLACE)
        return [
            (text, _response_offset(text, before, response))
            for text, response in zip(self.texts(group), group.responses, strict=True)
        ]

    def _token_group(
        self,
        row: int,
        group: Group,
        encoded: BatchEncoding,
        span: range,
        starts: Sequence[int],
        report: EncodingReport,
    ) -> TokenGroup | LeftOut:
        sequences = [self._ids(encoded, index) for index in span]
        response_start = np.asarray(
            [
                token_at(encoded, index, starts[index], len(sequence))
                for index, sequence in zip(span, sequences, strict=True)
            ],
            dtype=np.int32,
        )
        steps = _step_places(group, encoded, span, starts)
        closing = self._closing(encoded, span) if self.truncation == "truncate_response" else None
        return finished_group(row, group, sequences, response_start, steps, report, self, closing)

    def _closing(self, encoded: BatchEncoding, span: range) -> list[int]:
        """Return how many tokens the tokenizer, or this encoder, puts behind the text of each conversation."""
        found: list[int] = []
        for index in span:
            last = len(encoded["input_ids"][index])
            text = last
            while text and encoded.token_to_chars(index, text - 1) is None:
                text -= 1
            found.append(max(last - text, int(self.final_token is not None)))
        return found

    def _ids(self, encoded: BatchEncoding, index: int) -> Int32Array:
        ids = encoded["input_ids"][index]
        if self.final_token is not None and (not ids or ids[-1] != self.final_token):
            ids = [*ids, self.final_token]
        return np.asarray(ids, dtype=np.int32)


class StepPlaces(NamedTuple):
    """Where the steps of a group are read: of which response, at which position of its sequence, with which label.

    ``repeats`` is as in ``TokenGroup.step_repeats``.
    """

    response: Int32Array
    position: Int32Array
    label: Float32Array
    repeats: Int32Array

    def within(self, sequences: Sequence[Int32Array], shift: int) -> StepPlaces:
        """Return the places after a cut: ``shift`` tokens earlier, and only those that the sequences still hold."""
        position = self.position - np.int32(shift)
        lengths = np.asarray([len(sequence) for sequence in sequences], dtype=np.int32)
        kept = position < lengths[self.response]
        repeats = self.repeats[kept] if len(self.repeats) else self.repeats
        return StepPlaces(self.response[kept], position[kept], self.label[kept], repeats)


def finished_group(
    row: int,
    group: Group,
    sequences: list[Int32Array],
    response_start: Int32Array,
    steps: StepPlaces,
    report: EncodingReport,
    rule: LengthRule,
    closing: Sequence[int] | None = None,
) -> TokenGroup | LeftOut:
    """Return the sequences of a group with its labels, cut as ``rule`` says; or why the group is left out.

    ``closing`` says how many tokens at the end of each sequence stay where the end of its response is cut.
    """
    cut = fitted(sequences, response_start, closing or [0] * len(sequences), rule, report.changed)
    if isinstance(cut, str):
        report.dropped[cut] += 1
        return LeftOut(row, cut)
    sequences = cut.sequences
    steps = steps.within(sequences, cut.shift)
    return TokenGroup(
        index=row,
        tree=build_prefix_tree(sequences, min_saving=rule.min_saving),
        response_start=response_start - cut.shift,
        **_pair_labels(group, sequences, report),
        ranks=np.asarray([rank or 0 for rank in group.ranks or ()], dtype=np.int32),
        outcomes=floats(group.outcomes or ()),
        ratings={attribute: floats(values) for attribute, values in group.ratings.items()},
        step_response=steps.response,
        step_position=steps.position,
        step_label=steps.label,
        step_repeats=steps.repeats,
    )


def render_turns(
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str,
    turns: Sequence[Message],
    *,
    generation_prompt: bool = False,
) -> str:
    """Return the text of a conversation, with what opens an assistant turn where ``generation_prompt`` asks for it.

    Raises:
        DataError: when the template refuses the conversation.
    """
    try:
        rendered = tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in turns],
            chat_template=with_fixed_date(chat_template),
            tokenize=False,
            add_generation_prompt=generation_prompt,
        )
    except Exception as error:
        # A template is foreign code: besides TemplateError it may divide by zero or add a number to a text.
        words = str(error) if isinstance(error, TemplateError) else f"{type(error).__name__}: {error}"
        raise DataError(f"the chat template refuses this conversation: {_one_line(words)}") from None
    assert isinstance(rendered, str)
    return rendered


def _one_line(words: str) -> str:
    return " ".join(words.split())


def with_fixed_date(chat_template: str) -> str:
    """Return the template with a ``strftime_now`` of its own that always tells the same date.

    transformers hands no functions on to a template, so a macro fills the date in.
    """
    if "strftime_now" not in chat_template:
        return chat_template
    padded = {f"%{code}": _FIXED_DATE.strftime(f"%{code}") for code in "aAbBdHIjmMpSyY"}
    short = {f"%-{code}": str(int(padded[f"%{code}"])) for code in "dHIjmMSy"}
    steps = "".join(f" | replace('{code}', '{text}')" for code, text in (padded | short).items())
    return "{% macro strftime_now(format) %}{{ format" + steps + " }}{% endmacro %}\n" + chat_template


def _response_offset(text: str, before: str, response: str) -> int:
    """Return the character at which the response begins, given what stands before another one in its place."""
    if before and text.startswith(before):
        found = text.find(response.strip(), len(before))
    else:
        found = text.rfind(response.strip())
    if found < 0:
        raise DataError("the chat template changes the text of the response, so its place cannot be found")
    return found


def token_at(encoded: BatchEncoding, index: int, character: int, length: int) -> int:
    """Return the token that holds a character, or the next one that a token holds."""
    for offset in range(character, character + 64):
        token = encoded.char_to_token(index, offset)
        if token is not None:
            return token
    return length - 1


def _step_places(group: Group, encoded: BatchEncoding, span: range, starts: Sequence[int]) -> StepPlaces:
    responses: list[int] = []
    positions: list[int] = []
    labels: list[float | None] = []
    for k, (index, steps) in enumerate(zip(span, group.steps or (), strict=False)):
        text = group.responses[k]
        before, held = len(text) - len(text.lstrip()), len(text.strip())
        for step in steps or ():
            responses.append(k)
            within = min(max(1, step.end - before), held)
            positions.append(last_token_before(encoded, index, starts[index] + within))
            labels.append(step.label)
    places = np.asarray(responses, dtype=np.int32), np.asarray(positions, dtype=np.int32)
    return StepPlaces(*places, floats(labels), step_repeats(group))


def step_repeats(group: Group) -> Int32Array:
    """Return, for the steps of all responses in order, 1 where an earlier response shares the step with its label.

    Such a label stays, since what follows it depends on it; but it is one judgement, and one item of a loss.
    """
    given, once = (
        [step for steps in each.steps or () for step in steps or ()] for each in (group, label_steps_once(group))
    )
    return np.asarray([own != kept for own, kept in zip(given, once, strict=True)], dtype=np.int32)


def last_token_before(encoded: BatchEncoding, index: int, character: int) -> int:
    """Return the last token that holds text before ``character``; one character may take several."""
    for offset in range(character - 1, -1, -1):
        token = encoded.char_to_token(index, offset)
        if token is not None:
            while _holds(encoded, index, token + 1, offset):
                token += 1
            return token
    raise DataError("a reasoning step holds no token")


def _holds(encoded: BatchEncoding, index: int, token: int, character: int) -> bool:
    if token >= len(encoded["input_ids"][index]):
        return False
    span = encoded.token_to_chars(index, token)
    return span is not None and span.start <= character < span.end


def _pair_labels(group: Group, sequences: Sequence[Int32Array], report: EncodingReport) -> dict[str, Any]:
    kept = [
        preference
        for preference in group.preferences
        if not np.array_equal(sequences[preference.chosen], sequences[preference.rejected])
    ]
    if len(kept) < len(group.preferences):
        report.changed[IDENTICAL_PAIR] += len(group.preferences) - len(kept)
    return {
        "pair_chosen": np.asarray([preference.chosen for preference in kept], dtype=np.int32),
        "pair_rejected": np.asarray([preference.rejected for preference in kept], dtype=np.int32),
        "pair_margin": floats([preference.margin for preference in kept]),
        "pair_probability": floats([preference.probability for preference in kept]),
    }


def floats(values: Sequence[float | None]) -> Float32Array:
    """Return the values as an array; None becomes NaN."""
    return np.asarray([np.nan if value is None else value for value in values], dtype=np.float32)


def check_fast(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError unless the tokenizer can tell which token holds which character."""
    if not tokenizer.is_fast:
        raise ModelError(
            f"{type(tokenizer).__name__} cannot map characters to tokens; a tokenizer with a tokenizer.json is needed"
        )
