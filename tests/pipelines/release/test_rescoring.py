"""A registered model read anew from its package: the figures that its own evaluation had."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.metrics.segments import SEGMENTS
from pipelines.release.fair_comparison import PREDICTIONS
from pipelines.release.rescoring import InMemoryBatches, rescored
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import artifact_of


def read_anew(home: Settings, name: str) -> tuple[dict, dict]:
    """The columns as evaluated, and as rescored."""
    metrics = artifact_of(home, name, "metrics").path
    file = SEGMENTS if (metrics / SEGMENTS).exists() else PREDICTIONS
    before = pq.read_table(metrics / file)
    after = rescored(load_champion(home.home, name), artifact_of(home, name, "corpus"), 16)
    return before.to_pydict(), after.to_pydict()


def test_a_classifier_answers_as_it_did(trained: Settings) -> None:
    before, after = read_anew(trained, "tiny-reviews")
    for name in ("id", "label", "correct"):
        assert after[name] == before[name], name
    for name in ("probability", "nats"):
        assert after[name] == pytest.approx(before[name], abs=1e-5), name


@pytest.mark.parametrize("name", ["tiny-play", "tiny-words", "tiny-japanese"])
def test_a_language_model_spends_what_it_did(
    name: str, trained: Settings, writers: Settings
) -> None:
    before, after = read_anew(trained if name == "tiny-play" else writers, name)
    for key in ("id", "start", "characters", "tokens", "unknown"):
        assert after[key] == before[key], key
    assert after["nats"] == pytest.approx(before["nats"], rel=1e-4)


def test_packages_of_earlier_versions_are_laid_out_by_what_they_have(
    trained: Settings, writers: Settings
) -> None:
    from pipelines.serving.package import Package
    from pipelines.serving.predictor import Predictor

    for home, name, layout in (
        (trained, "tiny-play", "lanes"),
        (writers, "tiny-words", "windows"),
        (writers, "tiny-japanese", "documents"),
    ):
        package = Package.read(load_champion(home.home, name))
        assert Predictor(package).layout == layout == package.settings.layout
        earlier = package.settings.model_copy(update={"layout": None})
        assert Predictor(replace(package, settings=earlier)).layout == layout


def test_long_documents_and_short_ones_are_read_to_their_ends() -> None:
    ids = [np.arange(3), np.arange(1), np.arange(40)]
    names = ["a", "b", "c"]
    batches = list(InMemoryBatches(names, ids, 0, 2, "documents", None).in_order())
    assert [batch.ids for batch in batches] == [["a", "c"]]
    assert batches[0].length.tolist() == [2, 39] and batches[0].tokens.shape == (2, 64)
    lane = list(InMemoryBatches(names, ids, 0, 2, "lanes", None).in_order())
    assert sum(int(batch.length.sum()) for batch in lane) == 3 + 1 + 40 - 1
    windows = list(InMemoryBatches(names, ids, 0, 2, "windows", 2).in_order())
    assert [name for batch in windows for name in batch.ids][:2] == ["a@0", "c@0"]
    assert sum(len(batch.length) for batch in windows) == 1 + 38
