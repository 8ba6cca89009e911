"""The report of a trained model: `report.html`, one page that stands alone, and `plots/*.png`.

The page needs no network and no script. It holds nothing but what the artifacts and the metrics
say, so that the same inputs give the same bytes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import plots
from pipelines.page import render
from pipelines.stages import NAMES, Inputs
from pipelines.statistics import calibration_error, per_class, reliability_bins, wilson
from pipelines.store import Artifact

SPLITS = ("train", "validation", "test")
MISTAKES, EXCERPT_CHARACTERS = 20, 300
FEW_TOKENS = 500  # a mean over fewer moves by a tenth of a nat from text to text
FEWEST_FOR_HISTOGRAM = 20  # documents: fewer have no distribution worth drawing
# What a manifest lacks when no run made it.
UNKNOWN_ORIGIN = {"pipeline": None, "profile": None, "run": None, "sample": False,
                  "git_commit": None}
# How each headline figure is called and shown, and what it means.
HEADLINES = {
    "accuracy": ("Accuracy", "{:.1%}", "of the test documents are labelled right"),
    "log_loss": ("Log loss", "{:.4f}",
                 "nats of surprise a document: 0 is sure and right, 0.693 a coin's toss"),
    "roc_auc": ("ROC AUC", "{:.4f}",
                "the chance that a positive document scores above a negative one"),
    "bits_per_character": ("Bits per character", "{:.3f}", "to write down the test text: lower is "
                           "better, and comparable whatever the tokens"),
    "nats_per_character": ("Nats per character", "{:.3f}", "the same in nats: 1 is 1.443 bits"),
    "perplexity": ("Perplexity", "{:.2f}",
                   "as unsure of the next token as among so many equally likely ones"),
}


def write_report(out: Path, metrics: dict[str, Any], inputs: Inputs,
                 predictions: pa.Table | Path) -> None:
    """Write `plots/*.png` and `report.html` into `out`.

    `metrics` is what metrics.json holds; `inputs` the artifacts model, batches, tokens and corpus;
    `predictions` a row a document (classifier) or a sequence (language model).
    """
    table = predictions if isinstance(predictions, pa.Table) else pq.read_table(predictions)
    pictures = _Pictures(out / "plots")
    classifier = metrics["kind"] == "classifier"
    judged = (_classifier(metrics, table, inputs, pictures) if classifier
              else _language_model(metrics, pictures))
    model = inputs["model"]
    page = render(
        "report.html",
        classifier=classifier, metrics=metrics, headline=_headline(metrics),
        made=UNKNOWN_ORIGIN | model.manifest, parameters=model.counts.get("parameters"),
        training=_training(model, classifier, pictures), judged=judged,
        data=_data(inputs, pictures), lineage=_lineage(inputs), origins=_origins(inputs),
        settings=_settings(inputs), pictures=pictures.uris)
    (out / "report.html").write_text(page, encoding="utf-8")


class _Pictures:
    """Writes each plot to a file and keeps it as a data: URI for the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uris: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, png: bytes) -> None:
        (self.folder / f"{name}.png").write_bytes(png)
        self.uris[name] = f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _headline(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    figures = []
    for name, value in metrics["headline"].items():
        title, shown, meaning = HEADLINES.get(name, (name.replace("_", " "), "{:.4g}", ""))
        if name == "accuracy":
            low, high = wilson(metrics["sums"]["correct"], metrics["sums"]["documents"])
            meaning += f" (95% interval {low:.1%} to {high:.1%})"
        if value is None:
            meaning = "cannot be told: the test split holds one class only"
        figures.append({"name": title, "meaning": meaning,
                        "value": "—" if value is None else shown.format(value)})
    return figures


# Training


def _training(model: Artifact, classifier: bool, pictures: _Pictures) -> dict[str, Any]:
    history = pq.read_table(model.path / "history.parquet")
    counts = model.counts
    unit = "nats a document" if classifier else "nats a token"
    pictures.add("training", plots.training_curves(history, counts.get("best_epoch"), unit))
    rows = history.to_pylist()
    for row, seconds in zip(rows, counts.get("epoch_seconds", ()), strict=False):
        row["seconds"] = seconds
    extra = "validation_accuracy" if classifier else "validation_perplexity"
    return {"rows": rows, "extra": extra, "unit": unit, "best_epoch": counts.get("best_epoch"),
            "seconds": sum(counts.get("epoch_seconds", ())), "resumed": counts.get("resumed")}


# Classifiers


def _classifier(metrics: Mapping[str, Any], table: pa.Table, inputs: Inputs,
                pictures: _Pictures) -> dict[str, Any]:
    names = inputs["corpus"].manifest["config"].get("corpus.labels", ["negative", "positive"])
    label, probability = (table[name].to_numpy() for name in ("label", "probability"))
    slices = {name: _with_intervals(rows) for name, rows in metrics.get("slices", {}).items()}
    for name, rows in slices.items():
        pictures.add(f"accuracy-by-{name.replace('_', '-')}", plots.accuracy_by_slice(
            rows, metrics["headline"]["accuracy"], SLICES.get(name, name)))
    pictures.add("scores", plots.score_histogram(label, probability, names))
    bins = reliability_bins(label, probability)
    pictures.add("reliability", plots.reliability(bins, names[1]))
    return {"names": names, "confusion": _confusion(metrics["confusion"]),
            "per_class": per_class(metrics["confusion"]), "slices": slices, "slice_labels": SLICES,
            "bins": bins, "calibration_error": calibration_error(bins),
            "mistakes": _mistakes(table, inputs["corpus"].path)}


SLICES = {"length": "tokens read", "unknown_rate": "share of unknown tokens"}


def _with_intervals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    intervals = [wilson(row["correct"], row["documents"]) for row in rows]
    return [row | {"low": low, "high": high}
            for row, (low, high) in zip(rows, intervals, strict=True)]


def _confusion(counts: Mapping[str, int]) -> list[list[dict[str, Any]]]:
    """Rows are the truth, class 1 first; columns what the model says; shares are of the row."""
    cells = [[counts["true_positive"], counts["false_negative"]],
             [counts["false_positive"], counts["true_negative"]]]
    return [[{"count": cell, "share": cell / max(sum(row), 1), "right": i == j}
             for j, cell in enumerate(row)] for i, row in enumerate(cells)]


def _mistakes(table: pa.Table, corpus: Path) -> list[dict[str, Any]]:
    """The wrong answers given with most confidence, and what the documents say."""
    wrong = pc.not_equal(pc.greater(table["probability"], 0.5), pc.greater(table["label"], 0.5))
    rows = table.filter(wrong).sort_by([("nats", "descending"), ("id", "ascending")])
    chosen = rows.slice(0, MISTAKES).to_pylist()
    if not chosen:
        return []
    texts = _texts(corpus, [row["id"] for row in chosen])
    for row in chosen:
        said_one = row["probability"] > 0.5
        row |= {"truth": int(row["label"] > 0.5), "said": int(said_one), "text": texts[row["id"]],
                "confidence": row["probability"] if said_one else 1 - row["probability"]}
    return chosen


def _texts(corpus: Path, ids: list[str]) -> dict[str, str]:
    """Excerpts of the test documents with these ids, read shard by shard."""
    found = dict.fromkeys(ids, "(not in the corpus)")
    for shard in sorted((corpus / "documents").glob("test-*.parquet")):
        rows = pq.read_table(shard, columns=["id", "text"], filters=[("id", "in", ids)])
        found |= {row["id"]: excerpt(row["text"]) for row in rows.to_pylist()}
    return found


def excerpt(text: str, characters: int = EXCERPT_CHARACTERS) -> str:
    """The text on one line; of a longer one the opening and the end, where verdicts stand."""
    flat = " ".join(text.split())
    if len(flat) <= characters:
        return flat
    half = (characters - 3) // 2
    opening, end = flat[:half], flat[-half:]
    if " " in opening and " " in end:  # whole words, where there are any
        opening, end = opening.rsplit(" ", 1)[0], end.split(" ", 1)[1]
    return f"{opening} … {end}"


# Language models


def _language_model(metrics: Mapping[str, Any], pictures: _Pictures) -> dict[str, Any]:
    rows = list(_by_position(metrics["by_position"]))
    mean = metrics["sums"]["nats"] / metrics["sums"]["tokens"]
    pictures.add("loss-by-context", plots.loss_by_position(rows, mean))
    return {"by_position": rows, "few_tokens": FEW_TOKENS, "samples": metrics.get("samples", [])}


def _by_position(bins: Mapping[str, list[float]]) -> Iterator[dict[str, Any]]:
    edges = bins["edges"]
    names = [_between(low, high) for low, high in
             zip([0, *edges], [*edges, None], strict=True)]
    for name, tokens, nats in zip(names, bins["tokens"], bins["nats"], strict=True):
        if tokens:
            yield {"context": name, "tokens": int(tokens), "few": tokens < FEW_TOKENS,
                   "nats_per_token": nats / tokens,
                   "bits_per_token": nats / tokens / math.log(2)}


def _between(low: int, high: int | None) -> str:
    if high is None:
        return f"{low:,} and more"
    return f"{low:,}" if high == low + 1 else f"{low:,} to {high - 1:,}"


# Data


def _data(inputs: Inputs, pictures: _Pictures) -> dict[str, Any]:
    corpus, tokens, batches = (inputs[name].counts for name in ("corpus", "tokens", "batches"))
    lengths = _lengths(inputs["tokens"].path / "tokens")
    if min(counts.sum() for counts in lengths.values()) >= FEWEST_FOR_HISTOGRAM:
        cut = inputs["tokens"].manifest["config"].get("tokens.max_tokens")
        pictures.add("lengths", plots.length_histogram(lengths, cut))
    buckets = batches["train"].get("per_width", [])
    if len(buckets) > 1:
        pictures.add("padding", plots.padding_bars(buckets))
    kept = corpus.get("splits", {})
    splits = [{"split": split} | kept.get(split, {}) | tokens[split] for split in SPLITS]
    return {"splits": splits, "vocabulary": tokens["vocabulary"], "corpus": corpus,
            "buckets": buckets, "batches": {split: batches[split] for split in SPLITS}}


def _lengths(folder: Path) -> dict[str, np.ndarray]:
    """{split: documents per length in tokens, before any cut}."""
    found: dict[str, np.ndarray] = {}
    for split in SPLITS:
        total = np.zeros(1, np.int64)
        for shard in sorted(folder.glob(f"{split}-*.parquet")):
            table = pq.read_table(shard, columns=["length", "truncated"])
            more = np.bincount(table["length"].to_numpy() + table["truncated"].to_numpy())
            total, more = sorted((total, more.astype(np.int64)), key=len)
            more[: len(total)] += total
            total = more
        found[split] = total
    return found


# Lineage


def _lineage(inputs: Inputs) -> dict[str, Any]:
    """What was made from what, as a table and as a graph from left to right."""
    sources = {name: list(artifact.manifest["inputs"]) for name, artifact in inputs.items()}
    sources["metrics"] = list(inputs)
    present = {name for names in sources.values() for name in names} | set(sources)
    order = [name for name in NAMES if name in present]
    edges = [{"from": order.index(a), "to": order.index(b), "span": order.index(b) - order.index(a)}
             for b, names in sources.items() for a in names if a in order]
    stages = [UNKNOWN_ORIGIN | inputs[name].manifest | {"stage": name}
              for name in order if name in inputs]
    return {"nodes": [{"name": name, "key": inputs[name].key[:8] if name in inputs else ""}
                      for name in order],
            "edges": sorted(edges, key=lambda edge: (edge["from"], edge["to"])), "stages": stages}


def _origins(inputs: Inputs) -> list[tuple[str, str]]:
    """Libraries, commit and seed. Where stages differ, each value names its stages."""
    order = [name for name in NAMES if name in inputs]
    values: dict[str, dict[str, list[str]]] = {}
    for stage in order:
        manifest = inputs[stage].manifest
        facts = {"seed": manifest.get("seed"),
                 "git commit": (manifest.get("git_commit") or "")[:12],
                 **dict(sorted(manifest["libraries"].items(), key=lambda kv: kv[0] != "python"))}
        for name, value in facts.items():
            shown = "not known" if value in (None, "") else str(value)
            values.setdefault(name, {}).setdefault(shown, []).append(stage)
    return [(name, _agreed(found)) for name, found in values.items()]


def _agreed(found: Mapping[str, list[str]]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({', '.join(stages)})" for value, stages in found.items())


def _settings(inputs: Inputs) -> list[tuple[str, Any]]:
    """The declared values that decided the artifacts' bytes, in the order of the stages."""
    merged: dict[str, Any] = {}
    for name in NAMES:
        if name in inputs:
            merged |= inputs[name].manifest["config"]
    return list(merged.items())
