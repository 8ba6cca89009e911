"""A file is scored with the mixed probabilities that the report measures."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from pipelines.scoring.score_file import RegisteredModel, score_file
from pipelines.scoring.score_order import Order
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.serving.text_costs import Cost, TextCosts
from pipelines.store.settings import Settings
from tests.conftest import held_out
from tests.pipelines.mix.mixed_home import PLAY_NAME, metrics_of

pytestmark = pytest.mark.slow


def test_the_test_text_costs_what_the_report_says(mixed: Settings, tmp_path: Path) -> None:
    report = metrics_of(mixed, PLAY_NAME)
    pl.DataFrame({"text": ["".join(held_out(mixed, PLAY_NAME))]}).write_csv(tmp_path / "in.csv")
    model = RegisteredModel.find(mixed.home, PLAY_NAME)
    summary = score_file(model, Order(tmp_path / "in.csv", tmp_path / "out.csv"))
    for name in ("tokens", "characters"):
        assert summary["sums"][name] == report["sums"][name]
    bits = report["headline"]["bits_per_character"]
    assert summary["bits_per_character"] == pytest.approx(bits, rel=1e-5)
    assert bits < 0.99 * report["alone"]["bits_per_character"]


def test_n_grams_begin_with_each_text(mixed: Settings) -> None:
    texts = ["MARIAN: Good morrow.", "Who goes there? " * 60, "the"]
    costs = {
        backend: TextCosts(Predictor.load(load_champion(mixed.home, PLAY_NAME), backend))
        for backend in (NUMPY, "tensorflow")
    }
    together = costs[NUMPY].of(texts)
    for asked in costs.values():
        for text, one in zip(texts, together, strict=True):
            (alone,) = asked.of([text])
            assert isinstance(one, Cost) and isinstance(alone, Cost)
            assert alone.nats == pytest.approx(one.nats, rel=1e-4)
            assert alone.nats / math.log(2) == pytest.approx(
                alone.bits_per_character * alone.characters
            )
