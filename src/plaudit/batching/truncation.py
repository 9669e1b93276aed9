"""Truncation: the one rule by which a conversation that is too long is cut, in training, scoring and evaluation.

Every conversation (a prompt and one response, or one comparison) is cut by itself, so that no reward depends on its
siblings.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from plaudit.batching.prefix_tree import Int32Array

Truncation = Literal["truncate_prompt", "drop", "truncate_response"]
"""``truncate_prompt``: the prompt loses tokens from the left, and a response none. ``drop``: it is left out.
``truncate_response``: a response loses its end, in evaluation only."""

TOO_LONG = "longer than max_length"
RESPONSES_TOO_LONG = "responses alone longer than max_length"
PROMPT_TOO_LONG = "prompt alone longer than max_length"
TRUNCATED = "conversations whose prompt was truncated from the left"
TOKENS_CUT = "prompt tokens cut"
RESPONSES_CUT = "responses whose end was cut"
RESPONSE_TOKENS_CUT = "response tokens cut"


@dataclass(frozen=True, slots=True)
class Fitted:
    """A conversation within the limit: its tokens, those that it lost, and how far its response moved to the left."""

    ids: Int32Array
    lost: int = 0
    shift: int = 0


def fitted(
    ids: Int32Array,
    response_start: int,
    *,
    max_length: int,
    truncation: Truncation,
    opening: int = 0,
    closing: int = 0,
) -> Fitted | str:
    """Return a conversation cut to ``max_length`` tokens, or why it cannot be.

    ``opening`` is the number of tokens at its beginning that stay before a cut of the prompt (a BOS, say), ``closing``
    that of the tokens at its end that stay behind a cut of the response. The tokens that ``truncate_response`` keeps
    are those that the tokenizer gives with ``truncation=True, max_length=…``.
    """
    excess = len(ids) - max_length
    if excess <= 0:
        return Fitted(ids)
    match truncation:
        case "drop":
            return TOO_LONG
        case "truncate_prompt":
            if excess > response_start - opening:
                return RESPONSES_TOO_LONG
            return Fitted(np.concatenate([ids[:opening], ids[opening + excess :]]), excess, excess)
        case "truncate_response":
            if max_length - closing <= response_start:
                return PROMPT_TOO_LONG
            end = len(ids) - closing
            return Fitted(np.concatenate([ids[: end - excess], ids[end:]]), excess)
        case _:
            assert_never(truncation)


def count_cut(cut: Fitted, truncation: Truncation, counts: Counter[str]) -> None:
    """Add what a conversation lost, if anything, to ``counts``."""
    if cut.lost:
        is_response = truncation == "truncate_response"
        counts[RESPONSES_CUT if is_response else TRUNCATED] += 1
        counts[RESPONSE_TOKENS_CUT if is_response else TOKENS_CUT] += cut.lost
