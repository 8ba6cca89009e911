"""A classifier on held-out documents: its figures, as sums with their counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batches.dataset import Split
from pipelines.counting.linear_training import logits
from pipelines.declaration.slices import EDGES, slice_names
from pipelines.metrics.classifier_baselines import baselines, beside
from pipelines.metrics.evaluation import PREDICTIONS, Evaluation, mix_figures
from pipelines.mix.mixtures import ClassifierMixture
from pipelines.model.scoring import Scored
from pipelines.stats.binary import calibration_error, reliability_bins, roc_auc
from pipelines.stats.calibration import Calibration


@dataclass(frozen=True)
class ClassifierResult:
    """`metrics` are those of metrics.json, `predictions` those of `predictions_table`."""

    metrics: dict[str, Any]
    predictions: pa.Table

    @property
    def tables(self) -> dict[str, pa.Table]:
        return {PREDICTIONS: self.predictions}


def evaluate_classifier(evaluation: Evaluation) -> ClassifierResult:
    """Fit temperature and threshold on validation, then score the test split, and baselines."""
    own, calibration = _calibrated(evaluation)
    unknown_id = evaluation.test.metadata["unknown_id"]
    scored = evaluation.scored(evaluation.test, ids=True)
    alone = predictions = predictions_table(scored, unknown_id, own)
    if evaluation.mixture:
        ids, logit = (alone[name].to_numpy() for name in ("id", "logit"))
        predictions = _with_logit(alone, _mixed(evaluation, "test", ids, logit), calibration)
    metrics = classifier_metrics(predictions, evaluation.spec.slices)
    metrics["calibration"] = calibration_figures(predictions, calibration)
    if evaluation.mixture:
        metrics["mix"] = mix_figures(evaluation.mixture)
        metrics["alone"] = beside(alone["logit"].to_numpy(), own, predictions)
    metrics["baselines"] = baselines(
        evaluation.inputs["corpus"],
        predictions,
        evaluation.spec,
        evaluation.seed,
        evaluation.progress,
    )
    return ClassifierResult(metrics, predictions)


def _calibrated(evaluation: Evaluation) -> tuple[Calibration, Calibration]:
    """Of the network alone, and of the model: the same unless it is mixed."""
    spec = evaluation.spec
    scaled = spec.calibration == "temperature"
    if not scaled and spec.threshold != "best":
        return Calibration(threshold=spec.threshold), Calibration(threshold=spec.threshold)
    split = Split(evaluation.inputs["batches"], "validation")
    scored = list(evaluation.scored(split, ids=evaluation.mixture is not None))
    logit = np.concatenate([one.logit for one in scored])
    label = np.concatenate([one.batch.outcome for one in scored])
    own = Calibration.fitted(logit, label, scaled, spec.threshold)
    if evaluation.mixture is None:
        return own, own
    mixed = _mixed(
        evaluation, "validation", [name for one in scored for name in one.batch.ids], logit
    )
    return own, Calibration.fitted(mixed, label, scaled, spec.threshold)


def _mixed(evaluation: Evaluation, split: str, ids: Sequence[str], logit: np.ndarray) -> np.ndarray:
    """The mixed logits of these documents (documents,), from those of the network."""
    mixture = evaluation.mixture
    assert isinstance(mixture, ClassifierMixture), "as the kind says"
    found, _, counted = logits({"": [mixture.counting]}, evaluation.inputs["corpus"], split)
    places = pc.index_in(pa.array(ids), value_set=pa.array(found)).to_numpy()
    return mixture.logit(logit, counted[""][0][places])


def _with_logit(predictions: pa.Table, logit: np.ndarray, calibration: Calibration) -> pa.Table:
    """The same documents with other logits (documents,)."""
    label = predictions["label"].to_numpy()
    columns = {
        "logit": logit,
        "probability": calibration.probability(logit),
        "correct": calibration.correct(logit, label),
        "nats": calibration.nats(logit, label),
    }
    for name, values in columns.items():
        place = predictions.schema.get_field_index(name)
        predictions = predictions.set_column(place, name, pa.array(values))
    return predictions


def predictions_table(
    scored: Iterable[Scored], unknown_id: int, calibration: Calibration
) -> pa.Table:
    """One row per document, sorted by id: id, label, logit (unscaled), probability (of class 1) and
    correct (calibrated), nats, length (tokens) and unknown_rate (share of unknown tokens)."""
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "id",
            "label",
            "logit",
            "probability",
            "correct",
            "nats",
            "length",
            "unknown_rate",
        )
    }
    for one in scored:
        batch = one.batch
        real = np.arange(batch.tokens.shape[1]) < batch.length[:, None]
        unknown = ((batch.tokens == unknown_id) & real).sum(axis=1)
        columns["id"] += batch.ids
        columns["label"].append(batch.outcome)
        columns["logit"].append(one.logit)
        columns["probability"].append(calibration.probability(one.logit))
        columns["correct"].append(calibration.correct(one.logit, batch.outcome))
        columns["nats"].append(calibration.nats(one.logit, batch.outcome))
        columns["length"].append(batch.length)
        columns["unknown_rate"].append(unknown / batch.length)
    return pa.table(
        {
            name: values if name == "id" else np.concatenate(values)
            for name, values in columns.items()
        }
    ).sort_by("id")


def classifier_metrics(predictions: pa.Table, slices: tuple[str, ...]) -> dict[str, Any]:
    """Figures of a predictions table, over all and by slice (`length`, `unknown_rate`)."""
    label, probability, nats, correct = (
        predictions[name].to_numpy() for name in ("label", "probability", "nats", "correct")
    )
    total = _figures(correct, nats)
    return {
        "kind": "classifier",
        "split": "test",
        "headline": {
            "accuracy": total["accuracy"],
            "log_loss": total["log_loss"],
            "roc_auc": roc_auc(label, probability),
        },
        "sums": {key: total[key] for key in ("documents", "correct", "nats")},
        "confusion": {
            "true_positive": int((correct & (label > 0.5)).sum()),
            "false_positive": int((~correct & (label < 0.5)).sum()),
            "true_negative": int((correct & (label < 0.5)).sum()),
            "false_negative": int((~correct & (label > 0.5)).sum()),
        },
        "slices": {
            name: _sliced(predictions[name].to_numpy(), name, correct, nats) for name in slices
        },
    }


def calibration_figures(predictions: pa.Table, found: Calibration) -> dict[str, Any]:
    """The fitted values, and the test documents' log loss and calibration error without and with
    the temperature."""
    logit, label = (predictions[name].to_numpy() for name in ("logit", "label"))
    figures = {
        name: {
            "log_loss": float(one.nats(logit, label).mean()),
            "calibration_error": calibration_error(reliability_bins(label, one.probability(logit))),
        }
        for name, one in (("before", Calibration()), ("after", found))
    }
    return {"temperature": found.temperature, "threshold": found.threshold, **figures}


def _figures(correct: np.ndarray, nats: np.ndarray) -> dict[str, Any]:
    documents, hits, total = len(correct), int(correct.sum()), float(nats.sum())
    return {
        "documents": documents,
        "correct": hits,
        "nats": total,
        "accuracy": hits / documents,
        "log_loss": total / documents,
    }


def _sliced(
    values: np.ndarray, name: str, correct: np.ndarray, nats: np.ndarray
) -> list[dict[str, Any]]:
    which = np.searchsorted(np.asarray(EDGES[name]), values, side="left")
    return [
        {"slice": called} | _figures(correct[which == i], nats[which == i])
        for i, called in enumerate(slice_names(name))
        if (which == i).any()
    ]
