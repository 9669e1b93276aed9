"""Encoding of groups as token groups: every conversation rendered and tokenised whole, as any other tool would.

Conversations longer than the limit are left out, or cut in the prompt or at the end.
"""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, assert_never

import numpy as np
from jinja2.exceptions import TemplateError
from transformers import BatchEncoding, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.prefix_tree import Int32Array, build_prefix_tree
from plaudit.batching.tokens import Float32Array, TokenGroup
from plaudit.data.schema.group import Group, Message
from plaudit.data.schema.steps import label_steps_once
from plaudit.errors import DataError, ModelError

REFUSED = "refused by the chat template"
IDENTICAL_PAIR = "preferences whose two sides are identical tokens"

_FIXED_DATE = datetime.datetime(2024, 7, 26)
_RESPONSE_PLACE = "the-place-of-the-response"


Truncation = Literal["truncate_prompt", "drop", "truncate_response"]
"""``truncate_prompt``: the prompt loses tokens from the left, the same for the whole group. ``drop``: it is left out.
``truncate_response``: a response loses its end, in evaluation only."""

TOO_LONG = "longer than max_length"
RESPONSES_TOO_LONG = "responses alone longer than max_length"
PROMPT_TOO_LONG = "prompt alone longer than max_length"
TRUNCATED = "groups whose prompt was truncated from the left"
TOKENS_CUT = "prompt tokens cut"
RESPONSES_CUT = "responses whose end was cut"
RESPONSE_TOKENS_CUT = "response tokens cut"


@dataclass(frozen=True, slots=True)
class Fitted:
    """Sequences within the limit, and how many tokens each lost before its response."""

    sequences: list[Int32Array]
    shift: int = 0


def tokens_cut(counts: Counter[str]) -> int:
    """Return how many tokens ``counts`` says were cut, of prompts and of responses."""
    return counts[TOKENS_CUT] + counts[RESPONSE_TOKENS_CUT]


def fitted(
    sequences: list[Int32Array],
    response_start: Int32Array,
    closing: Sequence[int],
    rule: GroupEncoder,
    counts: Counter[str],
) -> Fitted | str:
    """Return the sequences of a group within the limit of ``rule``, truncation counted; or why it is left out.

    ``closing`` is for ``truncate_response``: how many tokens at the end of each sequence close the conversation, and
    stay behind the cut. The tokens kept are the ids that the tokenizer itself gives with
    ``truncation=True, max_length=…``. Each sequence is cut by itself; one of whose response nothing would be left is
    not.
    """
    excess = max(len(sequence) for sequence in sequences) - rule.max_length
    if excess <= 0:
        return Fitted(sequences)
    match rule.truncation:
        case "drop":
            return TOO_LONG
        case "truncate_prompt":
            return _prompt_cut(sequences, response_start, excess, rule, counts)
        case "truncate_response":
            return _responses_cut(sequences, response_start, closing, rule.max_length, counts)
        case _:
            assert_never(rule.truncation)


def _prompt_cut(
    sequences: Sequence[Int32Array], response_start: Int32Array, excess: int, rule: GroupEncoder, counts: Counter[str]
) -> Fitted | str:
    """Return the sequences without ``excess`` tokens of the prompt, behind a special one that they open with."""
    special = set(rule.tokenizer.all_special_ids)
    lead = 1 if all(int(sequence[0]) in special for sequence in sequences) else 0
    if excess > int(response_start.min()) - lead:
        return RESPONSES_TOO_LONG
    counts[TRUNCATED] += 1
    counts[TOKENS_CUT] += excess
    return Fitted([np.concatenate([each[:lead], each[lead + excess :]]) for each in sequences], excess)


def _responses_cut(
    sequences: Sequence[Int32Array],
    response_start: Int32Array,
    closing: Sequence[int],
    max_length: int,
    counts: Counter[str],
) -> Fitted | str:
    kept: list[Int32Array] = []
    excess: list[int] = []
    for sequence, start, close in zip(sequences, response_start.tolist(), closing, strict=True):
        over = len(sequence) - max_length
        if over > 0 and max_length - close <= start:
            return PROMPT_TOO_LONG
        end = len(sequence) - close
        kept.append(sequence if over <= 0 else np.concatenate([sequence[: end - over], sequence[end:]]))
        excess.append(max(0, over))
    counts[RESPONSES_CUT] += sum(over > 0 for over in excess)
    counts[RESPONSE_TOKENS_CUT] += sum(excess)
    return Fitted(kept)


