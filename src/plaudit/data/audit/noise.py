"""The rate of wrong labels, from pairs labelled more than once and from a bag-of-words classifier."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from plaudit.data.audit.findings import NUM_EXAMPLES, Example, Finding
from plaudit.data.audit.repeats import pair_numbers
from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.normalised import Int64Array, batches, column, normalised, words_of
from plaudit.records import Interval
from plaudit.statistics.intervals import proportion_interval, wilson_interval

MANY = 0.02
"""Share of wrong labels from which it is an alarm."""
FEWEST_REPEATS = 100
"""Pairs of texts that must have been labelled twice."""
FEWEST_PAIRS = 1000
"""Pairs below which the judge is not fitted."""
FEWEST_JUDGED = 100
"""Judged pairs, one of each group, below which the surest tenth says nothing."""
SUREST = 0.1
"""Share of the judge's surest pairs that the estimate is read from; the next tenth is compared with it."""
IGNORANCE = 0.2
"""Disagreement of the surest tenth above which the judge knows too little."""


def repeated_label_noise(table: AuditTable, prompts: Int64Array) -> Finding | str:
    """Return the share of wrong labels from pairs labelled more than once, or why it cannot be told.

    Two labels of the same texts, each wrong with probability e on its own, disagree with probability D = 2e (1 − e), so
    e = (1 − √(1 − 2D)) ÷ 2; the ends of D's interval give those of e. Of each pair of texts two labels are compared,
    the first and the last. Annotators who disagree for good reasons count as noise, copies of one label as agreement.
    """
    numbers, is_low = pair_numbers(table, prompts)
    is_distinct = table.responses.normal[table.pairs.chosen] != table.responses.normal[table.pairs.rejected]
    kept = np.flatnonzero(is_distinct)
    _, first = np.unique(numbers[kept], return_index=True)
    _, last = np.unique(numbers[kept][::-1], return_index=True)
    last = len(kept) - 1 - last
    is_repeated = last > first
    first, last = kept[first[is_repeated]], kept[last[is_repeated]]
    if len(first) < FEWEST_REPEATS:
        return f"{len(first):,} pairs of texts are labelled more than once; {FEWEST_REPEATS} are needed"
    disagree = is_low[first] != is_low[last]
    found = proportion_interval(disagree.astype(np.float64), table.clusters[first])
    assert found is not None
    if found.high >= 0.5:
        return f"labels of one pair disagree in {found.value:.0%} of cases: the interval holds a coin's one half"
    rate = _wrong(found)
    count = int(disagree.sum())
    severity = "alarm" if rate.low >= MANY else "notice" if count else "ok"
    return Finding(
        check="noise",
        name="wrong labels, from repeated pairs",
        severity=severity,
        summary=f"{count:,} of {len(first):,} repeated pairs disagree, as if {rate.value:.1%} of all labels were wrong",
        rule=f"e with D = 2e (1 − e), labels wrong independently; an interval above {MANY:.0%} is an alarm",
        count=count,
        rate=rate,
        figures={"disagreement": found},
        examples=table.examples(table.pairs.group[first[disagree]], others=table.pairs.group[last[disagree]]),
    )


