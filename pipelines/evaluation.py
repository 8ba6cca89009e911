"""The metrics stage: the only reader of the test split.

Writes `metrics.json` (sums, counts and what follows from them), `predictions.parquet` (a row a
document or sequence), `samples.txt` for language models, plots and `report.html`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.backend import load_keras, make_reproducible
from pipelines.dataset import Split
from pipelines.keras_file import load_model
from pipelines.report import write_report
from pipelines.sampling import sample
from pipelines.scoring import Scored, Scorer
from pipelines.spec import EvaluationSpec, ModelSpec
from pipelines.stages import Inputs
from pipelines.store import Workspace
from pipelines.vocabulary import UNKNOWN_ID, Vocabulary

LENGTH_EDGES = (100, 200, 400)  # tokens: the slices' upper ends
UNKNOWN_EDGES = (0.0, 0.01, 0.03)  # share of unknown tokens
POSITION_EDGES = (1, 10, 30, 100, 300, 1000, 10_000, 100_000)  # tokens read before


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Score the test split. Returns the headline figures."""
    spec: EvaluationSpec = config["evaluation"]
    keras = load_keras(config["training.backend"])
    make_reproducible(keras, config["seed"])
    model = load_model(inputs["model"].path / "model.keras")
    declared = json.loads((inputs["model"].path / "model.json").read_bytes())
    model_spec = ModelSpec.model_validate(declared["model"])
    test = Split(inputs["batches"].path, "test")
    scored = _watched(Scorer(model, model_spec).batches(test, ids=True), test, work)
    if model_spec.kind == "classifier":
        predictions, metrics = _classifier(scored, spec)
    else:
        vocabulary = Vocabulary.load(inputs["tokens"].path / "vocabulary")
        predictions, metrics = _language_model(scored, inputs)
        metrics["samples"] = _samples(model, model_spec, vocabulary, spec, config["seed"])
        _write_samples(metrics["samples"], work.out / "samples.txt")
    pq.write_table(predictions, work.out / "predictions.parquet", compression="zstd")
    text = json.dumps(metrics, indent=1, ensure_ascii=False)
    (work.out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    write_report(work.out, metrics, inputs, predictions)
    return metrics["headline"]


def _watched(scored: Iterable[Scored], split: Split, work: Workspace) -> Iterable[Scored]:
    for done, one in enumerate(scored, 1):
        work.progress(done, split.batch_count, "test batches scored")
        yield one


# Classifiers


def _classifier(scored: Iterable[Scored], spec: EvaluationSpec) -> tuple[pa.Table, dict[str, Any]]:
    columns: dict[str, list[Any]] = {name: [] for name in (
        "id", "label", "probability", "nats", "length", "unknown_rate")}
    for one in scored:
        batch = one.batch
        columns["id"] += batch.ids
        columns["label"].append(batch.outcome)
        columns["probability"].append(one.probability)
        columns["nats"].append(one.nats)
        columns["length"].append(batch.length)
        columns["unknown_rate"].append((batch.tokens == UNKNOWN_ID).sum(1) / batch.length)
    table = pa.table({name: values if name == "id" else np.concatenate(values)
                      for name, values in columns.items()}).sort_by("id")
    return table, classifier_metrics(table, spec.slices)


def classifier_metrics(predictions: pa.Table, slices: tuple[str, ...]) -> dict[str, Any]:
    """Figures of a predictions table (columns label, probability, nats, length, unknown_rate)."""
    label, probability, nats = (predictions[name].to_numpy() for name in
                                ("label", "probability", "nats"))
    correct = (probability > 0.5) == (label > 0.5)
    total = _figures(correct, nats)
    return {
        "kind": "classifier", "split": "test",
        "headline": {"accuracy": total["accuracy"], "log_loss": total["log_loss"],
                     "roc_auc": roc_auc(label, probability)},
        "sums": {key: total[key] for key in ("documents", "correct", "nats")},
        "confusion": {
            "true_positive": int((correct & (label > 0.5)).sum()),
            "false_positive": int((~correct & (label < 0.5)).sum()),
            "true_negative": int((correct & (label < 0.5)).sum()),
            "false_negative": int((~correct & (label > 0.5)).sum())},
        "slices": {name: _sliced(predictions[name].to_numpy(), name, correct, nats)
                   for name in slices},
    }


def _figures(correct: np.ndarray, nats: np.ndarray) -> dict[str, Any]:
    documents, hits, total = len(correct), int(correct.sum()), float(nats.sum())
    return {"documents": documents, "correct": hits, "nats": total,
            "accuracy": hits / documents, "log_loss": total / documents}


def _sliced(values: np.ndarray, name: str, correct: np.ndarray,
            nats: np.ndarray) -> list[dict[str, Any]]:
    edges = LENGTH_EDGES if name == "length" else UNKNOWN_EDGES
    which = np.searchsorted(np.asarray(edges), values, side="left")
    return [{"slice": _slice_name(i, edges, name)} | _figures(correct[which == i], nats[which == i])
            for i in range(len(edges) + 1) if (which == i).any()]


def _slice_name(i: int, edges: tuple[float, ...], name: str) -> str:
    show = (lambda v: f"{v:,.0f}") if name == "length" else (lambda v: f"{v:.0%}")
    if i == len(edges):
        return f"over {show(edges[-1])}"
    return f"up to {show(edges[i])}" if edges[i] else "none"


def roc_auc(label: np.ndarray, probability: np.ndarray) -> float | None:
    """Chance that a positive is ranked above a negative, ties counting half; None with one class.

    By the rank sum (Mann and Whitney 1947).
    """
    _, where, counts = np.unique(probability, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]  # ties share their mean rank
    positives = int((label > 0.5).sum())
    negatives = len(label) - positives
    if not positives or not negatives:
        return None
    above = ranks[label > 0.5].sum() - positives * (positives + 1) / 2
    return float(above / (positives * negatives))


# Language models


def _language_model(scored: Iterable[Scored], inputs: Inputs) -> tuple[pa.Table, dict[str, Any]]:
    columns: dict[str, list[Any]] = {"id": [], "position": [], "tokens": [], "nats": []}
    edges = np.asarray(POSITION_EDGES)
    by_position = np.zeros((2, len(edges) + 1))
    read = 0
    for one in scored:
        batch, width = one.batch, one.nats.shape[1]
        columns["id"] += batch.ids
        columns["position"] += [read] * len(batch.length)
        columns["tokens"] += batch.length.tolist()
        columns["nats"] += one.nats.sum(axis=1).tolist()
        bins = np.searchsorted(edges, read + np.arange(width), side="right")
        real = np.arange(width) < batch.length[:, None]
        by_position += [np.bincount(bins, sums, len(edges) + 1)
                        for sums in (real.sum(0), one.nats.sum(0))]
        read += width
    tokens, nats = sum(columns["tokens"]), math.fsum(columns["nats"])
    characters = _characters(inputs, tokens)
    return pa.table(columns), {
        "kind": "language_model", "split": "test",
        "headline": {"bits_per_character": nats / characters / math.log(2),
                     "nats_per_character": nats / characters,
                     "perplexity": math.exp(nats / tokens)},
        "sums": {"tokens": tokens, "characters": characters, "nats": nats},
        "by_position": {"edges": list(POSITION_EDGES), "tokens": by_position[0].tolist(),
                        "nats": by_position[1].tolist()},
    }


def _characters(inputs: Inputs, tokens: int) -> int:
    """Characters that the predicted tokens spell: those of the test text, however it is cut."""
    kind = inputs["tokens"].manifest["config"]["tokens.kind"]
    return tokens if kind == "char" else inputs["tokens"].counts["test"]["characters"]


def _samples(model: Any, model_spec: ModelSpec, vocabulary: Vocabulary, spec: EvaluationSpec,
             seed: int) -> list[dict[str, Any]]:
    """One unselected continuation per temperature."""
    start = vocabulary.encode(spec.start)
    made = []
    for temperature in spec.temperatures:
        ids = sample(model, model_spec, start, 1, spec.sample_length, temperature, seed)
        made.append({"temperature": temperature, "seed": seed, "start": spec.start,
                     "text": vocabulary.decode(ids[0])})
    return made


def _write_samples(samples: list[dict[str, Any]], path: Path) -> None:
    blocks = [f"--- temperature {one['temperature']}, seed {one['seed']}\n"
              f"{one['start']}{one['text']}\n" for one in samples]
    path.write_text("\n".join(blocks), encoding="utf-8")
