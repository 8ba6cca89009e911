"""The report's part on a classifier: predictions, slices, scores, and its most confident
mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.declaration.slices import LABELS
from pipelines.report.baselines_part import baseline_rows
from pipelines.report.page import Pictures
from pipelines.report.plots.classifier import reliability, score_histogram
from pipelines.report.plots.comparison import by_slice
from pipelines.stats.binary import per_class, reliability_bins, wilson
from pipelines.stats.calibration import Calibration
from pipelines.store.artifacts import Artifact, Inputs

MISTAKES, EXCERPT_CHARACTERS = 20, 300


def classifier_section(
    metrics: Mapping[str, Any], table: pa.Table, inputs: Inputs, pictures: Pictures
) -> dict[str, Any]:
    """The page's values on a classifier; draws its plots."""
    names = inputs["corpus"].manifest["config"].get("corpus.labels", ["negative", "positive"])
    label, probability = (table[name].to_numpy() for name in ("label", "probability"))
    slices = {name: _with_intervals(rows) for name, rows in metrics.get("slices", {}).items()}
    for name, rows in slices.items():
        pictures.add(
            f"by-{name.replace('_', '-')}",
            by_slice(rows, "accuracy", metrics["headline"]["accuracy"], LABELS[name], "accuracy"),
        )
    calibration = metrics["calibration"]
    pictures.add("scores", score_histogram(label, probability, names, calibration["threshold"]))
    bins = reliability_bins(label, probability)
    unscaled = (
        reliability_bins(label, Calibration().probability(table["logit"].to_numpy()))
        if calibration["temperature"] != 1
        else ()
    )
    pictures.add("reliability", reliability(bins, names[1], unscaled))
    return {
        "names": names,
        "confusion": confusion_cells(metrics["confusion"]),
        "per_class": per_class(metrics["confusion"]),
        "slices": slices,
        "slice_labels": LABELS,
        "bins": bins,
        "calibration": calibration,
        "mistakes": _mistakes(table, inputs["corpus"]),
        "compared": baseline_rows(metrics),
    }


def _with_intervals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    intervals = [wilson(row["correct"], row["documents"]) for row in rows]
    return [
        row | {"low": low, "high": high} for row, (low, high) in zip(rows, intervals, strict=True)
    ]


def confusion_cells(counts: Mapping[str, int]) -> list[list[dict[str, Any]]]:
    """Rows are the true class, class 1 first; columns the prediction; shares are of the row."""
    cells = [
        [counts["true_positive"], counts["false_negative"]],
        [counts["false_positive"], counts["true_negative"]],
    ]
    return [
        [
            {"count": cell, "share": cell / max(sum(row), 1), "right": i == j}
            for j, cell in enumerate(row)
        ]
        for i, row in enumerate(cells)
    ]


def _mistakes(table: pa.Table, corpus: Artifact) -> list[dict[str, Any]]:
    """The most confident wrong predictions, with their texts."""
    wrong = table.filter(pc.invert(table["correct"]))
    rows = wrong.sort_by([("nats", "descending"), ("id", "ascending")])
    chosen = rows.slice(0, MISTAKES).to_pylist()
    if not chosen:
        return []
    texts = _texts(corpus, [row["id"] for row in chosen])
    for row in chosen:
        said_one = row["label"] < 0.5  # because it is wrong
        row |= {
            "truth": int(row["label"] > 0.5),
            "said": int(said_one),
            "text": texts[row["id"]],
            "confidence": row["probability"] if said_one else 1 - row["probability"],
        }
    return chosen


def _texts(corpus: Artifact, ids: list[str]) -> dict[str, str]:
    """Excerpts of the test documents with these ids, read shard by shard."""
    found = dict.fromkeys(ids, "(not in the corpus)")
    for shard in corpus.files("documents/test-"):
        rows = pq.read_table(shard, columns=["id", "text"], filters=[("id", "in", ids)])
        found |= {row["id"]: excerpt(row["text"]) for row in rows.to_pylist()}
    return found


def excerpt(text: str, characters: int = EXCERPT_CHARACTERS) -> str:
    """The text on one line; of a longer one the beginning and the end, where the judgement often
    is."""
    flat = " ".join(text.split())
    if len(flat) <= characters:
        return flat
    half = (characters - 3) // 2
    opening, end = flat[:half], flat[-half:]
    if " " in opening and " " in end:  # whole words, if there are any
        opening, end = opening.rsplit(" ", 1)[0], end.split(" ", 1)[1]
    return f"{opening} … {end}"
