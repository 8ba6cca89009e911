"""A classifier on held-out documents: its figures, as sums with their counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batches.columns import column, matrix
from pipelines.batches.dataset import Split
from pipelines.corpus.class_names import labels_of
from pipelines.counting.linear_training import logits
from pipelines.declaration.label_checks import FOR_TWO_LABELS
from pipelines.declaration.slices import EDGES, slice_names
from pipelines.errors import FolioError
from pipelines.metrics.classifier_baselines import baselines, beside
from pipelines.metrics.evaluation import PREDICTIONS, Evaluation, mix_figures
from pipelines.metrics.segment_figures import CONFIDENCE
from pipelines.mix.mixtures import ClassifierMixture
from pipelines.model.scoring import Scored
from pipelines.stats.binary import calibration_error, reliability_of, roc_auc
from pipelines.stats.calibration import Calibration
from pipelines.stats.classes import class_figures, confusion_cells, macro_f1
from pipelines.store.artifacts import Artifact


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
    found = predictions_table(scored, unknown_id, own, evaluation.test.classes)
    alone = predictions = _with_lengths(found, evaluation.inputs["tokens"])
    if evaluation.mixture:
        ids, logit = (alone[name].to_numpy() for name in ("id", "logit"))
        predictions = _with_logit(alone, _mixed(evaluation, "test", ids, logit), calibration)
    labels = labels_of(evaluation.inputs["corpus"])
    metrics = classifier_metrics(predictions, evaluation.spec.slices, labels)
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
        len(labels),
    )
    return ClassifierResult(metrics, predictions)


def _calibrated(evaluation: Evaluation) -> tuple[Calibration, Calibration]:
    """Of the network alone, and of the model: the same unless it is mixed."""
    spec = evaluation.spec
    scaled = spec.calibration == "temperature"
    if evaluation.test.classes > 2 and spec.threshold != 0.5:
        raise FolioError(f"evaluation.threshold: {FOR_TWO_LABELS['evaluation.threshold']}")
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


def _with_lengths(predictions: pa.Table, tokens: Artifact) -> pa.Table:
    """The lengths of the whole documents, also where `tokens.max_tokens` has cut them."""
    coded = tokens.table("tokens/test-", ["id", "length", "truncated"])
    places = pc.index_in(predictions["id"], value_set=coded["id"].combine_chunks())
    lengths = pc.add(coded["length"], coded["truncated"]).take(places)
    return predictions.set_column(predictions.schema.get_field_index("length"), "length", lengths)


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
    scored: Iterable[Scored], unknown_id: int, calibration: Calibration, classes: int = 2
) -> pa.Table:
    """One row per document, sorted by id: id, label, logit (unscaled), probability (of class 1) and
    correct (calibrated), nats, length (tokens read) and unknown_rate (share of unknown tokens).

    Of more than two classes, logit is a list, and there are, instead of probability, predicted (the
    class) and confidence (its probability).
    """
    columns: dict[str, list[Any]] = {
        name: []
        for name in (
            "id",
            "label",
            "logit",
            *(("predicted", "confidence") if classes > 2 else ("probability",)),
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
        probability = calibration.probability(one.logit)
        if classes > 2:
            columns["predicted"].append(calibration.predicted(one.logit).astype(np.int32))
            columns["confidence"].append(probability.max(axis=1))
        else:
            columns["probability"].append(probability)
        columns["id"] += batch.ids
        columns["label"].append(batch.outcome)
        columns["logit"].append(one.logit)
        columns["correct"].append(calibration.correct(one.logit, batch.outcome))
        columns["nats"].append(calibration.nats(one.logit, batch.outcome))
        columns["length"].append(batch.length)
        columns["unknown_rate"].append(unknown / batch.length)
    joined: dict[str, Any] = {
        name: values if name == "id" else np.concatenate(values) for name, values in columns.items()
    }
    if classes > 2:
        joined["logit"] = column(joined["logit"].astype(np.float32))
    return pa.table(joined).sort_by("id")


def classifier_metrics(
    predictions: pa.Table, slices: tuple[str, ...], labels: Sequence[str] = ("0", "1")
) -> dict[str, Any]:
    """Figures of a predictions table, over all and by slice (`length`, `unknown_rate`)."""
    nats, correct = (predictions[name].to_numpy() for name in ("nats", "correct"))
    total = _figures(correct, nats)
    figures = {key: total[key] for key in ("accuracy", "log_loss")}
    by_class = _of_several(predictions, labels) if len(labels) > 2 else _of_two(predictions)
    return {
        "kind": "classifier",
        "split": "test",
        "headline": figures | by_class.pop("headline"),
        "sums": {key: total[key] for key in ("documents", "correct", "nats")},
        **by_class,
        "slices": {
            name: _sliced(predictions[name].to_numpy(), name, correct, nats) for name in slices
        },
    }


def _of_two(predictions: pa.Table) -> dict[str, Any]:
    label, probability, correct = (
        predictions[name].to_numpy() for name in ("label", "probability", "correct")
    )
    return {
        "headline": {"roc_auc": roc_auc(label, probability)},
        "confusion": {
            "true_positive": int((correct & (label > 0.5)).sum()),
            "false_positive": int((~correct & (label < 0.5)).sum()),
            "true_negative": int((correct & (label < 0.5)).sum()),
            "false_negative": int((~correct & (label > 0.5)).sum()),
        },
    }


def _of_several(predictions: pa.Table, labels: Sequence[str]) -> dict[str, Any]:
    """`confusion` has [true class, predicted class, documents] of each cell that is not empty."""
    label, predicted = (predictions[name].to_numpy() for name in ("label", "predicted"))
    cells, documents = confusion_cells(label, predicted)
    classes, spread = class_figures(label, predicted, len(labels), CONFIDENCE)
    return {
        "headline": {"macro_f1": macro_f1(label, predicted)},
        "intervals": {"macro_f1": spread._asdict()},
        "labels": list(labels),
        "confusion": [
            [*cell, number] for cell, number in zip(cells.tolist(), documents.tolist(), strict=True)
        ],
        "classes": [{"label": name} | row for name, row in zip(labels, classes, strict=True)],
    }


def calibration_figures(predictions: pa.Table, found: Calibration) -> dict[str, Any]:
    """The fitted values, and the test documents' log loss and calibration error without and with
    the temperature."""
    logit, label = logits_in(predictions), predictions["label"].to_numpy()
    figures = {
        name: {
            "log_loss": float(one.nats(logit, label).mean()),
            "calibration_error": calibration_error(reliability_of(one, logit, label)),
        }
        for name, one in (("before", Calibration()), ("after", found))
    }
    return {"temperature": found.temperature, "threshold": found.threshold, **figures}


def logits_in(predictions: pa.Table) -> np.ndarray:
    """(documents,), or (documents, classes) of more than two classes."""
    found = predictions["logit"]
    return matrix(found) if pa.types.is_fixed_size_list(found.type) else found.to_numpy()


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
