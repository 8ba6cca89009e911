"""Figures of classifiers against sums done by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from pipelines.metrics.classifier import classifier_metrics
from pipelines.stats.binary import roc_auc

# label, probability, tokens, unknown share
ROWS = [
    (1, 0.9, 50, 0.0),
    (1, 0.4, 100, 0.005),
    (0, 0.2, 101, 0.02),
    (0, 0.7, 300, 0.5),
    (0, 0.1, 401, 0.0),
    (1, 0.8, 400, 0.03),
    (1, 0.6, 200, 0.01),
]


def predictions(rows: list[tuple[int, float, int, float]]) -> pa.Table:
    label, probability, length, unknown = (np.array(column) for column in zip(*rows, strict=True))
    given = np.where(label == 1, probability, 1 - probability)
    return pa.table(
        {
            "id": [str(i) for i in range(len(rows))],
            "label": label.astype(np.float32),
            "probability": probability,
            "nats": -np.log(given),
            "correct": given > 0.5,
            "length": length.astype(np.int32),
            "unknown_rate": unknown,
        }
    )


def test_figures_by_hand() -> None:
    metrics = classifier_metrics(predictions(ROWS), ())
    nats = -sum(map(math.log, (0.9, 0.4, 0.8, 0.3, 0.9, 0.8, 0.6)))
    assert metrics["sums"] == {"documents": 7, "correct": 5, "nats": pytest.approx(nats)}
    assert metrics["headline"]["accuracy"] == pytest.approx(5 / 7)
    assert metrics["headline"]["log_loss"] == pytest.approx(nats / 7)
    assert metrics["headline"]["roc_auc"] == pytest.approx(10 / 12)  # 0.4 and 0.6 lose to 0.7
    assert metrics["confusion"] == {
        "true_positive": 3,
        "false_negative": 1,
        "false_positive": 1,
        "true_negative": 2,
    }


def test_slices_sum_to_the_whole() -> None:
    metrics = classifier_metrics(predictions(ROWS), ("length", "unknown_rate"))
    for rows in metrics["slices"].values():
        for key in ("documents", "correct", "nats"):
            assert sum(row[key] for row in rows) == pytest.approx(metrics["sums"][key])
        for row in rows:
            assert row["accuracy"] == row["correct"] / row["documents"]
    counts = {
        name: {row["slice"]: row["documents"] for row in rows}
        for name, rows in metrics["slices"].items()
    }
    assert counts["length"] == {
        "up to 50": 1,
        "up to 100": 1,
        "up to 200": 2,
        "up to 400": 2,
        "over 400": 1,
    }
    assert counts["unknown_rate"] == {"none": 2, "up to 1%": 2, "up to 3%": 2, "over 3%": 1}


@pytest.mark.parametrize("seed", range(5))
def test_roc_auc_is_the_share_of_pairs_in_order(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, 60).astype(np.float32)
    probability = random.integers(0, 8, 60) / 7  # many ties
    pairs = [
        (high > low) + (high == low) / 2
        for high in probability[label == 1]
        for low in probability[label == 0]
    ]
    assert roc_auc(label, probability) == pytest.approx(sum(pairs) / len(pairs))


def test_roc_auc_needs_both_classes() -> None:
    assert roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])) is None
    assert roc_auc(np.zeros(3), np.array([0.1, 0.2, 0.3])) is None
