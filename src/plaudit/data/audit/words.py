"""Texts that hold one of the words of a list: toxic ones, names, whatever must not be in the data."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plaudit.data.audit.features import flags
from plaudit.data.audit.findings import Finding, by_share, share_rule
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.group_set import GroupSet
from plaudit.data.schema.normalised import batches, column, prompt_texts
from plaudit.errors import DataError

MANY = 0.01
"""Share of texts with a listed word from which it is an alarm."""
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

    A word in a text says nothing of what the text does with it: a refusal holds it as well.
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
    rate, by_source = table.response_rate(responses)
    of_responses = Finding(
        check="reading",
        name="listed words in responses",
        severity=by_share(int(responses.sum()), rate, alarm=MANY),
        summary=f"{int(responses.sum()):,} of {len(responses):,} responses hold a listed word{beside}",
        rule=share_rule("responses with a listed word", MANY),
        count=int(responses.sum()),
        rate=rate,
        by_source=by_source,
        examples=table.examples(np.unique(table.responses.group[responses])),
    )
    rate, by_source = table.group_rate(prompts)
    of_prompts = of_responses.model_copy(
        update={
            "name": "listed words in prompts",
            "severity": by_share(int(prompts.sum()), rate, alarm=MANY),
            "summary": f"{int(prompts.sum()):,} of {len(prompts):,} prompts hold a listed word",
            "rule": share_rule("prompts with a listed word", MANY),
            "count": int(prompts.sum()),
            "rate": rate,
            "by_source": by_source,
            "examples": table.examples(np.flatnonzero(prompts)),
        }
    )
    return of_responses, of_prompts


def _quoted(word: str) -> str:
    """Return ``word`` as RE2 takes it literally; any white space stands for any other."""
    return r"\s+".join(re.sub(r"([^\w])", r"\\\1", part) for part in word.split())
