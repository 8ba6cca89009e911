"""Figures of a classifier: shares with intervals, calibration, precision and recall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.stats.calibration import Calibration

RELIABILITY_BINS = 10


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927); (0, 1) if there is nothing."""
    from scipy.stats import binomtest

    if not total:
        return 0.0, 1.0
    low, high = binomtest(hits, total).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def reliability_bins(label: np.ndarray, probability: np.ndarray) -> list[dict[str, Any]]:
    """Equal-width bins of probability that contain documents: mean probability and observed share.

    scikit-learn's calibration_curve does not count the documents in a bin.
    """
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


def reliability_of(
    calibration: Calibration, logit: np.ndarray, label: np.ndarray
) -> list[dict[str, Any]]:
    """The bins of the probability of class 1; of more than two classes of the predicted one, and
    the share of correct predictions."""
    probability = calibration.probability(logit)
    if logit.ndim == 1:
        return reliability_bins(label, probability)
    return reliability_bins(calibration.correct(logit, label), probability.max(axis=1))


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Mean gap between predicted and observed share, each bin weighted by its documents."""
    gaps = sum(row["documents"] * abs(row["predicted"] - row["observed"]) for row in bins)
    return gaps / max(sum(row["documents"] for row in bins), 1)


def per_class(counts: Mapping[str, int]) -> list[dict[str, float | None]]:
    """Precision, recall and F1 of class 0 and of class 1; None if undefined."""
    from sklearn.metrics import precision_recall_fscore_support

    cells = ("true_positive", "false_negative", "false_positive", "true_negative")
    figures = precision_recall_fscore_support(
        [1, 1, 0, 0],
        [1, 0, 1, 0],
        labels=[0, 1],
        sample_weight=[counts[cell] for cell in cells],
        zero_division=np.nan,
    )
    names = ("precision", "recall", "f1")
    return [
        {
            name: None if math.isnan(values[label]) else float(values[label])
            for name, values in zip(names, figures, strict=False)
        }
        for label in (0, 1)
    ]


def chance_figures(documents: Sequence[int]) -> dict[str, float]:
    """Accuracy, log loss, macro F1 and ROC AUC of predicting the shares of the classes, of which
    there are so many `documents`, and so the largest class, for every document."""
    shares = [number / max(sum(documents), 1) for number in documents if number]
    largest = max(shares, default=0.0)
    return {
        "accuracy": largest,
        "log_loss": sum(-share * math.log(share) for share in shares),
        "macro_f1": 2 * largest / (1 + largest) / max(len(shares), 1),
        **({"roc_auc": 0.5} if len(documents) == 2 else {}),
    }


def roc_auc(label: np.ndarray, probability: np.ndarray) -> float | None:
    """The probability that a positive is ranked above a negative, ties counting half; None with
    only one class."""
    from sklearn.metrics import roc_auc_score

    positive = label > 0.5
    if positive.all() or not positive.any():
        return None
    return float(roc_auc_score(positive, probability))
