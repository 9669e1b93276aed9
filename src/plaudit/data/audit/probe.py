"""A small judge that reads only the words: logistic regression on differences of counts, out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from plaudit.data.audit.table import AuditTable
from plaudit.data.schema.normalised import Int64Array, batches, column, normalised, words_of

FOLDS = 5
BUCKETS = 2**14
"""Columns that words are hashed into."""
MAX_PAIRS = 50_000
"""Pairs the judge is fitted on, drawn by seed where there are more."""
_ROWS = 2000
PENALTY = 1e-3
"""Weight of ½|w|² beside the mean loss."""


@final
@dataclass(frozen=True, slots=True)
class ProbeMargins:
    """What a judge says of pairs that it was not fitted on."""

    pairs: Int64Array
    """Positions of the pairs that were judged."""
    margins: npt.NDArray[np.float64]
    """[judged pair] log-odds that the chosen response is the better one."""


def probe_margins(table: AuditTable, *, seed: int) -> ProbeMargins:
    """Return out-of-fold log-odds of pairs, from a judge fitted on the pairs of other prompts.

    Its features are the differences, chosen − rejected, of 1 + log(count) of each word (hashed), of the marks of style
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
    return ProbeMargins(pairs, margins)


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
