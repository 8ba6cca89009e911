"""Whether two samples have the same distribution: stability index, KS test, chi-squared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

ALARM = 0.2  # the usual rule: below 0.1 almost no change, above 0.2 another distribution
CHANCE = 0.01  # p value below which a difference is not due to chance
BINS = 10  # with equal numbers of the champion's documents
FEWEST = 20  # documents: fewer are not a distribution
RAREST = 0.001  # smaller shares count as this, to avoid division by almost zero
LENGTH = "median length (tokens)"


def stability_index(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index of two histograms over the same bins: (bins,) counts each."""
    before, after = (np.maximum(counts / counts.sum(), RAREST) for counts in (old, new))
    return float(((after - before) * np.log(after / before)).sum())


def kolmogorov_smirnov(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """(largest gap between the shares below any value, p value) of two counts by value.

    The p value is the asymptotic one (Stephens 1970), too large if values repeat. SciPy's ks_2samp
    would need each of the millions of values that are counted here.
    """
    from scipy.special import kolmogorov

    size = max(len(old), len(new))
    shares = [
        np.cumsum(np.pad(counts, (0, size - len(counts)))) / counts.sum() for counts in (old, new)
    ]
    gap = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(old.sum() * new.sum() / (old.sum() + new.sum()))
    return gap, float(kolmogorov((root + 0.12 + 0.11 / root) * gap))


def chi_square(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """(Pearson's chi-square, p value) of two distributions, each given as counts, such as (hits,
    misses)."""
    from scipy.stats import chi2_contingency

    table = np.array([old, new])
    if not (table.sum(0).all() and table.sum(1).all()):  # no hits, or only hits
        return 0.0, 1.0
    statistic, p, *_ = chi2_contingency(table, correction=False)
    return float(statistic), float(p)


def of_unknown(old: tuple[int, int], new: tuple[int, int]) -> dict[str, Any]:
    """The row of two counts (unknown tokens, known ones). Fewer unknown tokens are not drift."""
    row = of_shares("unknown tokens", old, new)
    return row | {"drifted": row["drifted"] and row["new"] > row["old"]}


def of_values(
    name: str, old: np.ndarray, new: np.ndarray, unit: float = 1
) -> Iterator[dict[str, Any]]:
    """The row of two counts by value, (values,) each, with their medians times `unit`; none if
    there are fewer than FEWEST."""
    if min(old.sum(), new.sum()) < FEWEST:
        return
    edges = _quantiles(old)
    index = stability_index(*(_binned(counts, edges) for counts in (old, new)))
    yield _row(
        name,
        _median(old) * unit,
        _median(new) * unit,
        index,
        "Kolmogorov-Smirnov",
        *kolmogorov_smirnov(old, new),
    )


def of_shares(name: str, old: tuple[int, int], new: tuple[int, int]) -> dict[str, Any]:
    """The row of two shares, each given as counts (hits, misses)."""
    before, after = np.array(old), np.array(new)
    return _row(
        f"share of {name}",
        before[0] / before.sum(),
        after[0] / after.sum(),
        stability_index(before, after),
        "chi-square",
        *chi_square(before, after),
    )


def of_classes(labels: Sequence[str], old: np.ndarray, new: np.ndarray) -> Iterator[dict[str, Any]]:
    """The row of documents by class (classes,), with the shares of the class that changed most;
    none if there are fewer than FEWEST."""
    if min(old.sum(), new.sum()) < FEWEST:
        return
    before, after = old / old.sum(), new / new.sum()
    most = int(np.abs(after - before).argmax())
    there = old + new > 0
    yield _row(
        f"shares of the labels, most of {labels[most]}",
        before[most],
        after[most],
        stability_index(old, new),
        "chi-square",
        *chi_square(old[there], new[there]),
    )


def _row(
    measure: str, old: float, new: float, index: float, test: str, statistic: float, p: float
) -> dict[str, Any]:
    return {
        "measure": measure,
        "old": float(old),
        "new": float(new),
        "index": index,
        "test": test,
        "statistic": statistic,
        "p": p,
        "drifted": index > ALARM and p < CHANCE,
    }


def _quantiles(counts: np.ndarray) -> np.ndarray:
    """The deciles of the documents' lengths; equal ones once."""
    below = np.cumsum(counts) / counts.sum()
    return np.unique(np.searchsorted(below, np.arange(1, BINS) / BINS))


def _binned(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    which = np.searchsorted(edges, np.arange(len(counts)))
    return np.bincount(which, weights=counts, minlength=len(edges) + 1)


def _median(counts: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
