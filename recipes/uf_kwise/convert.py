"""Write UltraFeedback's rows, four rated responses of a prompt each, as groups for this recipe.

    python convert.py ultrafeedback/rated.jsonl

Needs the hub. A row of ``openbmb/UltraFeedback`` holds ``instruction``, ``source`` and ``completions``; each completion
its ``response`` and, under ``annotations``, a ``Rating`` from 1 to 5, or N/A, of each of four aspects. The ratings of
the group are the four aspects and ``mean``, the mean of those that are there.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plaudit import Group, InvalidGroupError, Message, write_groups

ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def groups_of(rows: Iterable[Mapping[str, Any]], left_out: Counter[str]) -> Iterator[Group]:
    """Yield one group per row; rows that make none are counted in ``left_out`` by reason."""
    for number, row in enumerate(rows):
        completions = row["completions"]
        if len(completions) < 2:
            left_out["fewer than two responses"] += 1
            continue
        ratings = {aspect: tuple(_rating(each, aspect) for each in completions) for aspect in ASPECTS}
        ratings["mean"] = tuple(_mean(values) for values in zip(*ratings.values(), strict=True))
        try:
            yield Group(
                (Message("user", row["instruction"]),),
                tuple(each["response"] for each in completions),
                ratings=ratings,
                id=f"ultrafeedback:{number}",
                source=row["source"],
            )
        except InvalidGroupError as error:
            left_out[str(error)] += 1


def _rating(completion: Mapping[str, Any], aspect: str) -> float | None:
    value = str(completion["annotations"][aspect]["Rating"])
    return float(value) if value.isdecimal() else None


def _mean(values: tuple[float | None, ...]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    from datasets import load_dataset

    counts: Counter[str] = Counter()
    write_groups(Path(sys.argv[1]), groups_of(load_dataset("openbmb/UltraFeedback", split="train"), counts))
    print(f"wrote {sys.argv[1]}; left out: {dict(counts) or 'nothing'}")
