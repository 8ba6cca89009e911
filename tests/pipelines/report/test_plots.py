from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipelines.report.plots.classifier import confusion_matrix, score_histogram, threshold_curves
from pipelines.report.plots.comparison import comparison_png, tuning_png
from pipelines.report.plots.data import length_histogram
from pipelines.report.plots.language_model import baseline_bars
from pipelines.report.plots.style import SERIES
from pipelines.report.plots.training import training_curves

HISTORY = pa.table(
    {
        "epoch": [1, 2, 3, 4, 5],
        "loss": [0.7, 0.5, 0.3, 0.2, 0.1],
        "validation_loss": [0.65, 0.5, 0.45, 0.5, 0.6],
    }
)


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


CELLS = [
    [{"count": 1234, "share": 0.9}, {"count": 137, "share": 0.1}],
    [{"count": 0, "share": 0.0}, {"count": 55, "share": 1.0}],
]


@pytest.mark.parametrize("max_bytes", [30_000, 15_000])
def test_a_plot_is_as_small_as_asked(max_bytes: int) -> None:
    png = training_curves(HISTORY, 3, "nats a token", max_bytes)
    assert len(png) <= max_bytes < len(training_curves(HISTORY, 3, "nats a token"))
    assert _pixels(png).min() < 100  # something dark is drawn


def test_a_plot_that_cannot_fit_says_so() -> None:
    with pytest.raises(ValueError, match="max_bytes is 100"):
        training_curves(HISTORY, 3, "nats a token", 100)


def test_one_epoch_is_a_curve_too() -> None:
    one, all_five = (
        training_curves(table, 1, "nats a token") for table in (HISTORY.slice(0, 1), HISTORY)
    )
    assert one != all_five


def test_a_confusion_matrix_is_dark_where_the_answers_are() -> None:
    names = ("good | $x$", "bad")
    picture = _pixels(confusion_matrix(CELLS, names, 30_000))
    height, width = picture.shape
    left, right = (
        np.median(picture[: height // 3, part])
        for part in (slice(width // 3, width // 2), slice(-width // 4, -width // 8))
    )
    assert left < 150 < 220 < right
    assert confusion_matrix(CELLS, names) != confusion_matrix(CELLS[::-1], names)


def test_own_settings_change_nothing(tmp_path: Path) -> None:
    """Neither what a matplotlibrc says before, nor what is left behind after."""
    before = training_curves(HISTORY, 3, "nats a token")
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 30.0}):
        assert training_curves(HISTORY, 3, "nats a token") == before
        assert matplotlib.rcParams["font.size"] == 30.0


def test_series_differ_without_colour() -> None:
    looks = [series["linestyle"] for series in SERIES]
    assert len(set(looks)) == len(looks)


def test_a_class_without_documents_is_drawn() -> None:
    ones, scores = np.ones(5, np.float32), np.linspace(0.1, 0.9, 5)
    assert _pixels(score_histogram(ones, scores, ("no", "yes"))).min() < 100


def test_lengths_of_splits_of_unlike_reach() -> None:
    counts = {
        "train": np.bincount([3, 3, 9, 40, 41]),
        "validation": np.bincount([1, 2]),
        "test": np.bincount([700]),
    }
    uncut, cut = length_histogram(counts, None), length_histogram(counts, 40)
    assert uncut != cut


def test_baselines_grow_with_their_bits() -> None:
    few = [
        {"name": "unigram", "bits_per_character": 4.5},
        {"name": "ours", "bits_per_character": 2.0},
    ]
    more = [few[0], {"name": "5-gram", "bits_per_character": 2.5}, few[1]]
    short, tall = _pixels(baseline_bars(few)), _pixels(baseline_bars(more))
    assert len(short) < len(tall) and short.min() < 100
    assert baseline_bars(few) == baseline_bars(few)


def test_variants_show_the_span_of_their_seeds() -> None:
    labels, values = ["a", "b"], [0.8, 0.7]
    single = comparison_png(labels, values, [(0.8, 0.8), (0.7, 0.7)], "accuracy on validation")
    spans = comparison_png(labels, values, [(0.7, 0.9), (0.6, 0.8)], "accuracy on validation")
    assert single == comparison_png(
        labels, values, [(0.8, 0.8), (0.7, 0.7)], "accuracy on validation"
    )
    assert single != spans


@pytest.mark.parametrize("values", [[None], [2.0, None, 1.0], [None, 3.0], [None, None]])
def test_a_search_is_drawn_with_its_failed_trials(values: list[float | None]) -> None:
    lower, higher = (tuning_png(values, better, "bits") for better in (True, False))
    assert lower == tuning_png(values, True, "bits")
    assert (lower == higher) == (sum(value is not None for value in values) < 2)


def test_threshold_curves_mark_the_threshold_in_use() -> None:
    label = np.array([0, 0, 1, 0, 1, 1], np.float32)
    scores = np.array([0.1, 0.3, 0.4, 0.6, 0.7, 0.9])
    drawn = {t: threshold_curves(label, scores, "yes", t) for t in (0.35, 0.5, 0.95)}
    assert len(set(drawn.values())) == 3 and _pixels(drawn[0.95]).min() < 100
