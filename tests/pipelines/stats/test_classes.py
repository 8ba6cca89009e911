"""Figures by class against scikit-learn, and their intervals against resampled documents."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from pipelines.stats.bootstrap import RESAMPLES
from pipelines.stats.calibration import Calibration, best_temperature
from pipelines.stats.classes import (
    NONE,
    class_figures,
    confusion_cells,
    macro_f1,
    macro_f1_difference,
)
from pipelines.stats.paired_tests import classifier_differences
from pipelines.stats.two_samples import of_classes

RANDOM = np.random.default_rng(4)
LABEL = RANDOM.integers(0, 6, 500)
SAID = np.where(RANDOM.random(500) < 0.7, LABEL, RANDOM.integers(0, 6, 500))
OTHER = np.where(RANDOM.random(500) < 0.4, LABEL, RANDOM.integers(0, 6, 500))


def test_figures_are_those_of_scikit_learn() -> None:
    rows, _ = class_figures(LABEL, SAID, 6)
    expected = precision_recall_fscore_support(LABEL, SAID)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [row[name]["value"] for row in rows] == pytest.approx(values.tolist())
        assert all(row[name]["low"] < row[name]["value"] < row[name]["high"] for row in rows)
    assert [row["documents"] for row in rows] == expected[3].tolist()
    assert [row["predicted"] for row in rows] == np.bincount(SAID).tolist()
    assert macro_f1(LABEL, SAID) == pytest.approx(f1_score(LABEL, SAID, average="macro"))
    cells, documents = confusion_cells(LABEL, SAID)
    assert documents.sum() == 500 and len(cells) == len(np.unique(6 * LABEL + SAID))


def test_classes_that_do_not_occur_have_no_figures() -> None:
    label, said = np.array([0, 0, 2, 2]), np.array([0, 2, 2, 2])
    rows, _ = class_figures(label, said, 4)
    assert (
        rows[1]
        == rows[3]
        == {
            **dict.fromkeys(("documents", "predicted", "correct"), 0),
            **dict.fromkeys(("precision", "recall", "f1")),
        }
    )
    assert macro_f1(label, said) == pytest.approx(f1_score(label, said, average="macro"))
    unanswered = np.array([0, NONE, 2, 2])
    assert class_figures(label, unanswered, 4)[0][0]["predicted"] == 1
    expected = f1_score(label, unanswered, labels=[0, 2], average="macro")
    assert macro_f1(label, unanswered) == pytest.approx(expected)


@pytest.mark.slow
@pytest.mark.long
def test_intervals_are_those_of_resampled_documents() -> None:
    random, drawn, effects = np.random.default_rng(9), [], []
    for _ in range(RESAMPLES):
        some = random.integers(0, 500, 500)
        drawn.append(macro_f1(LABEL[some], SAID[some]))
        effects.append(drawn[-1] - macro_f1(LABEL[some], OTHER[some]))
    _, found = class_figures(LABEL, SAID, 6)
    assert found == pytest.approx(np.quantile(drawn, (0.025, 0.975)), abs=0.005)
    paired = macro_f1_difference(LABEL, OTHER, SAID, 0.9)
    assert paired == pytest.approx(np.quantile(effects, (0.05, 0.95)), abs=0.007)
    same = macro_f1_difference(LABEL, SAID, SAID, 0.9)
    assert same == (0, 0)


def test_paired_differences_of_several_classes() -> None:
    old, new = (
        {"label": LABEL, "predicted": said, "nats": 2.0 - (said == LABEL), "correct": said == LABEL}
        for said in (OTHER, SAID)
    )
    found = classifier_differences(old, new, 0.95)
    assert list(found) == ["accuracy", "log_loss", "macro_f1"]
    assert found["macro_f1"].old == macro_f1(LABEL, OTHER)
    assert found["macro_f1"].interval == macro_f1_difference(LABEL, OTHER, SAID, 0.95)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_two_logits_are_calibrated_as_one(temperature: float) -> None:
    """A softmax over (0, z) is the logistic function of z."""
    logit = RANDOM.normal(0, 2, 400)
    label = (RANDOM.random(400) < 1 / (1 + np.exp(-logit / temperature))).astype(np.float32)
    both, one = np.stack([np.zeros(400), logit], axis=1), Calibration(temperature)
    assert one.probability(both)[:, 1] == pytest.approx(one.probability(logit))
    assert one.nats(both, label) == pytest.approx(one.nats(logit, label))
    assert (one.predicted(both) == one.predicted(logit)).all()
    assert best_temperature(both, label) == pytest.approx(best_temperature(logit, label))
    moved = both + RANDOM.normal(0, 500, (400, 1))  # a softmax does not see it
    assert one.nats(moved, label) == pytest.approx(one.nats(logit, label))


def test_other_shares_of_the_labels_are_drift() -> None:
    labels, old = ["film", "food", "sport"], np.array([100, 200, 0])
    (same,) = of_classes(labels, old, np.array([49, 102, 0]))
    assert not same["drifted"] and same["p"] > 0.5
    (other,) = of_classes(labels, old, np.array([100, 50, 90]))
    assert other["drifted"] and other["measure"] == "shares of the labels, most of food"
    assert (other["old"], other["new"]) == pytest.approx((2 / 3, 50 / 240))
    assert not list(of_classes(labels, old, np.array([5, 5, 5])))  # too few
