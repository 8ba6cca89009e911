"""Paired tests of two models on the same examples."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from pipelines.stats.bootstrap import Interval


def mcnemar(only_one: int, only_other: int) -> float:
    """The probability of a split at least as uneven among the documents that only one of two models
    labels correctly, if both were equally good (McNemar 1947, exact: two-sided binomial)."""
    from scipy.stats import binomtest

    total = only_one + only_other
    return float(binomtest(min(only_one, only_other), total).pvalue) if total else 1.0


def auc_difference(
    label: np.ndarray, one: np.ndarray, other: np.ndarray, confidence: float
) -> tuple[float, Interval]:
    """ROC AUC of scores `one` minus that of `other`, on the same documents (documents,), with its
    interval (DeLong et al. 1988): resampling documents would require ranking them again each time.

    Needs a document of each class.
    """
    positive = label > 0.5
    wins = [_wins(scores, positive) for scores in (one, other)]
    effect = float(wins[0][0].mean() - wins[1][0].mean())
    variance = sum(
        float(np.var(a - b, ddof=min(1, len(a) - 1))) / len(a) for a, b in zip(*wins, strict=True)
    )
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(variance)
    return effect, Interval(effect - half, effect + half)


def _wins(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the share of negatives that it scores above, for each negative the share of
    positives that score above it; ties count half."""
    high, low = scores[positive], scores[~positive]

    def below(values: np.ndarray, sorted_others: np.ndarray) -> np.ndarray:
        return (
            np.searchsorted(sorted_others, values, "left")
            + np.searchsorted(sorted_others, values, "right")
        ) / (2 * len(sorted_others))

    return below(high, np.sort(low)), 1 - below(low, np.sort(high))