@dataclass(slots=True)
class EncodingReport:
    """Counts of groups read and kept, and of everything dropped or changed, by reason."""

    groups: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def refuse(self, group: Group, error: DataError) -> str:
        """Count a group that the chat template refuses, and return the reason."""
        self.dropped[REFUSED] += 1
        self.examples.setdefault(REFUSED, f"group {group.id!r}: {error}")
        return f"{REFUSED}: {error}"

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for a run record."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: dict(value) if isinstance(value, dict) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class NotEncoded:
    """A group that was not encoded, by its row, and why."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupEncoder(ABC):
    """Turns groups into token groups, by whatever text its form gives them and the same rule from text to tokens.

    ``special_tokens`` says whether the tokenizer adds its own (BOS, CLS …); a template that writes BOS itself must come
    with False. ``min_saving`` is the fewest tokens that a branch of the prefix tree must save.
    """

    tokenizer: PreTrainedTokenizerBase
    chat_template: str
    special_tokens: bool
    max_length: int
    truncation: Truncation
    min_saving: int = 8

    def tokenize(self, texts: list[str]) -> BatchEncoding:
        """Return the tokens of whole texts, uncut."""
        return self.tokenizer(texts, add_special_tokens=self.special_tokens, return_attention_mask=False, verbose=False)

    @abstractmethod
    def encode(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[TokenGroup | NotEncoded]:
        """Yield each of the ``(row, group)`` pairs, in order, as tokens or as left out, counted in ``report``."""

    @abstractmethod
    def texts(self, group: Group) -> list[str]:
        """Return the text of each sequence of a group.

        Raises:
            DataError: when the chat template refuses one of them.
        """


@dataclass(frozen=True, slots=True)
class RenderedResponse:
    """A response in its conversation as text, and the character at which the response begins."""

    text: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseEncoder(GroupEncoder):
    """Base of the encoders of one text per response; the texts of many groups are tokenised together."""

    @abstractmethod
    def _rendered(self, group: Group) -> Sequence[Any]:
        """Return each response of the group as a ``RenderedResponse``."""

    @abstractmethod
    def _token_group(
        self, row: int, group: Group, encoded: BatchEncoding, span: range, made: Sequence[Any], report: EncodingReport
    ) -> TokenGroup | NotEncoded:
        """Return the group as tokens, of the texts ``span`` of ``encoded``, which were ``made`` of its responses."""

    @override
    def encode(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[TokenGroup | NotEncoded]:
        """Yield each of the ``(row, group)`` pairs, in order, as tokens or as left out, counted in ``report``."""
        rendered: list[Sequence[Any] | NotEncoded] = []
        for row, group in groups:
            report.groups += 1
            try:
                rendered.append(self._rendered(group))
            except DataError as error:
                rendered.append(NotEncoded(row, report.refuse(group, error)))
        texts = [each.text for made in rendered if not isinstance(made, NotEncoded) for each in made]
        encoded = self.tokenize(texts) if texts else BatchEncoding()
        first = 0
        for (row, group), made in zip(groups, rendered, strict=True):
            if isinstance(made, NotEncoded):
                yield made
                continue
            found = self._token_group(row, group, encoded, range(first, first + len(made)), made, report)
            first += len(made)
            report.kept += isinstance(found, TokenGroup)
            yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder(ResponseEncoder):
    """Renders and tokenises groups by a fixed rule.

    The date that some templates print is fixed, so a reward does not change from day to day. ``final_token`` is
    appended to conversations that do not end in it.
    """

    final_token: int | None

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

    def _rendered(self, group: Group) -> list[RenderedResponse]:
        before, _, _ = self.render(group.prompt, _RESPONSE_PLACE).rpartition(_RESPONSE_PLACE)
        return [
            RenderedResponse(text, _response_offset(text, before, response))
            for text, response in zip(self.texts(group), group.responses, strict=True)
        ]

    def _token_group(
        self, row: int, group: Group, encoded: BatchEncoding, span: range, made: Sequence[Any], report: EncodingReport
    ) -> TokenGroup | NotEncoded:
        sequences = [self._ids(encoded, index) for index in span]
        starts = [
            token_at(encoded, index, each.start, len(sequence))
            for index, each, sequence in zip(span, made, sequences, strict=True)
        ]
        steps = _step_places(group, encoded, span, made)
        closing = self._closing(encoded, span) if self.truncation == "truncate_response" else None
        return finished_group(row, group, sequences, np.asarray(starts, dtype=np.int32), steps, report, self, closing)

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
    """The steps of a group: response, position in its sequence at which a step is read, label.

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
    rule: GroupEncoder,
    closing: Sequence[int] | None = None,
) -> TokenGroup | NotEncoded:
    """Return the sequences of a group with its labels, cut as ``rule`` says; or why the group is left out.

    ``closing`` says how many tokens at the end of each sequence stay where the end of its response is cut.
    """
    cut = fitted(sequences, response_start, closing or [0] * len(sequences), rule, report.changed)
    if isinstance(cut, str):
        report.dropped[cut] += 1
        return NotEncoded(row, cut)
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
    """Return the text of a conversation, with the opening of an assistant turn under ``generation_prompt``.

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
    """Return the character at which the response begins, given the text before another one in its place."""
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


def _step_places(group: Group, encoded: BatchEncoding, span: range, made: Sequence[RenderedResponse]) -> StepPlaces:
    responses: list[int] = []
    positions: list[int] = []
    labels: list[float | None] = []
    for k, (index, each, steps) in enumerate(zip(span, made, group.steps or (), strict=False)):
        text = group.responses[k]
        before, held = len(text) - len(text.lstrip()), len(text.strip())
        for step in steps or ():
            responses.append(k)
            within = min(max(1, step.end - before), held)
            positions.append(last_token_before(encoded, index, each.start + within))
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
