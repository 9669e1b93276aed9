"""Length audit: bias to the longer response, lengths in characters or tokens, pairs made equal by truncation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from plaudit.data.audit.findings import Finding, by_gap, share_of
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.normalised import Int64Array, batches, column, offsets_of, prompt_texts
from plaudit.errors import ConfigError, DataError
from plaudit.statistics.calibration import shared_histogram
from plaudit.statistics.classification import auc_interval
from plaudit.statistics.intervals import proportion_interval
from plaudit.statistics.paired_tests import sign_test

LARGE = 0.1
"""Distance of the longer response's wins from one half that makes an alarm: wins in fewer than 40 % or over 60 %."""


def length_bias(table: AuditTable) -> Finding | None:
    """Return how often the longer response is the chosen one, a tie counting ½; None where there is no pair.

    The metric ``auc`` is the area under the ROC curve of the length difference, over both orders of every pair: the
    probability that the difference of a pair, chosen minus rejected, exceeds that of a pair turned round. It sees how
    much longer, where the rate sees only that it is longer.
    """
    if not len(table.pairs):
        return None
    lengths = table.responses.characters
    difference = (lengths[table.pairs.chosen] - lengths[table.pairs.rejected]).astype(np.float64)
    wins = np.where(difference == 0, 0.5, difference > 0)
    rate, by_source = table.rate("pairs", wins)
    p_value = sign_test(np.sign(difference), table.clusters)
    figures = {"ties": proportion_interval((difference == 0).astype(np.float64), table.clusters)}
    figures["auc"] = auc_interval(
        np.concatenate([difference, -difference]),
        np.repeat([True, False], len(difference)),
        np.tile(table.clusters, 2),
    )
    is_beyond = rate.low > 0.5 + LARGE or rate.high < 0.5 - LARGE
    return Finding(
        check="length",
        name="longer response wins",
        severity=by_gap(p_value, LARGE if is_beyond else 0.0, alarm=LARGE),
        summary=(
            f"the longer response is chosen in {rate.value:.1%} of {rate.n:,} pairs; {int((difference == 0).sum()):,} "
            "pairs of equal length count one half"
        ),
        rule="sign test over prompts: a notice below p = 0.01, an alarm if the interval also lies outside 40 to 60 %",
        count=int((difference > 0).sum()),
        rate=rate,
        figures={name: interval for name, interval in figures.items() if interval is not None},
        p_value=p_value,
        by_source=by_source,
    )


def pair_histogram(table: AuditTable, prompt: Int64Array, response: Int64Array) -> list[dict[str, float]]:
    """Return the histogram of the lengths, [group] and [response], of prompts, chosen and rejected responses."""
    return length_histogram(prompt, response[table.pairs.chosen], response[table.pairs.rejected])


