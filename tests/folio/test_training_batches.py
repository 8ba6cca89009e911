"""`folio.batches` gives each library what the training reads."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

import folio
from folio.training_batches import SplitBatches
from pipelines.batches.dataset import Split
from pipelines.store.settings import Settings
from tests.conftest import artifact_of

pytestmark = pytest.mark.slow

NO_TORCH = importlib.util.find_spec("torch") is None
OUTCOMES = {"tiny-reviews": "label", "tiny-play": "targets"}


@pytest.fixture(autouse=True)
def home(trained: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(trained.home))


def same(found: list[dict], wanted: list[dict]) -> bool:
    return len(found) == len(wanted) and all(
        one.keys() == other.keys()
        and all(np.array_equal(np.asarray(one[name]), other[name]) for name in one)
        for one, other in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize(("pipeline", "outcome"), OUTCOMES.items())
def test_each_form_has_what_the_training_reads(
    trained: Settings, pipeline: str, outcome: str
) -> None:
    import duckdb
    import tensorflow as tf

    split = Split(artifact_of(trained, pipeline, "batches"), "train")
    batches = folio.batches(pipeline).train
    read = list(batches)
    assert len(read) == len(batches) == split.batch_count > 1
    for one, wanted in zip(read, split.in_order(), strict=True):
        assert list(one) == ["tokens", "length", outcome, "weight"]
        assert np.array_equal(one["tokens"], wanted.tokens)
        assert np.array_equal(one[outcome], wanted.outcome)
    epoch = list(batches.epoch(1))
    assert [one["length"].tolist() for one in epoch] == [
        wanted.length.tolist() for wanted in split.epoch(1)
    ]

    data = batches.tf(epoch=1)
    assert isinstance(data, tf.data.Dataset) and len(data) == len(batches)
    assert same([{name: own.numpy() for name, own in one.items()} for one in data], epoch)
    assert same([{name: own.numpy() for name, own in one.items()} for one in data], epoch)  # again

    whole = batches.arrays()
    width = max(one["tokens"].shape[1] for one in read)
    assert whole["tokens"].shape == (sum(len(one["length"]) for one in read), width)
    narrow = next(one for one in read)
    first = whole["tokens"][: len(narrow["length"])]
    assert np.array_equal(first[:, : narrow["tokens"].shape[1]], narrow["tokens"])
    assert (first[:, narrow["tokens"].shape[1] :] == split.metadata["pad_id"]).all()

    rows = batches.duckdb()
    assert isinstance(rows, duckdb.DuckDBPyRelation)
    assert rows.aggregate("count(*), sum(length)").fetchall()[0] == (
        len(whole["length"]),
        int(whole["length"].sum()),
    )


def test_a_shuffled_epoch_has_the_same_rows_in_another_order(trained: Settings) -> None:
    batches = folio.batches("tiny-reviews").train

    def rows(epoch: int | None) -> list[tuple[int, ...]]:
        return [
            tuple(row[:length].tolist())
            for one in batches.epoch(epoch)
            for row, length in zip(one["tokens"], one["length"], strict=True)
        ]

    assert sorted(rows(None)) == sorted(rows(0)) == sorted(rows(1))
    assert rows(0) == rows(0) != rows(1)


def test_a_model_and_a_run_name_their_batches(trained: Settings) -> None:
    wanted = artifact_of(trained, "tiny-reviews", "batches").path
    run = next(one["run"] for one in trained.runs if one["pipeline"] == "tiny-reviews")
    for reference in ("tiny-reviews", "tiny-reviews@champion", "tiny-reviews@1", run):
        found = folio.batches(reference)
        assert found.path == wanted and repr(found) == f"<folio batches {wanted}>"
    with pytest.raises(folio.UsageError, match=r"nobody: no run of it has batches; make them"):
        folio.batches("nobody")


def batches_of(trained: Settings) -> SplitBatches:
    return folio.batches("tiny-reviews").validation


@pytest.mark.skipif(not NO_TORCH, reason="torch is installed")
def test_without_torch_one_line_says_so(trained: Settings) -> None:
    with pytest.raises(folio.UsageError) as error:
        batches_of(trained).torch()
    assert str(error.value) == "a DataLoader needs torch, which is not installed: pip install torch"


@pytest.mark.skipif(NO_TORCH, reason="torch is not installed")
def test_a_data_loader_has_the_same_batches(trained: Settings) -> None:
    batches = batches_of(trained)
    loader = batches.torch()
    assert len(loader) == len(batches)
    assert same([{name: own.numpy() for name, own in one.items()} for one in loader], list(batches))