def bag_of_words_label_noise(table: AuditTable, *, seed: int) -> Finding | str:
    """Return the share of wrong labels among the pairs that a judge of words is surest of, or why it cannot be told.

    The judge is a bag-of-words classifier (``bag_of_words_margins``), fitted on other prompts than it judges. If labels
    are wrong with probability e whatever the texts, it disagrees with them at least that often, however sure it is.
    The disagreement of its surest tenth estimates e where knowing more would not help: where the next tenth disagrees
    no more often. Otherwise, or where the surest tenth disagrees in more than a fifth, no rate is given.
    """
    if len(table.pairs) < FEWEST_PAIRS:
        return f"there are {len(table.pairs):,} pairs; a judge needs {FEWEST_PAIRS:,}"
    judged = bag_of_words_margins(table, seed=seed)
    if len(judged.pairs) < FEWEST_JUDGED:
        return f"the pairs are of {len(judged.pairs):,} groups, one of each is judged; a judge needs {FEWEST_JUDGED:,}"
    order = np.argsort(-np.abs(judged.margins), kind="stable")
    size = int(SUREST * len(order))
    is_wrong = judged.margins < 0
    tenths = [wilson_interval(int(is_wrong[order[i * size : (i + 1) * size]].sum()), size) for i in range(2)]
    overall = wilson_interval(int((judged.margins > 0).sum()), len(order))
    assert tenths[0] is not None
    assert tenths[1] is not None
    assert overall is not None
    reason = _ignorance(tenths[0], tenths[1])
    if reason is not None:
        return f"a judge of words agrees with {overall.value:.1%} of labels; {reason}"
    rate = tenths[0].model_copy(update={"method": f"wilson, surest {SUREST:.0%} of a cross-validated judge"})
    wrong = order[:size][is_wrong[order[:size]]]
    return Finding(
        check="noise",
        name="wrong labels, from a judge of words",
        severity="notice" if rate.low >= MANY else "ok",
        summary=(
            f"a judge that reads only words agrees with {overall.value:.1%} of labels, and disagrees with "
            f"{rate.value:.1%} of those that it is surest of"
        ),
        rule=(
            "labels wrong whatever the texts; estimated on the surest tenth, told only where the next tenth disagrees "
            f"no more often; an interval above {MANY:.0%} is a notice, never more"
        ),
        count=len(wrong),
        rate=rate,
        figures={"agreement": overall, "next tenth": tenths[1]},
        examples=_suspects(table, judged.pairs[wrong], judged.margins[wrong]),
    )


def _ignorance(surest: Interval, following: Interval) -> str | None:
    if surest.high > IGNORANCE:
        return f"it disagrees with {surest.value:.1%} even where it is surest, so it knows too little to say"
    pooled = (surest.value + following.value) / 2
    error = math.sqrt(max(2 * pooled * (1 - pooled) / surest.n, 1e-300))
    if (following.value - surest.value) / error > 1.645:
        return (
            f"its disagreement still falls where it is surer ({following.value:.1%} to {surest.value:.1%}), so wrong "
            f"labels are at most {surest.high:.1%} of those"
        )
    return None


def _wrong(disagreement: Interval) -> Interval:
    def solve(share: float) -> float:
        return (1.0 - math.sqrt(1.0 - 2.0 * share)) / 2.0

    return disagreement.model_copy(
        update={
            "value": solve(disagreement.value),
            "low": solve(disagreement.low),
            "high": solve(disagreement.high),
            "method": f"{disagreement.method}, disagreement solved for the rate of one label",
        }
    )


def _suspects(table: AuditTable, pairs: Int64Array, margins: npt.NDArray[np.float64]) -> tuple[Example, ...]:
    shown = pairs[:NUM_EXAMPLES]
    rows = table.pairs.group[shown]
    return tuple(
        Example(row=row, id=name, note=f"the judge gives the rejected response the odds {math.exp(-margin):.0f} : 1")
        for row, name, margin in zip(rows.tolist(), table.ids(rows), margins.tolist(), strict=False)
    )


FOLDS = 5
BUCKETS = 2**14
"""Columns that words are hashed into."""
MAX_PAIRS = 50_000
"""Pairs the classifier is fitted on, drawn by seed where there are more."""
_ROWS = 2000
PENALTY = 1e-3
"""Weight of ½|w|² beside the mean loss."""


@final
@dataclass(frozen=True, slots=True)
class BagOfWordsMargins:
    """Predictions of the classifier for pairs that it was not fitted on."""

    pairs: Int64Array
    """Positions of the pairs that were judged."""
    margins: npt.NDArray[np.float64]
    """[judged pair] log-odds that the chosen response is the better one."""


