"""The report: `report.html`, one self-contained page on a model, and `plots/*.png`.

Drawn at the end of a run from the stages' artifacts. No stage reads it, so a changed template or
colour does not retrain, rescore or release anything. Needs no network and no scripts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.baselines import baseline_line, mix_line
from pipelines.report import data_part
from pipelines.report.classifier_part import classifier_section
from pipelines.report.headline import headline_figures
from pipelines.report.language_part import language_section
from pipelines.report.page import REPORT, Pictures, render, stacked
from pipelines.report.plots.training import training_curves
from pipelines.report.verdict_part import verdict_section
from pipelines.store.artifacts import Artifact, Inputs, Workspace


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Draw the page; with the verdict if there is a release. Returns how much was drawn."""
    metrics, release = inputs["metrics"], inputs.get("release")
    verdict = _read(release, "release.json") if release else None
    pictures = write_report(
        work.out,
        _read(metrics, "metrics.json"),
        inputs,
        pq.read_table(metrics.path / "predictions.parquet"),
        verdict if verdict and "before" in verdict else None,  # earlier versions stored too little
    )
    return {"plots": len(pictures.uris)}


def _read(artifact: Artifact, name: str) -> dict[str, Any]:
    return json.loads((artifact.path / name).read_bytes())


def write_report(
    out: Path,
    metrics: dict[str, Any],
    inputs: Inputs,
    predictions: pa.Table,
    release: Mapping[str, Any] | None = None,
) -> Pictures:
    """Write `plots/*.png` and `report.html` into `out`.

    `metrics` and `release` are the contents of metrics.json and release.json; `predictions` has one
    row per document (classifier) or sequence (language model).
    """
    pictures = Pictures(out / "plots")
    classifier = metrics["kind"] == "classifier"
    judged = (
        classifier_section(metrics, predictions, inputs, pictures)
        if classifier
        else language_section(metrics, pictures)
    )
    origin = inputs["model"].manifest
    page = render(
        "report.html",
        classifier=classifier,
        metrics=metrics,
        headline=headline_figures(metrics, inputs),
        baseline=baseline_line(metrics),
        mix=mix_line(metrics),
        name=release["name"] if release else inputs["metrics"].manifest["pipeline"],
        sample=origin["sample"] or bool(release and release["sample"]),
        parameters=inputs["model"].counts.get("parameters"),
        training=_training(inputs["model"], classifier, pictures),
        judged=judged,
        release=release,
        verdict=release and verdict_section(release, metrics),
        data=data_part.data_section(inputs, pictures),
        drawing=data_part.drawing(inputs),
        cost=data_part.cost(inputs),
        lineage=data_part.lineage(inputs),
        origins=data_part.origins(inputs),
        settings=data_part.settings(inputs),
        pictures=pictures.uris,
    )
    (out / REPORT).write_text(stacked(page), encoding="utf-8")
    return pictures


def _training(model: Artifact, classifier: bool, pictures: Pictures) -> dict[str, Any]:
    history = pq.read_table(model.path / "history.parquet")
    counts = model.counts
    unit = "nats per document" if classifier else "nats per token"
    pictures.add("training", training_curves(history, counts.get("best_epoch"), unit))
    extra = "validation_accuracy" if classifier else "validation_perplexity"
    return {
        "rows": history.to_pylist(),
        "extra": extra,
        "unit": unit,
        "best_epoch": counts.get("best_epoch"),
    }
