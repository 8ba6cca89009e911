"""The headline figures of a model, as shown on a page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipelines.report.page import headline, shown_figure
from pipelines.stats.binary import wilson
from pipelines.store.artifacts import Inputs

GUESSES = "of the test text's tokens are ranked first by the model"
GUESSING = "nats per document: 0 is perfect, {:.3f} is random guessing"
WORDS_ONLY = (
    "lower is better, but compare only word models: punctuation is not predicted, and "
    "{:.1%} of the words are the unknown token"
)


def headline_figures(metrics: Mapping[str, Any], inputs: Inputs) -> list[dict[str, str]]:
    """[{name, value, meaning}] of the figures, as shown on a page."""
    figures, sums = [], metrics["sums"]
    words = inputs["tokens"].manifest["config"].get("tokens.kind") == "word"
    for name, value in metrics["headline"].items():
        title, _, meaning = headline(name)
        if name == "accuracy" and metrics["kind"] == "classifier":
            low, high = wilson(sums["correct"], sums["documents"])
            meaning += f" (95% interval {low:.1%} to {high:.1%})"
        elif name == "accuracy":
            meaning = GUESSES
        elif name == "log_loss" and "labels" in metrics:
            meaning = GUESSING.format(math.log(len(metrics["labels"])))
        elif name == "bits_per_character" and words:
            meaning = WORDS_ONLY.format(sums["unknown"] / sums["tokens"])
        meaning += _interval(metrics.get("intervals", {}).get(name), name)
        if value is None:
            meaning = "undefined: the test split contains only one class"
        figures.append({"name": title, "meaning": meaning, "value": shown_figure(value, name)})
    return figures


def _interval(found: Mapping[str, float] | None, name: str) -> str:
    """In words, for the figures that have one; metrics of earlier versions have none."""
    if found is None:
        return ""
    low, high = (shown_figure(found[end], name) for end in ("low", "high"))
    return f" (95% interval {low} to {high})"
