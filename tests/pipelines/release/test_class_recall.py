"""Figures by class, of two classes or more, and the macro F1 of two where it decides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score

from pipelines.metrics.classifier import classifier_metrics
from pipelines.release.class_recall import by_class, figures_of
from pipelines.release.evidence import classifier_evidence

RANDOM = np.random.default_rng(3)
LABEL = (RANDOM.random(300) < 0.3).astype(np.float32)


def predictions(mistakes: float) -> pa.Table:
    said = np.where(RANDOM.random(300) < mistakes, 1 - LABEL, LABEL)
    chance = np.where(said > 0.5, 0.8, 0.3)
    return pa.table(
        {
            "label": LABEL,
            "probability": chance,
            "correct": said == LABEL,
            "nats": -np.log(np.where(LABEL > 0.5, chance, 1 - chance)),
        }
    )


def macro(table: pa.Table) -> float:
    said = table["probability"].to_numpy() > 0.5
    return float(f1_score(LABEL > 0.5, said, average="macro"))


def test_two_classes() -> None:
    table = predictions(0.2)
    metrics = classifier_metrics(table, ())
    correct = table["correct"].to_numpy()
    assert by_class(metrics, ("no", "yes")) == {
        name: (int(correct[of].sum()), int(of.sum()))
        for name, of in (("no", LABEL < 0.5), ("yes", LABEL > 0.5))
    }
    assert figures_of(metrics, "accuracy") == metrics["headline"]
    found = figures_of(metrics, "macro_f1")
    assert found == metrics["headline"] | {"macro_f1": pytest.approx(macro(table))}


def test_the_macro_f1_of_two_classes_may_decide() -> None:
    old, new = predictions(0.3), predictions(0.05)
    found = classifier_evidence(old, new, "macro_f1", 0.95)
    assert (found.champion, found.challenger) == pytest.approx((macro(old), macro(new)))
    assert 0 < found.low < found.effect < found.high
    assert list(found.others) == ["accuracy", "log_loss", "roc_auc"]
    usual = classifier_evidence(old, new, "accuracy", 0.95)
    assert list(usual.others) == ["log_loss", "roc_auc"]


def test_language_models_have_no_classes() -> None:
    metrics = {"headline": {"perplexity": 4.0}}
    assert by_class(metrics, ()) == {} and figures_of(metrics, "perplexity") == {"perplexity": 4.0}
