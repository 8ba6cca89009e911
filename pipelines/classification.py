"""Figures of a classifier on held-out documents, as sums with their counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.scoring import Scored
from pipelines.slices import EDGES, slice_names


def predictions_table(scored: Iterable[Scored], unknown_id: int) -> pa.Table:
    """A row a document, sorted by id: id, label, probability (of class 1), correct, nats, length
    (tokens) and unknown_rate (share of unknown tokens)."""
    columns: dict[str, list[Any]] = {name: [] for name in (
        "id", "label", "probability", "correct", "nats", "length", "unknown_rate")}
    for one in scored:
        batch = one.batch
        real = np.arange(batch.tokens.shape[1]) < batch.length[:, None]
        unknown = ((batch.tokens == unknown_id) & real).sum(axis=1)
        columns["id"] += batch.ids
        columns["label"].append(batch.outcome)
        columns["probability"].append(one.probability)
        columns["correct"].append(one.correct)
        columns["nats"].append(one.nats)
        columns["length"].append(batch.length)
        columns["unknown_rate"].append(unknown / batch.length)
    return pa.table({name: values if name == "id" else np.concatenate(values)
                     for name, values in columns.items()}).sort_by("id")


def classifier_metrics(predictions: pa.Table, slices: tuple[str, ...]) -> dict[str, Any]:
    """Figures of a predictions table, over all and by slice (`length`, `unknown_rate`)."""
    label, probability, nats = (predictions[name].to_numpy() for name in
                                ("label", "probability", "nats"))
    correct = (probability > 0.5) == (label > 0.5)
    total = _figures(correct, nats)
    return {
        "kind": "classifier", "split": "test",
        "headline": {"accuracy": total["accuracy"], "log_loss": total["log_loss"],
                     "roc_auc": roc_auc(label, probability)},
        "sums": {key: total[key] for key in ("documents", "correct", "nats")},
        "confusion": {
            "true_positive": int((correct & (label > 0.5)).sum()),
            "false_positive": int((~correct & (label < 0.5)).sum()),
            "true_negative": int((correct & (label < 0.5)).sum()),
            "false_negative": int((~correct & (label > 0.5)).sum())},
        "slices": {name: _sliced(predictions[name].to_numpy(), name, correct, nats)
                   for name in slices},
    }


def _figures(correct: np.ndarray, nats: np.ndarray) -> dict[str, Any]:
    documents, hits, total = len(correct), int(correct.sum()), float(nats.sum())
    return {"documents": documents, "correct": hits, "nats": total,
            "accuracy": hits / documents, "log_loss": total / documents}


def _sliced(values: np.ndarray, name: str, correct: np.ndarray,
            nats: np.ndarray) -> list[dict[str, Any]]:
    which = np.searchsorted(np.asarray(EDGES[name]), values, side="left")
    return [{"slice": called} | _figures(correct[which == i], nats[which == i])
            for i, called in enumerate(slice_names(name)) if (which == i).any()]


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
