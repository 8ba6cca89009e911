"""The headline figures of a model, as a page says them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.report.page import headline, shown_figure
from pipelines.stats.binary import wilson
from pipelines.store.artifacts import Inputs

GUESSES = "of the test text's tokens are the model's first guess"
WORDS_ONLY = (
    "lower is better, but compare word models alone: punctuation is not predicted, and "
    "{:.1%} of the words are the one unknown token"
)


def headline_figures(metrics: Mapping[str, Any], inputs: Inputs) -> list[dict[str, str]]:
    """[{name, value, meaning}] of the figures, as the page says them."""
    figures, sums = [], metrics["sums"]
    words = inputs["tokens"].manifest["config"].get("tokens.kind") == "word"
    for name, value in metrics["headline"].items():
        title, _, meaning = headline(name)
        if name == "accuracy" and metrics["kind"] == "classifier":
            low, high = wilson(sums["correct"], sums["documents"])
            meaning += f" (95% interval {low:.1%} to {high:.1%})"
        elif name == "accuracy":
            meaning = GUESSES
        elif name == "bits_per_character" and words:
            meaning = WORDS_ONLY.format(sums["unknown"] / sums["tokens"])
        meaning += _interval(metrics.get("intervals", {}).get(name), name)
        if value is None:
            meaning = "cannot be told: the test split holds one class only"
        figures.append({"name": title, "meaning": meaning, "value": shown_figure(value, name)})
    return figures


def _interval(found: Mapping[str, float] | None, name: str) -> str:
    """In words, of the figures that have one; metrics of earlier versions have none."""
    if found is None:
        return ""
    low, high = (shown_figure(found[end], name) for end in ("low", "high"))
    return f" (95% interval {low} to {high})"
