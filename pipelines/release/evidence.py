"""Champion and challenger on the same held-out text: how much they differ, and how certainly."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.metrics.segment_figures import segment_sums, text_differences
from pipelines.stats.bootstrap import RESAMPLES, Interval
from pipelines.stats.paired_tests import Difference, classifier_differences, columns_of, mcnemar

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
    """From two predictions tables with the same documents in the same order: the intervals of
    `classifier_differences`, and McNemar's test of the labels."""
    old, new = (_columns(table, metric) for table in (champion, challenger))
    differences = classifier_differences(old, new, confidence)
    only_old, only_new = (
        int((one["correct"] & ~other["correct"]).sum()) for one, other in ((old, new), (new, old))
    )
    was, now, (low, high) = differences[metric]
    return Evidence(
        metric,
        was,
        now,
        low,
        high,
        confidence,
        DOCUMENTS,
        len(new["label"]),
        others=_others(metric, differences),
        mcnemar={
            "only_champion": only_old,
            "only_challenger": only_new,
            "p": mcnemar(only_new, only_old),
        },
    )


def _columns(table: pa.Table, metric: str) -> dict[str, np.ndarray]:
    """The macro F1 of two classes, which is not measured otherwise, needs their predictions too."""
    found = {name: table[name].to_numpy() for name in columns_of(table)}
    if metric == "macro_f1" and "predicted" not in found:
        found["predicted"] = np.where(found["correct"], found["label"], 1 - found["label"])
    return found


def _others(metric: str, differences: dict[str, Difference]) -> dict[str, dict[str, float]]:
    return {name: found.as_json() for name, found in differences.items() if name != metric}


# Language models


def text_evidence(
    champion: pa.Table, challenger: pa.Table, metric: str, confidence: float
) -> Evidence:
    """From two tables of the same segments (metrics/segments.py), by block bootstrap over the text.

    Nats per character decide if the metric is perplexity and the tokens differ.
    """
    old, new = segment_sums(champion), segment_sums(challenger)
    block, differences = text_differences(old, new, confidence)
    if metric not in differences:
        metric = "nats_per_character"
    was, now, (low, high) = differences[metric]
    return Evidence(
        metric,
        was,
        now,
        low,
        high,
        confidence,
        SEGMENTS_OF_TEXT,
        len(new),
        block,
        others=_others(metric, differences),
    )
