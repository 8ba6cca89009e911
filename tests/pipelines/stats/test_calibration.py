"""Temperature and threshold against brute force, and in a real pipeline from metrics to answers."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.run.execute import draw_report, execute_stage
from pipelines.serving.package import write_package
from pipelines.serving.predictor import Predictor
from pipelines.stages import stage_named
from pipelines.stats.binary import calibration_error, reliability_bins
from pipelines.stats.calibration import (
    COLDEST,
    HOTTEST,
    Calibration,
    best_temperature,
    best_threshold,
)
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, spec_of

SEEDS = st.integers(0, 10_000)


def answers(sharpness: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `sharpness` times too large, and labels."""
    random = np.random.default_rng(seed)
    true = random.normal(scale=2, size=count)
    label = (random.random(count) < 1 / (1 + np.exp(-true))).astype(np.float32)
    return true * sharpness, label


def loss(logit: np.ndarray, label: np.ndarray, temperature: float) -> float:
    return float(Calibration(temperature).nats(logit, label).mean())


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_what_is_too_sure_or_too_shy(sharpness: float) -> None:
    logit, label = answers(sharpness, 20_000, 1)
    assert best_temperature(logit, label) == pytest.approx(sharpness, rel=0.05)
    before, after = (
        calibration_error(reliability_bins(label, Calibration(t).probability(logit)))
        for t in (1.0, best_temperature(logit, label))
    )
    assert after < 0.02 and (sharpness == 1 or before > 3 * after)


@given(SEEDS, st.floats(0.2, 5))
def test_no_other_temperature_is_better(seed: int, sharpness: float) -> None:
    logit, label = answers(sharpness, 300, seed)
    best = best_temperature(logit, label)
    for factor in (0.8, 0.99, 1.01, 1.25):
        other = min(max(best * factor, COLDEST), HOTTEST)
        assert loss(logit, label, best) <= loss(logit, label, other) + 1e-12


def test_temperatures_stay_within_reason() -> None:
    logit, label = np.array([-3.0, 2.0, 5.0]), np.array([0, 1, 1], np.float32)
    assert best_temperature(logit, label) == pytest.approx(COLDEST)  # all right: surer is better
    assert best_temperature(logit, 1 - label) == pytest.approx(HOTTEST)
    huge = Calibration().probability(np.array([-1e6, 0.0, 1e6]))
    assert huge.tolist() == [0, 0.5, 1]
    assert Calibration(2.0).nats(np.array([8.0]), np.array([0.0])) == pytest.approx(
        [math.log1p(math.exp(4))]
    )


@given(SEEDS, st.integers(1, 40))
def test_the_threshold_labels_most_right(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    probability = random.integers(0, 12, count) / 11
    label = random.integers(0, 2, count).astype(np.float32)

    def right(threshold: float) -> int:
        return int(((probability > threshold) == (label > 0.5)).sum())

    found = best_threshold(probability, label)
    assert right(found) == max(right(t) for t in (*np.linspace(0, 1, 221), found))
    if right(0.5) == right(found):
        assert found == 0.5


def test_what_is_measured_is_what_is_served(trained: Settings, reviews, tmp_path) -> None:
    """With a threshold of its own: metrics, predictions and the package agree."""
    spec = spec_of(reviews, "evaluation.threshold=best")
    inputs = {
        name: artifact_of(trained, "tiny-reviews", name)
        for name in ("model", "batches", "tokens", "corpus")
    }
    metrics = execute_stage(stage_named("metrics"), spec, inputs, Settings.at(tmp_path)).artifact
    figures = json.loads((metrics.path / "metrics.json").read_bytes())
    calibration, table = figures["calibration"], pq.read_table(metrics.path / "predictions.parquet")
    logit, label, probability, correct = (
        table[name].to_numpy() for name in ("logit", "label", "probability", "correct")
    )
    assert calibration["temperature"] != 1 and calibration["threshold"] != 0.5
    assert probability == pytest.approx(1 / (1 + np.exp(-logit / calibration["temperature"])))
    assert (correct == ((probability > calibration["threshold"]) == (label > 0.5))).all()
    assert figures["headline"]["accuracy"] == correct.mean()
    assert figures["headline"]["log_loss"] == calibration["after"]["log_loss"]
    assert calibration["before"]["log_loss"] == pytest.approx(
        np.logaddexp(0, np.where(label > 0.5, -logit, logit)).mean()
    )
    write_package(
        tmp_path / "package",
        inputs["model"],
        inputs["tokens"],
        pipeline="x",
        labels=("negative", "positive"),
        sample=False,
        measured=figures,
    )
    documents = pl.read_parquet(inputs["corpus"].path / "documents" / "test-*.parquet").sort("id")
    served = Predictor.load(tmp_path / "package").predict(documents["text"])
    assert [row["positive_probability"] for row in served] == pytest.approx(probability, abs=1e-5)
    assert [
        row["label"] == ("negative", "positive")[int(true)]
        for row, true in zip(served, documents["label"], strict=True)
    ] == correct.tolist()
    report = draw_report(inputs | {"metrics": metrics}, Settings.at(tmp_path))
    page = (report.path / "report.html").read_text(encoding="utf-8")
    assert f"positive is predicted above {calibration['threshold']:.3f}" in page
    assert f"divided by the temperature {calibration['temperature']:.3f}" in page


def test_without_calibration_the_models_own_scores_count(
    trained: Settings, reviews, tmp_path
) -> None:
    spec = spec_of(reviews, "evaluation.calibration=none")
    inputs = {
        name: artifact_of(trained, "tiny-reviews", name)
        for name in ("model", "batches", "tokens", "corpus")
    }
    metrics = execute_stage(stage_named("metrics"), spec, inputs, Settings.at(tmp_path)).artifact
    figures = json.loads((metrics.path / "metrics.json").read_bytes())["calibration"]
    assert (figures["temperature"], figures["threshold"]) == (1.0, 0.5)
    assert figures["before"] == figures["after"]
