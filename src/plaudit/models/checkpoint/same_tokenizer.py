"""Whether two tokenizers turn every text into the same tokens."""

from __future__ import annotations

import json
from typing import Any

from transformers import PreTrainedTokenizerBase

from plaudit.batching.encode import check_fast

_SETTINGS = ("truncation", "padding")
"""Parts of a tokenizer's file that say how it was last called, and nothing about its tokens."""


def tokenizer_difference(first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase) -> str | None:
    """Return the first thing in which the tokenizers differ, in words, or None where they are the same.

    Compared are the vocabulary and every part of the tokenizer's file: normaliser, splitter, model, added tokens. How
    it was last asked to pad or truncate does not count, nor does the chat template.

    Raises:
        ModelError: when one of them has no ``tokenizer.json``.
    """
    check_fast(first)
    check_fast(second)
    if len(first) != len(second):
        return f"one has {len(first)} entries, the other {len(second)}"
    ids, others = first.get_vocab(), second.get_vocab()
    for token in sorted(ids, key=lambda token: ids[token]):
        if others.get(token) != ids[token]:
            return f"{token!r} is token {ids[token]} of one and {others.get(token, 'none')} of the other"
    parts, theirs = _parts(first), _parts(second)
    return next((f"their {name} differs" for name in parts if parts[name] != theirs.get(name)), None)


def _parts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    found = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: value for name, value in found.items() if name not in _SETTINGS}
