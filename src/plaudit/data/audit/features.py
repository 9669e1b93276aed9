"""What can be seen in a response without a model: marks of style and marks of format, each a regular expression."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from plaudit.data.schema.normalised import compute

STYLE: Mapping[str, str] = {
    "bold text": r"\*\*[^*\n]+\*\*",
    "heading": r"(?m)^#{1,6} \S",
    "list": r"(?m)^\s*(?:[-*•+]|\d{1,2}[.)]) \S",
    "table": r"(?m)^\s*\|.*\|\s*$",
    "code block": r"```",
    "inline code": r"(?:^|[^`])`[^`\n]+`(?:$|[^`])",
    "link": r"https?://",
    "emoji": r"[\x{1F300}-\x{1FAFF}\x{2600}-\x{27BF}]",
    "several lines": r"\S\s*\n\s*\S",
    "refusal": (
        r"(?i)\bi(?: am|['’]m) (?:sorry, but|(?:not able|unable) to)|\bi (?:cannot|can['’]t|won['’]t|will not)\b"
        r"|\bas an? (?:ai|language model)\b"
    ),
    "politeness": (
        r"(?i)\b(?:please|thanks?|thank you|sorry|apolog\w+|(?:a|my) (?:real )?pleasure|best wishes"
        r"|(?:glad|happy) to help)\b"
    ),
    "hedging": r"(?i)\b(?:i think|i believe|i guess|perhaps|maybe|probably|it seems|not sure)\b",
    "exclamation mark": r"!",
    "question": r"\?",
    "digit": r"\d",
}
"""What an annotator may like or not, though it says nothing of the content."""

FORMAT: Mapping[str, str] = {
    "leading whitespace": r"\A\s",
    "trailing space": r"[^\S\n]\z",
    "trailing line break": r"\n\z",
    "opens with a turn marker": r"(?i)\A\s*(?:assistant|human|user|ai|bot|response|answer)\s*(?:\d|[ab])?\s*:",
    "holds a turn marker": r"\n\s*(?:Human|Assistant|User|System|###\s*\w+)\s*:",
    "special token": r"<\|[^|<>\n]{1,40}\|>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>",
    "in quote marks": r"(?s)\A\s*[\"“'‘«].*[\"”'’»]\s*\z",
    "ends without a mark": r"[\pL\pN,;\-]\s*\z",
    "opens in lower case": r"\A\s*\p{Ll}",
    "invisible character": r"[\x{200B}-\x{200F}\x{2060}\x{FEFF}\x{00AD}]",
    "no-break space": r"\x{00A0}",
    "carriage return": r"\r",
    "tab": r"\t",
    "double space": r"\S {2,}\S",
    "names the verdict": r"(?i)\b(?:chosen|rejected|preferred|dispreferred) (?:response|answer|completion)\b",
}
"""What comes from how the two sides were written down: between fair sides there is no difference."""

NO_CONTENT = r"\A[^\pL\pN]*\z"
"""A response without a letter or digit."""


def flags(texts: pa.Array, patterns: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Return [text, pattern] whether each pattern is found in each text."""
    found = np.empty((len(texts), len(patterns)), bool)
    for position, pattern in enumerate(patterns.values()):
        matches = compute.match_substring_regex(texts, pattern)
        found[:, position] = matches.to_numpy(zero_copy_only=False)
    return found
