"""Comparisons as tokens: both responses in one text, which a language model goes on from with the letter of the better.

The text is that of RLHFlow's pair-pm, in the one user turn of a conversation that the chat template renders with its
generation prompt. So the place where the answer is predicted is the last token of the rendered text, whatever the
template; a reader that leaves the generation prompt out reads, with templates that honour it, where no answer was ever
predicted. All comparisons of a group share the prompt, and those with the same first response that one too.

Sources: Zhao et al. (2023), SLiC-HF, arXiv 2305.10425; Dong et al. (2024), RLHF Workflow, arXiv 2405.07863.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from transformers import BatchEncoding

from plaudit.batching.encode import (
    EMPTY,
    REFUSED,
    EncodingReport,
    GroupEncoder,
    LeftOut,
    NotEncoded,
    is_blank,
    last_token_before,
    token_at,
)
from plaudit.batching.prefix_tree import Int32Array, build_prefix_tree
from plaudit.batching.rendering import render_turns
from plaudit.batching.tokens import TokenGroup
from plaudit.batching.truncation import RESPONSES_TOO_LONG, TOO_LONG, Fitted, count_cut, fitted
from plaudit.data.reading.sources.rlhflow import TAGS
from plaudit.data.schema.group import Group, Message
from plaudit.errors import DataError

Orders = Literal["drawn", "both"]

PROMPT_TAG = "groups whose prompt holds a tag of the comparison text"
RESPONSE_TAG = "comparisons with a response that holds a tag of the comparison text"
COMPARISON_TOO_LONG = "comparisons longer than max_length"
PAIR_TOO_LONG = "comparisons whose two responses alone are longer than max_length"
IDENTICAL = "comparisons of identical responses"
NO_PREFERENCE = "groups without a preference"
NO_COMPARISON = "groups left without a comparison"

_TOO_LONG = {TOO_LONG: COMPARISON_TOO_LONG, RESPONSES_TOO_LONG: PAIR_TOO_LONG}

_CONTEXT, _FIRST, _SECOND = TAGS
_SAMPLE = (Message("user", "a"),)


@dataclass(frozen=True, slots=True)
class OrderedPair:
    """Two responses of a group by index, in the order in which the text names them.

    ``label`` is the probability that the first one is the better one, None where it is unknown.
    """

    first: int
    second: int
    label: float | None = None


@dataclass(frozen=True, slots=True)
class EncodedComparisons:
    """The comparisons of a group that could be encoded, one sequence of ``tokens`` each, and why others could not."""

    tokens: TokenGroup | None
    comparisons: tuple[OrderedPair, ...]
    reasons: tuple[str, ...] = ()
    lost: tuple[int, ...] = ()
    """[comparison] tokens that were cut from its prompt."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """A comparison as tokens: those of the prompt stand from ``prompt`` up to ``responses``."""

    comparison: OrderedPair
    ids: Int32Array
    prompt: int
    responses: int


def comparison_text(prompt: Sequence[Message], first: str, second: str) -> str:
    """Return the user turn that asks which response to ``prompt`` is the better one, ``first`` (A) or ``second`` (B).

    ``[CONTEXT] {context} [RESPONSE A] {first} [RESPONSE B] {second}`` and a space and a line break, with a context of
    one ``<turn> role`` line and one line of text per turn.
    """
    turns = "".join(f"\n<turn> {message.role}\n {message.content}" for message in prompt)
    return f"{_CONTEXT} \n{turns}\n {_FIRST} {first} {_SECOND} {second} \n"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonEncoder(GroupEncoder):
    """Renders and tokenises the comparisons of groups by a fixed rule.

    A group becomes one token group whose sequences are its comparisons; each ends at the position where the answer is
    predicted, and this is its one "step", labelled with the probability that the first response is the better one. For
    training every preference gives one comparison, in an order drawn from ``seed``, the row and the id of its group, or
    both orders. Nothing is appended to a sequence. Where one is longer than ``max_length``, the prompt loses tokens
    from the left, behind the opening of the text, or with ``truncation="drop"`` the comparison is left out; each is cut
    by itself, so that no probability depends on another response.
    """

    orders: Orders = "drawn"
    seed: int = 0

    def render(self, prompt: Sequence[Message], first: str, second: str) -> str:
        """Return the whole text of a comparison, up to where the answer follows.

        Raises:
            DataError: when the template refuses the text, or changes its tags.
        """
        turn = Message("user", comparison_text(prompt, first, second))
        text = render_turns(self.tokenizer, self.chat_template, (turn,), generation_prompt=True)
        if any(text.count(tag) != 1 for tag in TAGS):
            raise DataError(f"the chat template does not leave each of {', '.join(TAGS)} in the text once")
        return text

    def texts(self, group: Group) -> list[str]:
        """Return the text of each comparison that the preferences of a group give, were it in row 0.

        Raises:
            DataError: when the template refuses the text.
        """
        return self._texts(group, self.comparisons(0, group))

    def _texts(self, group: Group, comparisons: Sequence[OrderedPair]) -> list[str]:
        return [
            self.render(group.prompt, group.responses[each.first], group.responses[each.second]) for each in comparisons
        ]

    def comparisons(self, row: int, group: Group) -> list[OrderedPair]:
        """Return the comparisons to train on: one per preference in a drawn order, or two."""
        draw = random.Random(f"comparisons/{self.seed}/{row}/{group.id}")
        made: list[OrderedPair] = []
        for preference in group.preferences:
            probability = 1.0 if preference.probability is None else preference.probability
            given = OrderedPair(preference.chosen, preference.rejected, probability)
            turned = OrderedPair(preference.rejected, preference.chosen, 1.0 - probability)
            match self.orders:
                case "drawn":
                    made.append(given if draw.random() < 0.5 else turned)
                case "both":
                    made += (given, turned)
                case _:
                    assert_never(self.orders)
        return made

    def encode(self, groups: Sequence[tuple[int, Group]], report: EncodingReport) -> Iterator[TokenGroup | NotEncoded]:
        """Yield each of the ``(row, group)`` pairs, in order, as tokens or as left out, counted in ``report``.

        Groups are counted in ``report.dropped``; in ``report.changed`` comparisons that are left out of a group.
        """
        for row, group in groups:
            report.groups += 1
            made = self._encoded(row, group, self.comparisons(row, group), report)
            if made.tokens is not None:
                report.kept += 1
                yield made.tokens
            else:
                yield NotEncoded(row, "; ".join(made.reasons) or NO_PREFERENCE)

    def encode_pairs(
        self, row: int, group: Group, pairs: Sequence[tuple[int, int]], report: EncodingReport
    ) -> EncodedComparisons:
        """Return both orders of each pair of responses, unlabelled."""
        both = [OrderedPair(*each) for first, second in pairs for each in ((first, second), (second, first))]
        report.groups += 1
        made = self._encoded(row, group, both, report)
        report.kept += made.tokens is not None
        return made

    def answer_token(self, word: str) -> int | None:
        """Return the token that ``word`` becomes where an answer stands, or None where it is not one more token.

        A tokenizer may make another token of a word that stands alone than of one that follows the prompt.
        """
        text = self.render(_SAMPLE, "b", "c")
        encoded = self.tokenize([text, text + word])
        before, after = (
            encoded["input_ids"][index][: last_token_before(encoded, index, len(each)) + 1]
            for index, each in enumerate((text, text + word))
        )
        return after[-1] if after[:-1] == before else None

    def _encoded(
        self, row: int, group: Group, comparisons: Sequence[OrderedPair], report: EncodingReport
    ) -> EncodedComparisons:
        """Return those of ``comparisons`` that can be encoded."""
        if not comparisons:
            report.dropped[NO_PREFERENCE] += 1
            return EncodedComparisons(None, (), (NO_PREFERENCE,))
        if any(holds_tag(message.content) for message in group.prompt):
            report.dropped[PROMPT_TAG] += 1
            return EncodedComparisons(None, (), (PROMPT_TAG,))
        reasons: list[str] = []
        usable = _usable(group, comparisons, reasons)
        try:
            sequences = self._sequences(group, usable)
        except DataError as error:
            return EncodedComparisons(None, (), (report.leave_out(group, LeftOut(REFUSED, str(error))),))
        kept: list[tuple[_Sequence, Fitted]] = []
        for each in sequences:
            cut = self._fitted(each)
            if isinstance(cut, str):
                reasons.append(_TOO_LONG[cut])
                continue
            count_cut(cut, self.truncation, report.changed)
            kept.append((each, cut))
        report.changed.update(reasons)
        found = tuple(dict.fromkeys(reasons))
        if not kept:
            report.dropped[NO_COMPARISON] += 1
            return EncodedComparisons(None, (), found)
        comparisons, lost = tuple(each.comparison for each, _ in kept), tuple(cut.lost for _, cut in kept)
        return EncodedComparisons(self._together(row, kept), comparisons, found, lost)

    def _sequences(self, group: Group, comparisons: Sequence[OrderedPair]) -> list[_Sequence]:
        texts = self._texts(group, comparisons)
        encoded = self.tokenize(texts) if texts else BatchEncoding()
        made: list[_Sequence] = []
        for index, (text, comparison) in enumerate(zip(texts, comparisons, strict=True)):
            # Tokens behind the last one of the text were added by the tokenizer: an end token, say.
            stop = last_token_before(encoded, index, len(text)) + 1
            prompt = token_at(encoded, index, text.index(_CONTEXT) + len(_CONTEXT) - 1, stop) + 1
            responses = token_at(encoded, index, text.index(_FIRST), stop)
            ids = np.asarray(encoded["input_ids"][index][:stop], dtype=np.int32)
            made.append(_Sequence(comparison, ids, prompt, responses))
        return made

    def _fitted(self, sequence: _Sequence) -> Fitted | str:
        return fitted(
            sequence.ids,
            sequence.responses,
            max_length=self.max_length,
            truncation=self.truncation,
            opening=sequence.prompt,
        )

    def _together(self, row: int, sequences: Sequence[tuple[_Sequence, Fitted]]) -> TokenGroup:
        labels = [np.nan if each.comparison.label is None else each.comparison.label for each, _ in sequences]
        return TokenGroup(
            index=row,
            tree=build_prefix_tree([cut.ids for _, cut in sequences], min_saving=self.min_saving),
            response_start=np.asarray([each.responses - cut.shift for each, cut in sequences], dtype=np.int32),
            step_response=np.arange(len(sequences), dtype=np.int32),
            step_position=np.asarray([len(cut.ids) - 1 for _, cut in sequences], dtype=np.int32),
            step_label=np.asarray(labels, dtype=np.float32),
        )


def holds_tag(text: str) -> bool:
    """Return whether ``text`` holds a tag of the comparison text, so that it could not be told where it ends."""
    return any(tag in text for tag in TAGS)


def _usable(group: Group, comparisons: Sequence[OrderedPair], reasons: list[str]) -> list[OrderedPair]:
    """Return the comparisons of different responses without a tag; why others are left out goes to ``reasons``."""
    kept: list[OrderedPair] = []
    for each in comparisons:
        first, second = group.responses[each.first], group.responses[each.second]
        if is_blank(first) or is_blank(second):
            reasons.append(EMPTY)
        elif holds_tag(first) or holds_tag(second):
            reasons.append(RESPONSE_TAG)
        elif first == second:
            reasons.append(IDENTICAL)
        else:
            kept.append(each)
    return kept
