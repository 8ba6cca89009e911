"""The line that says whether a model beats counting, and what is behind it."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.baselines import Comparison, against_baselines, baseline_line


def classifier(accuracy: float, low: float, high: float) -> dict[str, Any]:
    """Beside an NB-SVM of 0.9 and a weaker baseline; `low` to `high` is of the difference."""
    spread = {"effect": accuracy - 0.9, "low": low, "high": high}
    return {
        "kind": "classifier",
        "headline": {"accuracy": accuracy, "log_loss": 0.3, "roc_auc": None},
        "baselines": {
            "logistic regression": {"accuracy": 0.85, "log_loss": 0.2, "difference": {}},
            "NB-SVM": {"accuracy": 0.9, "log_loss": 0.4, "difference": {"accuracy": spread}},
        },
    }


def language_model(bits: float, interval: tuple[float, float] | None) -> dict[str, Any]:
    """Beside a 7-gram of 2 bits; without `interval`, as earlier versions wrote it."""
    found: dict[str, Any] = {"bits_per_character": 2.0}
    if interval:
        found["difference"] = {
            "bits_per_character": {"effect": bits - 2.0, "low": interval[0], "high": interval[1]}
        }
    return {
        "kind": "language_model",
        "headline": {"bits_per_character": bits},
        "baselines": {"unigram": {"bits_per_character": 4.0}, "7-gram": found},
    }


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        (classifier(0.912, 0.008, 0.016), "beats NB-SVM by 1.2 points (0.8 to 1.6)"),
        (classifier(0.852, -0.052, -0.044), "behind NB-SVM by 4.8 points (4.4 to 5.2)"),
        (
            classifier(0.901, -0.003, 0.005),
            "not different from NB-SVM: 0.1 points better (-0.3 to 0.5)",
        ),
        (
            classifier(0.899, -0.005, 0.003),
            "not different from NB-SVM: 0.1 points worse (-0.3 to 0.5)",
        ),
        (language_model(1.94, (-0.08, -0.04)), "beats its 7-gram: 3.0% fewer bits (2.0 to 4.0)"),
        (language_model(2.06, (0.04, 0.08)), "behind its 7-gram: 3.0% more bits (2.0 to 4.0)"),
        (
            language_model(1.99, (-0.03, 0.01)),
            "not different from its 7-gram: 0.5% fewer bits (-0.5 to 1.5)",
        ),
        (
            language_model(2.01, (-0.01, 0.03)),
            "not different from its 7-gram: 0.5% more bits (-0.5 to 1.5)",
        ),
        (language_model(1.94, None), "beats its 7-gram: 3.0% fewer bits"),
        (language_model(2.06, None), "behind its 7-gram: 3.0% more bits"),
        ({"kind": "classifier", "headline": {"accuracy": 0.9}}, None),
        (
            {
                "kind": "classifier",
                "headline": {"accuracy": 0.9},
                "baselines": {"NB-SVM": {"not_measured": "the train split has only one class"}},
            },
            "no baseline: the train split has only one class",
        ),
    ],
)
def test_the_line(metrics: dict[str, Any], line: str | None) -> None:
    assert baseline_line(metrics) == line


def test_the_best_baseline_depends_on_the_metric() -> None:
    metrics = classifier(0.912, 0.008, 0.016)
    figures = metrics["headline"], metrics["baselines"]
    by_loss = against_baselines(*figures, "log_loss")
    assert isinstance(by_loss, Comparison)
    assert by_loss.baseline == "logistic regression"
    assert by_loss.effect == pytest.approx(-0.1) and by_loss.said == "behind"
    assert against_baselines(*figures, "roc_auc") == "roc_auc was not measured for both"
