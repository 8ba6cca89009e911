"""The report's part on a classifier: predictions, slices, scores, and its most confident
mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.corpus.class_names import labels_of
from pipelines.declaration.slices import LABELS
from pipelines.report.baselines_part import baseline_rows
from pipelines.report.page import Pictures
from pipelines.report.plots.classifier import (
    class_confusion,
    confidence_histogram,
    reliability,
    score_histogram,
    threshold_curves,
)
from pipelines.report.plots.comparison import by_slice
from pipelines.stats.binary import per_class, reliability_bins, reliability_of, wilson
from pipelines.stats.calibration import Calibration
from pipelines.store.artifacts import Artifact, Inputs

MISTAKES, EXCERPT_CHARACTERS = 20, 300
MOST_IN_MATRIX, PAIRS = 50, 20


def classifier_section(
    metrics: Mapping[str, Any], table: pa.Table, inputs: Inputs, pictures: Pictures
) -> dict[str, Any]:
    """The page's values on a classifier; draws its plots."""
    names = labels_of(inputs["corpus"])
    slices = {name: _with_intervals(rows) for name, rows in metrics.get("slices", {}).items()}
    for name, rows in slices.items():
        pictures.add(
            f"by-{name.replace('_', '-')}",
            by_slice(rows, "accuracy", metrics["headline"]["accuracy"], LABELS[name], "accuracy"),
        )
    answers = _of_several if len(names) > 2 else _of_two
    return {
        "names": names,
        "several": len(names) > 2,
        "slices": slices,
        "slice_labels": LABELS,
        "calibration": metrics["calibration"],
        "mistakes": _mistakes(table, inputs["corpus"]),
        "compared": baseline_rows(metrics),
        **answers(metrics, table, names, pictures),
    }


def _of_two(
    metrics: Mapping[str, Any], table: pa.Table, names: list[str], pictures: Pictures
) -> dict[str, Any]:
    label, probability = (table[name].to_numpy() for name in ("label", "probability"))
    calibration = metrics["calibration"]
    pictures.add("scores", score_histogram(label, probability, names, calibration["threshold"]))
    bins = reliability_bins(label, probability)
    unscaled = (
        reliability_bins(label, Calibration().probability(table["logit"].to_numpy()))
        if calibration["temperature"] != 1
        else ()
    )
    pictures.add("reliability", reliability(bins, names[1], unscaled))
    both = 0 < label.mean() < 1
    if both:
        threshold = calibration["threshold"]
        pictures.add("thresholds", threshold_curves(label, probability, names[1], threshold))
    return {
        "thresholds": both,
        "confusion": confusion_cells(metrics["confusion"]),
        "per_class": per_class(metrics["confusion"]),
        "bins": bins,
        "scored": names[1],
        "observed": f"true {names[1]}",
    }


def _of_several(
    metrics: Mapping[str, Any], table: pa.Table, names: list[str], pictures: Pictures
) -> dict[str, Any]:
    """A matrix of up to MOST_IN_MATRIX classes; of more, only those that are confused most."""
    label, correct, confidence = (
        table[name].to_numpy() for name in ("label", "correct", "confidence")
    )
    cells, classes = metrics["confusion"], metrics["classes"]
    pictures.add("scores", confidence_histogram(correct, confidence))
    bins = reliability_bins(correct, confidence)
    logits = pc.list_flatten(table["logit"]).to_numpy().reshape(len(label), -1)
    unscaled = (
        reliability_of(Calibration(), logits, label)
        if metrics["calibration"]["temperature"] != 1
        else ()
    )
    observed = "share of correct predictions"
    pictures.add("reliability", reliability(bins, "the predicted label", unscaled, observed))
    matrix = len(names) <= MOST_IN_MATRIX
    if matrix:
        pictures.add("confusion", class_confusion(cells, names))
    worst = classes if matrix else sorted(classes, key=_f1)[:MOST_IN_MATRIX]
    return {
        "thresholds": False,
        "matrix": _matrix(cells, classes) if matrix else None,
        "confused": confused_pairs(cells, classes),
        "classes": worst,
        "bins": bins,
        "scored": "the predicted label",
        "observed": "correct",
    }


def _f1(row: Mapping[str, Any]) -> float:
    return row["f1"]["value"] if row["f1"] else 0.0


def _matrix(
    cells: Sequence[Sequence[int]], classes: Sequence[Mapping[str, Any]]
) -> list[list[dict[str, Any]]]:
    """As `confusion_cells`, in the order of the classes."""
    counts = {(true, predicted): documents for true, predicted, documents in cells}
    return [
        [
            {
                "count": counts.get((i, j), 0),
                "share": counts.get((i, j), 0) / max(row["documents"], 1),
                "right": i == j,
            }
            for j in range(len(classes))
        ]
        for i, row in enumerate(classes)
    ]


def confused_pairs(
    cells: Sequence[Sequence[int]], classes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The pairs of a true and another predicted class with the most documents."""
    wrong = sorted((-n, true, said) for true, said, n in cells if true != said)
    return [
        {
            "truth": classes[true]["label"],
            "said": classes[said]["label"],
            "documents": -n,
            "share": -n / classes[true]["documents"],
        }
        for n, true, said in wrong[:PAIRS]
    ]


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
    if "predicted" in table.column_names:
        wrong = wrong.drop_columns("logit")
    rows = wrong.sort_by([("nats", "descending"), ("id", "ascending")])
    chosen = rows.slice(0, MISTAKES).to_pylist()
    if not chosen:
        return []
    texts = _texts(corpus, [row["id"] for row in chosen])
    for row in chosen:
        row |= {"truth": int(row["label"]), "text": texts[row["id"]]}
        if "predicted" in row:
            row |= {"said": row["predicted"]}
        else:
            said_one = row["label"] < 0.5  # because it is wrong
            chance = row["probability"]
            row |= {"said": int(said_one), "confidence": chance if said_one else 1 - chance}
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
