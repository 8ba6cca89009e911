"""The figure by which settings are chosen: on the validation split, never on the test split."""

from __future__ import annotations

import math
from typing import Any

from pipelines.store.artifacts import Store


def measured(metric: str) -> str:
    """What stands for a pipeline's metric on validation: the metric itself, or the log loss, since
    training measures neither ROC AUC nor macro F1."""
    return "log_loss" if metric in ("roc_auc", "macro_f1") else metric


def validation_figure(record: dict[str, Any], store: Store, metric: str) -> float:
    """The figure `measured(metric)` of the run's model in its best epoch, before calibration; of
    the mixed one if it is mixed with counting."""
    found = {entry["stage"]: store.open(entry["stage"], entry["key"]) for entry in record["stages"]}
    best = found["mix"].counts if "mix" in found else found["model"].counts["best"]
    counted = found["batches"].counts["validation"]
    loss: float = best["validation_loss"]
    if measured(metric) == "log_loss":
        return loss
    if metric in ("accuracy", "perplexity"):
        return float(best[f"validation_{metric}"])
    nats = loss * counted["predicted"] / counted["characters"]
    return nats / math.log(2) if metric == "bits_per_character" else nats
