"""Champion and challenger on the same held-out text: how much they differ, and how certainly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.metrics.segment_figures import FIGURES, influence, segment_sums
from pipelines.stats.bootstrap import (
    RESAMPLES,
    Interval,
    block_bootstrap,
    block_length,
    bootstrap,
    interval,
)
from pipelines.stats.paired_tests import auc_difference, mcnemar

DOCUMENTS, SEGMENTS_OF_TEXT = "test documents", "segments of the test text"


@dataclass(frozen=True)
class Evidence:
    """`low` to `high`: the interval of challenger minus champion, in the metric's unit.

    `units` were resampled, `block` of them at a time. `mcnemar` has the documents that only one of
    the two labels correctly, and the probability of so uneven a split. `others` has the same
    difference in other metrics.
    """

    metric: str
    champion: float
    challenger: float
    low: float
    high: float
    confidence: float
    units: str
    count: int
    block: int = 1
    rescored: bool = False  # the champion scored again on the challenger's test text,
    left_out: int = 0  # without the units that it was trained on
    mcnemar: dict[str, float] | None = None
    others: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def effect(self) -> float:
        return self.challenger - self.champion

    @property
    def gain(self) -> Interval:
        """The interval with its sign changed if lower is better: above 0 is an improvement."""
        if self.metric in LOWER_IS_BETTER:
            return Interval(-self.high, -self.low)
        return Interval(self.low, self.high)

    def as_json(self) -> dict[str, Any]:
        return {"effect": self.effect, **asdict(self), "resamples": RESAMPLES}


# Classifiers


def classifier_evidence(
    champion: pa.Table, challenger: pa.Table, metric: str, confidence: float
) -> Evidence:
    """From two predictions tables with the same documents in the same order.

    Accuracy and log loss by paired bootstrap of the documents, ROC AUC by DeLong's interval, and
    McNemar's test of the labels.
    """
    old, new = (
        {name: table[name].to_numpy() for name in ("label", "probability", "nats", "correct")}
        for table in (champion, challenger)
    )
    count = len(new["label"])
    units = np.stack(
        [new["correct"] * 1.0 - old["correct"], new["nats"] - old["nats"], np.ones(count)], axis=1
    )
    sums = bootstrap(units)
    intervals = {
        name: interval(sums[:, column] / sums[:, 2], confidence)
        for column, name in enumerate(("accuracy", "log_loss"))
    }
    figures = {
        "accuracy": (old["correct"].mean(), new["correct"].mean()),
        "log_loss": (old["nats"].mean(), new["nats"].mean()),
    }
    old_auc, new_auc = _auc(old), _auc(new)
    if old_auc is not None and new_auc is not None:
        _, intervals["roc_auc"] = auc_difference(
            new["label"], new["probability"], old["probability"], confidence
        )
        figures["roc_auc"] = (old_auc, new_auc)
    only_old, only_new = (
        int((one["correct"] & ~other["correct"]).sum()) for one, other in ((old, new), (new, old))
    )
    (was, now), (low, high) = figures[metric], intervals[metric]
    return Evidence(
        metric,
        float(was),
        float(now),
        low,
        high,
        confidence,
        DOCUMENTS,
        count,
        others=_others(metric, figures, intervals),
        mcnemar={
            "only_champion": only_old,
            "only_challenger": only_new,
            "p": mcnemar(only_new, only_old),
        },
    )


def _auc(table: dict[str, np.ndarray]) -> float | None:
    from pipelines.stats.binary import roc_auc

    return roc_auc(table["label"], table["probability"])


def _others(
    metric: str, figures: dict[str, tuple[float, float]], intervals: dict[str, Interval]
) -> dict[str, dict[str, float]]:
    return {
        name: {"effect": float(new - old), "low": intervals[name].low, "high": intervals[name].high}
        for name, (old, new) in figures.items()
        if name != metric
    }


# Language models


def text_evidence(
    champion: pa.Table, challenger: pa.Table, metric: str, confidence: float
) -> Evidence:
    """From two tables of the same segments (metrics/segments.py), by block bootstrap over the text.

    Perplexity compares only models with the same tokens; if they differ, nats per character decide.
    """
    old, new = segment_sums(champion), segment_sums(challenger)
    comparable = [
        name for name in FIGURES if name != "perplexity" or (old[:, 2] == new[:, 2]).all()
    ]
    if metric not in comparable:
        metric = "nats_per_character"
    units = np.concatenate([old, new], axis=1)
    block = block_length(influence(old) - influence(new))
    sums, total = block_bootstrap(units, block), units.sum(axis=0)
    figures, intervals = {}, {}
    for name in comparable:
        figure = FIGURES[name]
        figures[name] = float(figure(total[:3])), float(figure(total[3:]))
        intervals[name] = interval(figure(sums[:, 3:]) - figure(sums[:, :3]), confidence)
    (was, now), (low, high) = figures[metric], intervals[metric]
    return Evidence(
        metric,
        was,
        now,
        low,
        high,
        confidence,
        SEGMENTS_OF_TEXT,
        len(units),
        block,
        others=_others(metric, figures, intervals),
    )
