"""Paired tests of two models on the same examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipelines.stats.binary import roc_auc
from pipelines.stats.bootstrap import Interval, bootstrap, interval
from pipelines.stats.classes import macro_f1, macro_f1_difference

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("label", "probability", "predicted", "nats", "correct")


class Difference(NamedTuple):
    """A figure of two models on the same examples, and the interval of `new` minus `old`."""

    old: float
    new: float
    interval: Interval

    def as_json(self) -> dict[str, float]:
        return {"effect": self.new - self.old, **self.interval._asdict()}


def columns_of(predictions: pa.Table) -> list[str]:
    """Those of a predictions table that `classifier_differences` reads."""
    return [name for name in COLUMNS if name in predictions.column_names]


def classifier_differences(
    old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], confidence: float
) -> dict[str, Difference]:
    """{metric: the difference}, from the arrays of COLUMNS (documents,) of the same documents, of
    which `predicted` or `probability` may be missing.

    Accuracy and log loss by paired bootstrap of the documents, so the macro F1 of `predicted`; ROC
    AUC of `probability`, if two classes occur, by DeLong's interval.
    """
    columns = {"accuracy": "correct", "log_loss": "nats"}
    units = [new[key].astype(np.float64) - old[key] for key in columns.values()]
    sums = bootstrap(np.stack([*units, np.ones(len(new["label"]))], axis=1))
    found = {
        name: Difference(
            float(old[key].mean()),
            float(new[key].mean()),
            interval(sums[:, column] / sums[:, -1], confidence),
        )
        for column, (name, key) in enumerate(columns.items())
    }
    if "predicted" in new:
        label, was, now = new["label"], old["predicted"], new["predicted"]
        between = macro_f1_difference(label, was, now, confidence)
        found["macro_f1"] = Difference(macro_f1(label, was), macro_f1(label, now), between)
    if "probability" not in new:
        return found
    old_auc, new_auc = (roc_auc(one["label"], one["probability"]) for one in (old, new))
    if old_auc is not None and new_auc is not None:
        _, between = auc_difference(
            new["label"], new["probability"], old["probability"], confidence
        )
        found["roc_auc"] = Difference(old_auc, new_auc, between)
    return found


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
