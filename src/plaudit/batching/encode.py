"""Encoding of groups as token groups: every conversation rendered and tokenised whole, as any other tool would.

A response that is empty, that the chat template refuses or that is too long is left out of its group with a reason;
the others stay, with the labels that do not touch it.
"""

from __future__ import annotations

import logging
import os.path
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.prefix_tree import Int32Array, build_prefix_tree
from plaudit.batching.rendering import render_turns
from plaudit.batching.tokens import Float32Array, TokenGroup
from plaudit.batching.truncation import Truncation, count_cut, fitted
from plaudit.data.schema.columns import relabelled
from plaudit.data.schema.group import Group, Message, Preference
from plaudit.data.schema.steps import label_steps_once
from plaudit.errors import DataError, ModelError

EMPTY = "empty response"
REFUSED = "refused by the chat template"
STEPS_LOST = "steps without a place, since the chat template rewrites their response"
REWRITTEN = "responses that the chat template rewrites"
IDENTICAL_PAIR = "preferences whose two sides are identical tokens"
PAIR_LOST = "preferences with a response that was left out"

_RESPONSE_PLACE = "the-place-of-the-response"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Reason for leaving out a response: its kind, under which it is counted, and details of this one."""

    kind: str
    details: str = ""

    @property
    def reason(self) -> str:
        """Return both in words."""
        return f"{self.kind}: {self.details}" if self.details else self.kind


@dataclass(slots=True)
class EncodingReport:
    """Counts of groups read and kept, and of what was dropped (responses) or changed (as named), by reason."""

    groups: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def leave_out(self, group: Group, left: LeftOut) -> str:
        """Count a response, or a group, that cannot be encoded, and return the reason."""
        self.dropped[left.kind] += 1
        if left.details:
            self.examples.setdefault(left.kind, f"group {group.id!r}: {left.details}")
        return left.reason

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
    """A response in its conversation as text, and the character at which it begins; ``is_whole``: as it was written."""

    text: str
    start: int
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class PlacedResponse:
    """A response in its conversation as tokens: the first of its own, and the last of each of its steps.

    ``closing`` is the number of tokens at the end that stay where the end of the response is cut.
    """

    ids: Int32Array
    start: int
    step_position: tuple[int, ...] = ()
    step_label: tuple[float | None, ...] = ()
    closing: int = 0


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """The responses of a group that could be encoded, and why others could not."""

    tokens: TokenGroup | None
    members: tuple[int, ...]
    """Response of the group that each sequence of ``tokens`` is."""
    lost: tuple[int, ...]
    """[response] tokens that were cut; 0 of one that is left out."""
    reasons: tuple[str | None, ...]
    """[response] why it is left out."""

    @property
    def reason(self) -> str | None:
        """Return the reasons in words, each once; None where nothing is left out."""
        return "; ".join(dict.fromkeys(each for each in self.reasons if each is not None)) or None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseEncoder(GroupEncoder):
    """Base of the encoders of one text per response; the texts of many groups are tokenised together."""

    @abstractmethod
    def _rendered(self, group: Group) -> Sequence[Any]:
        """Return each response of the group as a ``RenderedResponse``, or as ``LeftOut``."""

    @abstractmethod
    def _placed(self, group: Group, k: int, encoded: BatchEncoding, index: int, made: Any) -> PlacedResponse | LeftOut:
        """Return response k as tokens, from text ``index`` of ``encoded``, which was ``made`` of it."""

    @override
    def encode(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[TokenGroup | NotEncoded]:
        """Yield each of the ``(row, group)`` pairs, in order, as tokens or as left out, counted in ``report``.

        The token group of a group of which responses are left out holds the others; so do its labels.
        """
        for (row, group), each in zip(groups, self.encode_responses(groups, report), strict=True):
            kept = set(each.members)
            touching = sum(not {pair.chosen, pair.rejected} <= kept for pair in group.preferences)
            report.changed.update({PAIR_LOST: touching} if touching else {})
            if each.tokens is None:
                yield NotEncoded(row, each.reason or EMPTY)
                continue
            identical = len(group.preferences) - touching - len(each.tokens.pair_chosen)
            report.changed.update({IDENTICAL_PAIR: identical} if identical else {})
            yield each.tokens

    def encode_responses(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[EncodedGroup]:
        """Yield the responses of each of the ``(row, group)`` pairs, in order; ``report`` counts what is left out."""
        rendered = [self._rendered(group) for _, group in groups]
        texts = [each.text for made in rendered for each in made if not isinstance(each, LeftOut)]
        encoded = self.tokenize(texts) if texts else BatchEncoding()
        index = 0
        for (row, group), made in zip(groups, rendered, strict=True):
            placed: list[PlacedResponse | LeftOut] = []
            for k, each in enumerate(made):
                is_text = not isinstance(each, LeftOut)
                placed.append(self._placed(group, k, encoded, index, each) if is_text else each)
                index += is_text
                if is_text and isinstance(each, RenderedResponse) and not each.is_whole:
                    _count_rewritten(group, report)
            yield self._encoded(row, group, placed, report)

    def _step_repeats(self, group: Group, counts: Sequence[int]) -> Int32Array:
        return step_repeats(group, counts)

    def _encoded(
        self, row: int, group: Group, placed: Sequence[PlacedResponse | LeftOut], report: EncodingReport
    ) -> EncodedGroup:
        """Return the placed responses of a group, each cut by itself where it is too long."""
        members: dict[int, PlacedResponse] = {}
        lost = [0] * len(placed)
        reasons: list[str | None] = [None] * len(placed)
        for k, each in enumerate(placed):
            cut = self._fitted(each, report) if isinstance(each, PlacedResponse) else each
            if isinstance(cut, LeftOut):
                reasons[k] = report.leave_out(group, cut)
            else:
                members[k], lost[k] = cut
        report.groups += 1
        report.kept += bool(members)
        tokens = _token_group(row, group, members, self) if members else None
        return EncodedGroup(tokens, tuple(members), tuple(lost), tuple(reasons))

    def _fitted(self, placed: PlacedResponse, report: EncodingReport) -> tuple[PlacedResponse, int] | LeftOut:
        """Return the response within the limit and the number of tokens that it lost, or why it is left out."""
        ids = placed.ids
        if len(ids) <= self.max_length:
            return placed, 0
        opening = int(int(ids[0]) in self.tokenizer.all_special_ids)
        cut = fitted(
            ids,
            placed.start,
            max_length=self.max_length,
            truncation=self.truncation,
            opening=opening,
            closing=placed.closing,
        )
        if isinstance(cut, str):
            return LeftOut(cut)
        count_cut(cut, self.truncation, report.changed)
        position = tuple(each - cut.shift for each in placed.step_position if each - cut.shift < len(cut.ids))
        label = placed.step_label[: len(position)]
        return PlacedResponse(cut.ids, placed.start - cut.shift, position, label), cut.lost


def _count_rewritten(group: Group, report: EncodingReport) -> None:
    if not report.changed[REWRITTEN]:
        _log.warning(
            "the chat template rewrites a response of group %r (it leaves out a thinking part, say): its reward is "
            "that of the text which the template makes of it, as in transformers",
            group.id,
        )
    report.changed[REWRITTEN] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder(ResponseEncoder):
    """Renders and tokenises groups by a fixed rule.

    The date that some templates print is fixed, so a reward does not change from day to day. ``final_token`` is
    appended to conversations that do not end in it. With ``needs_steps`` a response whose steps have no place in the
    rendered text is left out; else its steps are.
    """

    final_token: int | None
    needs_steps: bool = False

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

    def _rendered(self, group: Group) -> list[RenderedResponse | LeftOut]:
        made: list[RenderedResponse | LeftOut] = []
        before: str | None = None
        for response in group.responses:
            if is_blank(response):
                made.append(LeftOut(EMPTY))
                continue
            try:
                before = self._before(group.prompt) if before is None else before
                made.append(_found_in(self.render(group.prompt, response), before, response))
            except DataError as error:
                made.append(LeftOut(REFUSED, str(error)))
        return made

    def _before(self, prompt: Sequence[Message]) -> str:
        """Return the text that stands before a response, whatever it says."""
        text = self.render(prompt, _RESPONSE_PLACE)
        before, found, _ = text.rpartition(_RESPONSE_PLACE)
        return before if found else text[: _shared_start(text, self.render(prompt, "another response"))]

    def _placed(
        self, group: Group, k: int, encoded: BatchEncoding, index: int, made: RenderedResponse
    ) -> PlacedResponse | LeftOut:
        ids = self._ids(encoded, index)
        steps = (group.steps[k] if group.steps else None) or ()
        if steps and not made.is_whole:
            if self.needs_steps:
                return LeftOut(STEPS_LOST)
            steps = ()
        text = group.responses[k]
        before, held = len(text) - len(text.lstrip()), len(text.strip())
        try:
            position = tuple(
                last_token_before(encoded, index, made.start + min(max(1, step.end - before), held)) for step in steps
            )
        except DataError as error:
            return LeftOut(REFUSED, str(error))
        start = token_at(encoded, index, made.start, len(ids))
        closing = self._closing(encoded, index) if self.truncation == "truncate_response" else 0
        return PlacedResponse(ids, start, position, tuple(step.label for step in steps), closing)

    def _closing(self, encoded: BatchEncoding, index: int) -> int:
        """Return how many tokens the tokenizer, or this encoder, puts behind the text of a conversation."""
        last = len(encoded["input_ids"][index])
        text = last
        while text and encoded.token_to_chars(index, text - 1) is None:
            text -= 1
        return max(last - text, int(self.final_token is not None))

    def _ids(self, encoded: BatchEncoding, index: int) -> Int32Array:
        ids = encoded["input_ids"][index]
        if self.final_token is not None and (not ids or ids[-1] != self.final_token):
            ids = [*ids, self.final_token]
        return np.asarray(ids, dtype=np.int32)


def is_blank(response: str) -> bool:
    """Return whether a response says nothing: it is empty, or white space alone."""
    return not response or response.isspace()


def _found_in(text: str, before: str, response: str) -> RenderedResponse:
    """Return the response where it stands in ``text``, given the text before another one in its place.

    It begins where the two texts part, or before that, where it begins with what the template writes before any
    response (an empty thinking part). A response that does not stand there as it was written begins where they part.
    """
    said, parted = response.strip(), _shared_start(text, before)
    found = text.find(said, parted)
    if found < 0:
        found = text.rfind(said, max(0, parted - len(said) + 1), parted + len(said))
    return RenderedResponse(text, parted, is_whole=False) if found < 0 else RenderedResponse(text, found)


def _shared_start(text: str, other: str) -> int:
    """Return the number of characters with which both texts begin."""
    if text.startswith(other):
        return len(other)
    return len(os.path.commonprefix([text, other]))  # noqa: RUF071 - characters are meant, not parts of a path


def _token_group(row: int, group: Group, members: dict[int, PlacedResponse], rule: ResponseEncoder) -> TokenGroup:
    """Return the responses ``members`` of a group as tokens, with the labels that touch no other."""
    sub = group if len(members) == len(group.responses) else with_responses(group, tuple(members))
    placed = tuple(members.values())
    sequences = [each.ids for each in placed]
    counts = [len(each.step_position) for each in placed]
    return TokenGroup(
        index=row,
        tree=build_prefix_tree(sequences, min_saving=rule.min_saving),
        response_start=np.asarray([each.start for each in placed], dtype=np.int32),
        **_pair_labels(sub, sequences),
        ranks=np.asarray([rank or 0 for rank in sub.ranks or ()], dtype=np.int32),
        outcomes=floats(sub.outcomes or ()),
        ratings={attribute: floats(values) for attribute, values in sub.ratings.items()},
        step_response=np.repeat(np.arange(len(placed), dtype=np.int32), counts),
        step_position=np.asarray([place for each in placed for place in each.step_position], dtype=np.int32),
        step_label=floats([label for each in placed for label in each.step_label]),
        step_repeats=rule._step_repeats(sub, counts),
    )


def with_responses(group: Group, members: Sequence[int]) -> Group:
    """Return the group with some of its responses, and the labels that touch no other."""

    def those(values: Any) -> Any:
        return None if values is None else tuple(values[k] for k in members)

    place = {k: number for number, k in enumerate(members)}
    return relabelled(
        group,
        responses=those(group.responses),
        preferences=tuple(
            Preference(place[each.chosen], place[each.rejected], each.margin, each.probability)
            for each in group.preferences
            if each.chosen in place and each.rejected in place
        ),
        ranks=those(group.ranks),
        ratings={name: those(values) for name, values in group.ratings.items()},
        outcomes=those(group.outcomes),
        steps=those(group.steps),
    )


def token_at(encoded: BatchEncoding, index: int, character: int, length: int) -> int:
    """Return the token that holds a character, or the next one that a token holds."""
    for offset in range(character, character + 64):
        token = encoded.char_to_token(index, offset)
        if token is not None:
            return token
    return length - 1


def step_repeats(group: Group, counts: Sequence[int]) -> Int32Array:
    """Return, for the first ``counts[k]`` steps of each response, 1 where an earlier response shares step and label.

    Such a label stays, since what follows it depends on it; but it is one judgement, and one item of a loss.
    """
    given, once = ([steps or () for steps in each.steps or ()] for each in (group, label_steps_once(group)))
    return np.asarray(
        [
            own != kept
            for count, mine, others in zip(counts, given, once, strict=False)
            for own, kept in zip(mine[:count], others[:count], strict=True)
        ],
        dtype=np.int32,
    )


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


def _pair_labels(group: Group, sequences: Sequence[Int32Array]) -> dict[str, Any]:
    """Return the preferences between different tokens as arrays."""
    kept = [
        preference
        for preference in group.preferences
        if not np.array_equal(sequences[preference.chosen], sequences[preference.rejected])
    ]
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
