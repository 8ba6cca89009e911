"""The baselines of classifiers: linear models of word n-grams, trained on the same train split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.counting.linear import Linear, LinearClasses
from pipelines.counting.linear_training import (
    NB_SVM,
    STRENGTHS,
    TF_IDF,
    Documents,
    against_rest,
    logits,
    nb_svm,
    problem,
    tf_idf,
    train_documents,
)
from pipelines.declaration.evaluation_section import EvaluationSpec
from pipelines.metrics.segment_figures import CONFIDENCE
from pipelines.stats.calibration import Calibration
from pipelines.stats.paired_tests import classifier_differences, columns_of

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact, Progress


def baselines(
    corpus: Artifact,
    predictions: pa.Table,
    spec: EvaluationSpec,
    seed: int,
    progress: Progress,
    classes: int = 2,
) -> dict[str, dict[str, Any]]:
    """{name: its figures, and those of the model minus its own, with intervals}, on the documents
    of the model's `predictions`; or {name: {not_measured: why}}.

    Calibrated on validation, as the model is.
    """
    progress(0, None, "n-grams counted")
    train = train_documents(corpus, seed, classes)
    if why := problem(train):
        return {name: {"not_measured": why} for name in STRENGTHS}
    used = {
        "train_documents": len(train.ids),
        "train_documents_left_out": corpus.counts["splits"]["train"]["documents"] - len(train.ids),
    }
    progress(0, None, "n-gram models trained")
    models = _models(train, classes)
    del train
    progress(0, None, "n-gram models compared with the model")
    _, label, fitted = logits(models, corpus, "validation")
    best = {name: _most_accurate(some, label, spec) for name, some in fitted.items()}
    chosen = {name: [models[name][number]] for name, (number, _) in best.items()}
    ids, _, tested = logits(chosen, corpus, "test")
    places = pc.index_in(predictions["id"], value_set=pa.array(ids)).to_numpy()
    return {
        name: beside(some[0][places], best[name][1], predictions) | used
        for name, some in tested.items()
    }


def _models(train: Documents, classes: int) -> Mapping[str, Sequence[Linear | LinearClasses]]:
    if classes > 2:
        return against_rest(train, classes)
    return {NB_SVM: nb_svm(train), TF_IDF: [tf_idf(train)]}


def _most_accurate(
    some: Sequence[np.ndarray], label: np.ndarray, spec: EvaluationSpec
) -> tuple[int, Calibration]:
    """The first of the most accurate models on validation, from their logits, calibrated."""
    scaled = spec.calibration == "temperature"
    found = [Calibration.fitted(logit, label, scaled, spec.threshold) for logit in some]
    right = [one.correct(logit, label).mean() for one, logit in zip(found, some, strict=True)]
    best = int(np.argmax(right))
    return best, found[best]


def beside(logit: np.ndarray, fitted: Calibration, predictions: pa.Table) -> dict[str, Any]:
    """The figures of another model, from its logits (documents,) or (documents, classes), and those
    of the `predictions` minus its own, with intervals."""
    model = {name: predictions[name].to_numpy() for name in columns_of(predictions)}
    own = {
        "label": model["label"],
        "correct": fitted.correct(logit, model["label"]),
        "nats": fitted.nats(logit, model["label"]),
    }
    if "predicted" in model:
        own["predicted"] = fitted.predicted(logit)
    else:
        own["probability"] = fitted.probability(logit)
    differences = classifier_differences(own, model, CONFIDENCE)
    return {
        **{name: one.old for name, one in differences.items()},
        "documents": len(logit),
        "correct": int(own["correct"].sum()),
        "nats": float(own["nats"].sum()),
        "difference": {name: one.as_json() for name, one in differences.items()},
    }
