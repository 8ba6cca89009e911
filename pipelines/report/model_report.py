"""The report of a trained model: `report.html`, one page that stands alone, and `plots/*.png`.

The page needs no network and no script. It holds nothing but what the artifacts' content and keys
decide, so that the same inputs give the same bytes in every home: who made them, when and at what
cost, a release adds (release/verdict_page.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.report import data_part, plots
from pipelines.report.classifier_part import classifier_section
from pipelines.report.language_part import language_section
from pipelines.report.page import REPORT, Pictures, headline, render, shown_figure
from pipelines.stats.binary import wilson
from pipelines.store.artifacts import Artifact, Inputs

GUESSES = "of the test text's tokens are the model's first guess"
WORDS_ONLY = (
    "lower is better, but compare word models alone: punctuation is not predicted, and "
    "{:.1%} of the words are the one unknown token"
)


def write_report(
    out: Path, metrics: dict[str, Any], inputs: Inputs, predictions: pa.Table | Path
) -> None:
    """Write `plots/*.png` and `report.html` into `out`.

    `metrics` is what metrics.json holds; `inputs` the artifacts model, batches, tokens and corpus;
    `predictions` a row a document (classifier) or a sequence (language model).
    """
    table = predictions if isinstance(predictions, pa.Table) else pq.read_table(predictions)
    pictures = Pictures(out / "plots")
    classifier = metrics["kind"] == "classifier"
    judged = (
        classifier_section(metrics, table, inputs, pictures)
        if classifier
        else language_section(metrics, pictures)
    )
    model = inputs["model"]
    page = render(
        "report.html",
        classifier=classifier,
        metrics=metrics,
        headline=headline_figures(metrics, inputs),
        sample=model.manifest.get("sample", False),
        model=model.key,
        parameters=model.counts.get("parameters"),
        training=_training(model, classifier, pictures),
        judged=judged,
        data=data_part.data_section(inputs, pictures),
        lineage=data_part.lineage(inputs),
        origins=data_part.origins(inputs),
        settings=data_part.settings(inputs),
        pictures=pictures.uris,
    )
    (out / REPORT).write_text(page, encoding="utf-8")


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


def _training(model: Artifact, classifier: bool, pictures: Pictures) -> dict[str, Any]:
    history = pq.read_table(model.path / "history.parquet")
    counts = model.counts
    unit = "nats a document" if classifier else "nats a token"
    pictures.add("training", plots.training_curves(history, counts.get("best_epoch"), unit))
    extra = "validation_accuracy" if classifier else "validation_perplexity"
    return {
        "rows": history.to_pylist(),
        "extra": extra,
        "unit": unit,
        "best_epoch": counts.get("best_epoch"),
    }
