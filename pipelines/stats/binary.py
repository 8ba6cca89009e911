"""Figures of a classifier: shares with their intervals, calibration, precision and recall."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Z_95 = 1.959964  # two-sided 95% of the normal distribution
RELIABILITY_BINS = 10


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927); (0, 1) of nothing."""
    if not total:
        return 0.0, 1.0
    share, z2 = hits / total, Z_95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z_95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def reliability_bins(label: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    """Equal steps of probability that hold documents: what was promised and what came true."""
    which = np.minimum((probability * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    bins = []
    for number in np.unique(which):
        inside = which == number
        documents, positives = int(inside.sum()), int((label[inside] > 0.5).sum())
        low, high = wilson(positives, documents)
        bins.append(
            {
                "from": number / RELIABILITY_BINS,
                "to": (number + 1) / RELIABILITY_BINS,
                "documents": documents,
                "predicted": float(probability[inside].mean()),
                "observed": positives / documents,
                "low": low,
                "high": high,
            }
        )
    return bins


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Mean gap between promised and observed share, each bin by its documents."""
    gaps = sum(row["documents"] * abs(row["predicted"] - row["observed"]) for row in bins)
    return gaps / max(sum(row["documents"] for row in bins), 1)


def per_class(counts: Mapping[str, int]) -> list[dict[str, float | None]]:
    """Precision, recall and F1 of class 0 and of class 1; None where nothing is divided."""
    rows = []
    for mine, missed, wrongly in (
        ("true_negative", "false_positive", "false_negative"),
        ("true_positive", "false_negative", "false_positive"),
    ):
        hits, said = counts[mine], counts[mine] + counts[wrongly]
        there = counts[mine] + counts[missed]
        rows.append(
            {
                "precision": hits / said if said else None,
                "recall": hits / there if there else None,
                "f1": 2 * hits / (said + there) if said + there else None,
            }
        )
    return rows


def chance_figures(confusion: Mapping[str, int]) -> dict[str, float]:
    """Accuracy, log loss and ROC AUC of giving every document the same answer: the share of
    class 1, and so the commoner class."""
    positives = confusion["true_positive"] + confusion["false_negative"]
    share = positives / max(sum(confusion.values()), 1)
    surprise = sum(-part * math.log(part) for part in (share, 1 - share) if part)
    return {"accuracy": max(share, 1 - share), "log_loss": surprise, "roc_auc": 0.5}


def roc_auc(label: np.ndarray, probability: np.ndarray) -> float | None:
    """Chance that a positive is ranked above a negative, ties counting half; None with one class.

    By the rank sum (Mann and Whitney 1947).
    """
    _, where, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]  # ties share their mean rank
    positives = int((label > 0.5).sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return None
    above = ranks[label > 0.5].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))
