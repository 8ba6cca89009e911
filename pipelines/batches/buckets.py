"""The row widths that waste the fewest slots on padding; the result is optimal."""

from __future__ import annotations

import numpy as np

MAX_CANDIDATES = 4096  # distinct lengths tried as widths; if there are more, neighbours are merged


def best_widths(distinct: np.ndarray, rows: np.ndarray, count: int, batch_size: int) -> list[int]:
    """At most `count` widths, ascending, that minimize the slots that training computes for rows
    of `distinct` lengths (n,) of which there are `rows` (n,): a bucket's last batch is filled up
    with empty rows to `batch_size`.

    Dynamic programming over the distinct lengths: with the first i of them in buckets whose last
    width is the i-th, cost[i] = min over j < i of cost_before[j] + width_i · filled rows(j, i).
    """
    distinct, rows = _candidates(distinct, rows)
    cumulative = np.concatenate([[0], np.cumsum(rows)])  # (candidates + 1,)
    size = len(distinct)
    cost = np.full(size + 1, np.inf)
    cost[0] = 0.0
    choices: list[np.ndarray] = []
    for _ in range(min(count, size)):
        best, chosen = np.full(size + 1, np.inf), np.zeros(size + 1, np.int64)
        best[0] = 0.0
        for i in range(1, size + 1):
            batches = -(-(cumulative[i] - cumulative[:i]) // batch_size)
            totals = cost[:i] + distinct[i - 1] * batches * batch_size
            chosen[i] = np.argmin(totals)
            best[i] = totals[chosen[i]]
        cost = best
        choices.append(chosen)
    widths, end = [], size
    for chosen in reversed(choices):
        if end == 0:
            break
        widths.append(int(distinct[end - 1]))
        end = int(chosen[end])
    return sorted(widths)


def _candidates(distinct: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(distinct) == 0:
        return np.array([1]), np.array([0])
    if len(distinct) <= MAX_CANDIDATES:
        return distinct, rows
    step = -(-int(distinct[-1]) // MAX_CANDIDATES)
    coarse, where = np.unique(-(-distinct // step) * step, return_inverse=True)
    return coarse, np.bincount(where, weights=rows).astype(np.int64)


def assign(lengths: np.ndarray, widths: list[int]) -> np.ndarray:
    """For each length, the index of the narrowest width that fits."""
    return np.searchsorted(np.asarray(widths), lengths, side="left")
