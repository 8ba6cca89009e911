"""The report's part on many classes: a matrix that can be read, or the pairs confused most."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix

from pipelines.batches.columns import column
from pipelines.metrics.classifier import calibration_figures, classifier_metrics
from pipelines.report.classifier_part import MOST_IN_MATRIX, PAIRS, _of_several, confused_pairs
from pipelines.report.page import Pictures, render
from pipelines.report.plots.classifier import FEW_CLASSES, class_confusion
from pipelines.report.stage_pages import PICTURE_BYTES
from pipelines.stats.calibration import Calibration


def predictions(classes: int, documents: int = 2000) -> pa.Table:
    """Of a model that takes a class for the next one in a quarter of the cases."""
    random = np.random.default_rng(classes)
    label = random.integers(0, classes, documents)
    said = (label + (random.random(documents) < 0.25)) % classes
    logit = (random.normal(0, 1, (documents, classes)) + 6 * np.eye(classes)[said]).astype(
        "float32"
    )
    found = Calibration(2.0)
    return pa.table(
        {
            "id": [f"d{number}" for number in range(documents)],
            "label": label.astype(np.float32),
            "logit": column(logit),
            "predicted": found.predicted(logit).astype(np.int32),
            "confidence": found.probability(logit).max(axis=1),
            "correct": found.correct(logit, label),
            "nats": found.nats(logit, label),
        }
    )


def section(classes: int, folder: Path) -> tuple[dict, Pictures, pa.Table]:
    names = [f"class {number} <b>" for number in range(classes)]
    table, pictures = predictions(classes), Pictures(folder)
    metrics = classifier_metrics(table, (), names)
    metrics["calibration"] = calibration_figures(table, Calibration(2.0))
    return _of_several(metrics, table, names, pictures) | {"names": names}, pictures, table


def test_thirty_classes_are_a_matrix_a_table_and_pairs(tmp_path: Path) -> None:
    judged, pictures, table = section(30, tmp_path)
    expected = confusion_matrix(table["label"].to_numpy(), table["predicted"].to_numpy())
    counts = np.array([[cell["count"] for cell in row] for row in judged["matrix"]])
    assert (counts == expected).all()
    assert len(judged["classes"]) == 30 and len(judged["confused"]) == PAIRS
    worst = judged["confused"][0]
    wrong = expected - np.diag(np.diag(expected))
    true = int(wrong.argmax()) // 30
    assert worst["documents"] == wrong.max()
    assert worst["share"] == pytest.approx(wrong.max() / expected[true].sum())
    assert int(worst["said"].split()[1]) == (int(worst["truth"].split()[1]) + 1) % 30
    assert pictures.uris.keys() == {"scores", "reliability", "confusion"}
    page = render("classes.html", judged=judged, pictures=pictures.uris)
    assert page.count('class="n right"') == 30 and page.count('class="n wrong"') == 870
    assert 'class="wide"' in page and "<b>" not in page and "class 29 &lt;b&gt;" in page


def test_more_classes_than_a_matrix_shows_are_the_worst_and_pairs(tmp_path: Path) -> None:
    judged, pictures, _ = section(60, tmp_path)
    assert judged["matrix"] is None and "confusion" not in pictures.uris
    scores = [row["f1"]["value"] for row in judged["classes"]]
    assert len(scores) == MOST_IN_MATRIX and scores == sorted(scores)
    page = render("classes.html", judged=judged, pictures=pictures.uris)
    assert "50 of 60 classes with the lowest F1" in page and "confused most" in page


def test_no_mistake_is_no_pair() -> None:
    assert confused_pairs([[0, 0, 5], [1, 1, 5]], []) == []


@pytest.mark.parametrize(
    "classes", [3, *(pytest.param(count, marks=pytest.mark.long) for count in (15, 30)), 50]
)
def test_the_confusion_matrix_is_as_large_as_its_classes_need(classes: int) -> None:
    random, names = np.random.default_rng(1), [f"a long name of {n}" for n in range(classes)]
    cells = [[i, j, int(random.integers(1, 9999))] for i in range(classes) for j in range(classes)]
    picture = Image.open(io.BytesIO(class_confusion(cells, names)))
    assert picture.height / classes > 25  # pixels of a row, with a name of 7 points
    if classes <= FEW_CLASSES:
        assert len(class_confusion(cells, names, PICTURE_BYTES)) <= PICTURE_BYTES