def length_histogram(prompt: np.ndarray, chosen: np.ndarray, rejected: np.ndarray) -> list[dict[str, float]]:
    """Return one row per bin: low, high, and the number of prompts, chosen and rejected responses in it.

    The last bin ends at the largest length; the bins below it are of equal width up to the 99 % point of all lengths.
    """
    samples = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    together = np.concatenate(list(samples.values()))
    if not len(together):
        return []
    limit = float(np.quantile(together, 0.99))
    rows = shared_histogram({name: values[values <= limit] for name, values in samples.items()})
    top = float(together.max())
    if top > limit:
        beyond = {name: float((values > limit).sum()) for name, values in samples.items()}
        rows.append({"low": limit, "high": top, **beyond})
    return rows


Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Turns texts into token ids, without special tokens."""

MANY = 0.01
"""Share of pairs that are one after cutting from which it is an alarm."""
_ROWS = 1000


@final
@dataclass(frozen=True, slots=True)
class Cut:
    """Length to which conversations are cut, and the unit it is counted in."""

    max_length: int | None
    """Tokens (characters without a tokenizer) of prompt and response together that are kept, from the start."""
    tokenize: Tokenize | None = None
    """The tokenizer; None counts characters."""
    tokenizer: str = ""
    """Its name, for the report."""

    def __post_init__(self) -> None:
        """Check the length."""
        if self.max_length is not None and self.max_length < 1:
            raise ConfigError(f"max_length is {self.max_length}; it must be at least 1")

    @property
    def unit(self) -> str:
        """Return the unit of lengths."""
        return "characters" if self.tokenize is None else f"tokens of {self.tokenizer or 'the tokenizer'}"


@final
@dataclass(frozen=True, slots=True)
class CutLengths:
    """Lengths in the unit of a cut, and where the responses of a pair first differ."""

    prompt: Int64Array
    """[group]."""
    response: Int64Array
    """[response]."""
    differ: Int64Array
    """[pair] units that the two sides have in common from the start of the response; the whole of a side that the
    other one goes on from."""


def cut_lengths(table: AuditTable, cut: Cut) -> CutLengths:
    """Return the lengths of all prompts and responses in the unit of ``cut``, and the common starts of all pairs.

    Prompt and response are tokenised apart: a token that would span their border counts as two.

    Raises:
        DataError: when the tokenizer gives another number of texts than it was given.
    """
    prompts, responses, shared = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    order = np.argsort(table.pairs.group, kind="stable")
    done = first_response = 0
    sorted_groups = table.pairs.group[order]
    for start, batch in batches(table.groups, ["prompt", "responses"], rows=_ROWS):
        lists = column(batch, "responses")
        texts = _units(lists.flatten().to_pylist(), cut)
        prompts.append(np.array(unit_lengths(prompt_texts(column(batch, "prompt")).to_pylist(), cut), np.int64))
        responses.append(np.array([len(units) for units in texts], np.int64))
        stop = int(np.searchsorted(sorted_groups, start + len(lists)))
        for pair in order[done:stop].tolist():
            sides = [texts[int(each[pair]) - first_response] for each in (table.pairs.chosen, table.pairs.rejected)]
            shared.append(np.array([common_start(*sides)], np.int64))
        done, first_response = stop, first_response + int(offsets_of(lists.value_lengths())[-1])
    differ = np.zeros(len(order), np.int64)
    differ[order] = np.concatenate(shared)
    return CutLengths(np.concatenate(prompts), np.concatenate(responses), differ)


def common_start(first: Sequence[int] | str, second: Sequence[int] | str) -> int:
    """Return how many units two sequences have in common from their start, by halving the first of them."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def identical_after_cut(table: AuditTable, lengths: CutLengths, cut: Cut) -> Finding | None:
    """Return the finding of pairs whose sides are one once prompt and response are cut; None where there is no limit.

    The start of the conversation is kept, ``max_length`` units of it: the way of trainers that cut from the
    right. Sides that were equal before count, too.
    """
    if cut.max_length is None or not len(table.pairs):
        return None
    room = cut.max_length - lengths.prompt[table.pairs.group]
    sides = (lengths.response[table.pairs.chosen], lengths.response[table.pairs.rejected])
    is_whole = (lengths.differ == sides[0]) & (lengths.differ == sides[1])
    is_one = is_whole | (lengths.differ >= room)
    over, _ = table.rate("pairs", np.maximum(*sides) > room)
    return table.fault(
        "truncation",
        "identical after truncation",
        "pairs",
        is_one,
        alarm=MANY,
        summary=(
            f"{share_of(is_one)} pairs have two equal sides within the first {cut.max_length:,} {cut.unit} of "
            f"prompt and response; {over.value:.1%} are longer than that"
        ),
        counted="pairs equal after prompt and response are cut from the right",
        figures={"longer than the limit": over},
    )


def unit_lengths(texts: Sequence[str], cut: Cut) -> list[int]:
    """Return the length of each text in the unit of ``cut``.

    Raises:
        DataError: when the tokenizer gives another number of texts than it was given.
    """
    return [len(units) for units in _units(texts, cut)]


def _units(values: Sequence[str], cut: Cut) -> Sequence[Sequence[int] | str]:
    if cut.tokenize is None:
        return values
    tokens = cut.tokenize(values) if values else []
    if len(tokens) != len(values):
        raise DataError(f"the tokenizer gave {len(tokens)} lists of tokens for {len(values)} texts")
    return tokens
