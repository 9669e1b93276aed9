"""Steps as turns of a chat: the user says a step, the assistant answers with the word of its class.

The form in which RLHFlow trains language models to judge steps: the first user turn is the problem, a space and step 1,
each further one a step; the assistant's turns are class words. All steps are judged in one pass, each at the position
from which its word is predicted. That position is found by rendering, whatever the template writes around a turn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizerBase
from typing_extensions import override

from plaudit.batching.encode import (
    EMPTY,
    REFUSED,
    LeftOut,
    PlacedResponse,
    RenderedResponse,
    ResponseEncoder,
    is_blank,
    step_repeats,
    token_at,
)
from plaudit.batching.prefix_tree import Int32Array
from plaudit.batching.rendering import render_turns
from plaudit.data.schema.group import Group, Message
from plaudit.errors import DataError, ModelError

Shown = Literal["best", "labels"]

_FOLLOWING = Message("user", "a")
_STEP_MARK = "\ue000"
_WORD_MARK = re.compile("\ue001([0-9]+)\ue002")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turns(RenderedResponse):
    """A response as text: start of its first step, positions of the class words, and labels of the steps."""

    words: tuple[int, ...]
    shown: tuple[int, ...]
    labels: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsEncoder(ResponseEncoder):
    """Renders and tokenises groups as turns: K responses are K chats in one prefix tree.

    ``words[c]`` is the text of class c, from the worst to the best, ``word_tokens[c]`` the token that it is in the
    assistant's turn, ``classes[c]`` the label that it stands for. With ``unit="step"`` each reasoning step is a turn;
    text behind the last one is left out. With ``unit="response"`` the whole response is one, and its label is the
    outcome: an outcome model. Earlier turns show the best word, or, with ``shown="labels"``, that of each step's own
    label (unlabelled: the best).

    A sequence ends at the last position that is read: the last word itself is never context. A response without steps
    is one turn that is read nowhere. Where the template opens the last turn of a chat unlike the others (Qwen3 writes
    an empty thinking part there), ``is_followed`` puts a user turn behind it, so that every step is judged in the same
    context.
    """

    words: tuple[str, ...]
    word_tokens: tuple[int, ...]
    classes: tuple[float, ...]
    unit: Literal["step", "response"] = "step"
    shown: Shown = "best"
    is_followed: bool = False

    def render(self, prompt: Sequence[Message], response: str) -> str:
        """Return the text of a response that is a single turn, judged with the best word.

        Raises:
            DataError: when the template refuses the conversation, or the prompt does not end in a user turn.
        """
        return self._written(prompt, (response.strip(),), (len(self.words) - 1,), ()).text

    def texts(self, group: Group) -> list[str]:
        """Return the text of each sequence of a group: the chats of its responses.

        Raises:
            DataError: when the template refuses one of them, or the prompt does not end in a user turn.
        """
        return [self._turns(group, k).text for k in range(len(group.responses))]

    @override
    def _rendered(self, group: Group) -> list[_Turns | LeftOut]:
        made: list[_Turns | LeftOut] = []
        for k, response in enumerate(group.responses):
            if is_blank(response):
                made.append(LeftOut(EMPTY))
                continue
            try:
                made.append(self._turns(group, k))
            except DataError as error:
                made.append(LeftOut(REFUSED, str(error)))
        return made

    def _turns(self, group: Group, k: int) -> _Turns:
        steps, labels = self._steps(group, k)
        best = len(self.words) - 1
        show = self.shown == "labels"
        shown = tuple(best if label is None or not show else self._nearest_class(label) for label in labels)
        return self._written(group.prompt, steps, shown or (best,), labels)

    def _steps(self, group: Group, k: int) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
        """Return the text of each turn of response k, and the label of each that is read."""
        response = group.responses[k]
        if self.unit == "response":
            outcome = None if group.outcomes is None else group.outcomes[k]
            return (response.strip(),), (None if outcome is None else float(outcome),)
        steps = (group.steps[k] if group.steps else None) or ()
        if not steps:
            return (response.strip(),), ()
        starts = [0, *(step.end for step in steps)]
        texts = tuple(response[start : step.end].strip() for start, step in zip(starts, steps, strict=False))
        if not all(texts):
            raise DataError(f"step {texts.index('') + 1} of response {k} holds no text, so it cannot be a turn")
        return texts, tuple(step.label for step in steps)

    def _nearest_class(self, label: float) -> int:
        """Return the class that a label is nearest to; the worse one of two."""
        return min(range(len(self.classes)), key=lambda index: (abs(self.classes[index] - label), index))

    def _written(
        self,
        prompt: Sequence[Message],
        steps: tuple[str, ...],
        shown: tuple[int, ...],
        labels: tuple[float | None, ...],
    ) -> _Turns:
        """Return the chat of one response, its words found by rendering it with marks in their places."""
        if prompt[-1].role != "user":
            raise DataError(
                f"the prompt ends in a {prompt[-1].role} turn; as turns, step 1 must follow a user's problem"
            )
        words = [self.words[index] for index in shown]
        text = self._chat(prompt, steps, words, "")
        marked = self._chat(prompt, steps, [f"\ue001{i}\ue002" for i in range(len(steps))], _STEP_MARK)
        before, _, after = marked.partition(_STEP_MARK)
        pieces = _WORD_MARK.split(after)
        if [int(number) for number in pieces[1::2]] != list(range(len(steps))):
            raise DataError("the chat template does not write every assistant turn once and in order")
        places: list[int] = []
        built = before
        for piece, word in zip(pieces[0::2], [*words, ""], strict=True):
            built += piece
            places.append(len(built))
            built += word
        if built != text:
            raise DataError("the chat template changes the text of steps or words, so their places cannot be found")
        return _Turns(text, len(before), words=tuple(places[:-1]), shown=shown, labels=labels)

    def _chat(self, prompt: Sequence[Message], steps: Sequence[str], words: Sequence[str], mark: str) -> str:
        """Return the rendered chat, with ``mark`` between the problem and step 1."""
        turns = [*prompt[:-1], Message("user", f"{prompt[-1].content} {mark}{steps[0]}")]
        for step, word in zip(steps[1:], words, strict=False):
            turns += [Message("assistant", word), Message("user", step)]
        turns.append(Message("assistant", words[-1]))
        if self.is_followed:
            turns.append(_FOLLOWING)
        return render_turns(self.tokenizer, self.chat_template, turns)

    @override
    def _placed(
        self, group: Group, k: int, encoded: BatchEncoding, index: int, made: _Turns
    ) -> PlacedResponse | LeftOut:
        try:
            places = [self._word_place(encoded, index, *word) for word in zip(made.words, made.shown, strict=True)]
        except DataError as error:
            return LeftOut(REFUSED, str(error))
        ids = np.asarray(encoded["input_ids"][index][: places[-1]], dtype=np.int32)
        start = token_at(encoded, index, made.start, places[-1])
        return PlacedResponse(ids, start, tuple(place - 1 for place in places[: len(made.labels)]), made.labels)

    @override
    def _step_repeats(self, group: Group, counts: Sequence[int]) -> Int32Array:
        return step_repeats(group, counts) if self.unit == "step" else np.zeros(0, dtype=np.int32)

    def _word_place(self, encoded: BatchEncoding, index: int, character: int, shown: int) -> int:
        """Return the token that is the class word at a character."""
        place = encoded.char_to_token(index, character)
        found = None if place is None else encoded["input_ids"][index][place]
        if not place or found != self.word_tokens[shown]:
            wanted = self.word_tokens[shown]
            raise DataError(f"the class word {self.words[shown]!r} is token {found} here, not {wanted} as elsewhere")
        return place


def word_tokens(
    words: Sequence[str], tokenizer: PreTrainedTokenizerBase, chat_template: str, *, special_tokens: bool
) -> tuple[int, ...]:
    """Return the token that each class word is where an assistant's turn holds nothing else.

    A word may be another token there than standing alone, or behind another header; so it is looked up in the rendered
    chat.

    Raises:
        ModelError: when the template refuses such a chat, or a word is not one token of its own.
    """
    found: list[int] = []
    prefixes: list[list[int]] = []
    for word in words:
        text, start = _alone(word, tokenizer, chat_template)
        encoded = tokenizer(text, add_special_tokens=special_tokens, verbose=False)
        tokens = {encoded.char_to_token(start + offset) for offset in range(len(word))}
        token = tokens.pop()
        if tokens or token is None or encoded.token_to_chars(token).end != start + len(word):
            raise ModelError(f"the class word {word!r} is not one token of its own in an assistant's turn")
        ids = encoded["input_ids"]
        found.append(ids[token])
        prefixes.append(ids[:token])
    if any(prefix != prefixes[0] for prefix in prefixes):
        raise ModelError(f"the class words {', '.join(map(repr, words))} do not follow the same tokens; choose others")
    return tuple(found)


def needs_following(tokenizer: PreTrainedTokenizerBase, chat_template: str) -> bool:
    """Return whether the template opens the last assistant turn of a chat unlike the others.

    Raises:
        ModelError: when it opens all of them differently, so that no two steps would be judged in the same context.
    """
    turns = [Message(role, f"{role[0]}{k}\ue001{k}\ue002") for k in range(2) for role in ("user", "assistant")]
    try:
        if _opens_alike(render_turns(tokenizer, chat_template, turns)):
            return False
        if _opens_alike(render_turns(tokenizer, chat_template, [*turns, _FOLLOWING])):
            return True
    except DataError:
        return False  # why it refuses a chat is said of the chats that are to be judged
    raise ModelError(
        "the chat template opens the assistant's turns of one chat differently, so steps that are turns would be "
        "judged in different contexts; give it one that does not"
    )


def _opens_alike(text: str) -> bool:
    """Return whether the same stands between the user's text and the assistant's in both rounds of a marked chat."""
    openings = re.findall("u[01]\ue001[01]\ue002(.*?)a[01]\ue001[01]\ue002", text, flags=re.DOTALL)
    return len(openings) != 2 or openings[0] == openings[1]


def _alone(word: str, tokenizer: PreTrainedTokenizerBase, chat_template: str) -> tuple[str, int]:
    """Return a chat in which the assistant's only turn is ``word``, and the character at which the word begins."""
    mark = "\ue0010\ue002"
    try:
        text, marked = (
            render_turns(tokenizer, chat_template, [Message("user", "a"), Message("assistant", each)])
            for each in (word, mark)
        )
    except DataError as error:
        raise ModelError(f"the class word {word!r} cannot be an assistant's turn: {error}") from None
    before, _, after = marked.partition(mark)
    if text != before + word + after:
        raise ModelError(f"the chat template does not write the class word {word!r} as it is in an assistant's turn")
    return text, len(before)