def bag_of_words_margins(table: AuditTable, *, seed: int) -> BagOfWordsMargins:
    """Return out-of-fold log-odds of pairs, from a classifier fitted on the pairs of other prompts.

    Its features are the differences, chosen − rejected, of 1 + log(count) of each word (hashed), of the style features
    and of log(1 + characters); it has no constant, so turning a pair round turns its sign. All pairs of a prompt are in
    one fold. At most one pair of a group and ``MAX_PAIRS`` of all are judged.
    """
    generator = np.random.default_rng(seed)
    _, pairs = np.unique(table.pairs.group, return_index=True)
    if len(pairs) > MAX_PAIRS:
        pairs = np.sort(generator.choice(pairs, MAX_PAIRS, replace=False))
    matrix = _differences(table, pairs)
    _, prompts = np.unique(table.clusters[pairs], return_inverse=True)
    fold = generator.integers(0, FOLDS, size=int(prompts.max(initial=-1)) + 1)[prompts]
    margins = np.zeros(len(pairs))
    for number in range(FOLDS):
        held = np.flatnonzero(fold == number)
        fitted = np.flatnonzero(fold != number)
        if len(held) and len(fitted):
            margins[held] = matrix[held] @ logistic_weights(matrix[fitted])
    return BagOfWordsMargins(pairs, margins)


def logistic_weights(differences: Any) -> npt.NDArray[np.float64]:
    """Return w that minimises mean log(1 + exp(−x·w)) + ½ ``PENALTY`` |w|² over the rows x of a sparse matrix."""
    from scipy import optimize, special

    rows = differences.shape[0]
    transposed = differences.T.tocsr()

    def loss(weights: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        margins = differences @ weights
        value = -special.log_expit(margins).mean() + PENALTY / 2 * (weights @ weights)
        return float(value), -(transposed @ special.expit(-margins)) / rows + PENALTY * weights

    start = np.zeros(differences.shape[1])
    return optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100}).x


def _differences(table: AuditTable, pairs: Int64Array) -> Any:
    """Return the sparse matrix [pair, feature] of the features that differ in some pair."""
    from scipy import sparse

    groups = table.pairs.group[pairs]
    words = _word_counts(table, pairs, groups)
    sides = [side[pairs] for side in (table.pairs.chosen, table.pairs.rejected)]
    length = np.log1p(table.responses.characters)
    style = [table.responses.style[side].astype(np.float64) for side in sides]
    dense = np.column_stack([style[0] - style[1], length[sides[0]] - length[sides[1]]])
    matrix: Any = sparse.hstack([words, sparse.csr_array(dense)]).tocsr()
    return matrix[:, np.unique(matrix.indices)]


def _word_counts(table: AuditTable, pairs: Int64Array, groups: Int64Array) -> Any:
    from scipy import sparse

    first = np.searchsorted(table.responses.group, groups)
    blocks: list[Any] = [sparse.csr_array((0, BUCKETS))]
    for start, batch in batches(table.groups.select(groups), ["responses"], rows=_ROWS):
        lists = column(batch, "responses")
        words = words_of(normalised(lists.flatten()))
        rows = np.repeat(np.arange(len(words.counts)), words.counts)
        counts: Any = sparse.coo_array(
            (np.ones(len(rows)), (rows, (words.hashes % np.uint64(BUCKETS)).astype(np.int64))),
            shape=(len(words.counts), BUCKETS),
        ).tocsr()
        counts.data = 1.0 + np.log(counts.data)
        inside = slice(start, start + len(lists))
        begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lists.value_lengths().to_numpy())])[:-1]
        chosen, rejected = (
            begins + side[pairs[inside]] - first[inside] for side in (table.pairs.chosen, table.pairs.rejected)
        )
        blocks.append(counts[chosen] - counts[rejected])
    return sparse.vstack(blocks).tocsr()
