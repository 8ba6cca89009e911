"""Figures by class of a metrics.json, of two classes or more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.stats.binary import per_class


def by_class(metrics: Mapping[str, Any], labels: Sequence[str]) -> dict[str, tuple[int, int]]:
    """{label: documents that are labelled correctly, and all}; empty for language models."""
    counts = metrics.get("confusion")
    if counts is None:
        return {}
    if "classes" in metrics:
        return {row["label"]: (row["correct"], row["documents"]) for row in metrics["classes"]}
    cells = (("true_negative", "false_positive"), ("true_positive", "false_negative"))
    return {
        label: (counts[right], counts[right] + counts[wrong])
        for label, (right, wrong) in zip(labels, cells, strict=True)
    }


def figures_of(metrics: Mapping[str, Any], metric: str) -> dict[str, float | None]:
    """The headline figures, with the macro F1 of two classes if it decides."""
    found = metrics["headline"]
    if metric != "macro_f1" or metric in found or "confusion" not in metrics:
        return found
    scores = [row["f1"] for row in per_class(metrics["confusion"])]
    known = [score for score in scores if score is not None]
    return found | {metric: sum(known) / len(known) if known else None}
