"""Rows left out by reading, responses that say nothing, and texts that hold one of the words of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plaudit.data.audit.findings import Example, Finding, fault, share_of
from plaudit.data.audit.table import CONTROL, FORMAT, AuditTable, flags, nothing_seen
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.normalised import batches, column, prompt_texts
from plaudit.data.schema.report import ReadReport
from plaudit.errors import DataError
from plaudit.statistics.intervals import wilson_interval

MANY = 0.01
"""Share of rows left out, of empty responses or of texts with a listed word from which it is an alarm."""


def dropped_rows(report: ReadReport) -> list[Finding]:
    """Return one finding for each reason that rows were left out for, the most frequent first; one where none was."""
    ordered = sorted(report.dropped.items(), key=lambda item: (-item[1], item[0]))
    return [
        fault(
            "reading",
            reason,
            count=count,
            rate=wilson_interval(count, report.rows) or nothing_seen(),
            alarm=MANY,
            summary=(
                f"{count:,} of {report.rows:,} rows were left out: {reason}"
                if ordered
                else f"every one of {report.rows:,} rows was used"
            ),
            counted="rows left out of the rows read",
            examples=tuple(_example(text) for text in report.examples.get(reason, ())),
        )
        for reason, count in ordered or [("rows left out", 0)]
    ]


def responses_without_content(table: AuditTable) -> Finding:
    """Return the finding of responses that hold no letter and no digit."""
    is_empty = table.responses.is_empty
    return table.fault(
        "reading",
        "responses without content",
        "responses",
        is_empty,
        alarm=MANY,
        summary=f"{share_of(is_empty)} responses hold no letter and no digit",
        counted="responses without a letter or digit",
    )


def control_tokens(table: AuditTable) -> Finding:
    """Return the finding of responses in whose text a control token of a chat template is written out."""
    is_marked = table.responses.format[:, list(FORMAT).index(CONTROL)]
    return table.fault(
        "reading",
        "control tokens in responses",
        "responses",
        is_marked,
        alarm=MANY,
        summary=(
            f"{share_of(is_marked)} responses hold a control token of a chat template as text: a tokenizer that knows "
            "it reads the end of a turn, and what follows as an exchange that never took place"
        ),
        counted="responses with a mark such as <|im_end|> or [INST]",
    )


def _example(text: str) -> Example:
    place, separator, note = text.partition(": ")
    return Example(place=place, note=note) if separator else Example(note=text)


_ROWS = 2000


def read_words(path: str | Path) -> tuple[str, ...]:
    """Return the words of a file, one a line; blank lines and those that begin with ``#`` are left out.

    Raises:
        DataError: where the file cannot be read or holds no word.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of words: {error}") from None
    words = tuple(line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if not words:
        raise DataError(f"{path}: holds no word; give one a line")
    return words


def listed_words(groups: GroupSet, table: AuditTable, words: Sequence[str]) -> tuple[Finding, Finding]:
    """Return the findings of responses and of prompts that hold one of ``words``, as whole words in any case.

    A word alone does not show its use: a refusal holds it as well.
    """
    ordered = sorted({word.casefold() for word in words}, key=lambda word: (-len(word), word))
    pattern = {"": rf"(?i)(?:^|[^\pL\pN_])(?:{'|'.join(map(_quoted, ordered))})(?:$|[^\pL\pN_])"}
    in_prompt, in_response = [np.zeros(0, bool)], [np.zeros(0, bool)]
    for _, batch in batches(groups, ["prompt", "responses"], rows=_ROWS):
        in_prompt.append(flags(prompt_texts(column(batch, "prompt")), pattern)[:, 0])
        in_response.append(flags(column(batch, "responses").flatten(), pattern)[:, 0])
    prompts, responses = np.concatenate(in_prompt), np.concatenate(in_response)
    sides = [responses[each] for each in (table.pairs.chosen, table.pairs.rejected)]
    beside = "".join(
        f"; {side.mean():.2%} of {name}" for name, side in zip(("chosen", "rejected"), sides, strict=True) if len(side)
    )
    of_responses = table.fault(
        "reading",
        "listed words in responses",
        "responses",
        responses,
        alarm=MANY,
        summary=f"{share_of(responses)} responses hold a listed word{beside}",
        counted="responses with a listed word",
    )
    of_prompts = table.fault(
        "reading",
        "listed words in prompts",
        "groups",
        prompts,
        alarm=MANY,
        summary=f"{share_of(prompts)} prompts hold a listed word",
        counted="prompts with a listed word",
    )
    return of_responses, of_prompts


def _quoted(word: str) -> str:
    """Return ``word`` as RE2 takes it literally; any white space stands for any other."""
    return r"\s+".join(re.sub(r"([^\w])", r"\\\1", part) for part in word.split())
