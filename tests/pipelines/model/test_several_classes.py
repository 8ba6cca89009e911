"""A classifier of five classes: its batches, loss and scores, and that a killed one continues."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.batches import stage as batches
from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import BatchesSpec, ModelSpec
from pipelines.declaration.training_section import AdversarialSpec, TrainingSpec
from pipelines.errors import FolioError
from pipelines.model.keras_file import load_model
from pipelines.model.network import build_model
from pipelines.model.scoring import Scorer
from pipelines.model.train_step import compiled
from pipelines.numpy_network.network import NumpyNetwork
from pipelines.store.artifacts import Workspace
from tests.conftest import artifact_in
from tests.forked import exit_code
from tests.pipelines.batches.test_stage import documents, tokens, vocabulary_of
from tests.pipelines.model.test_killed import train_until
from tests.pipelines.model.test_stage import train

pytestmark = pytest.mark.slow

CLASSES = 5
SPEC = ModelSpec(kind="classifier", cell="gru", embedding=4, units=(5,), dense=6)
SMOOTHED = TrainingSpec(epochs=2, learning_rate=0.02, checkpoint_every=1e-9, label_smoothing=0.2)
PERTURBED = SMOOTHED.model_copy(
    update={"loop": "custom", "adversarial": AdversarialSpec(kind="adversarial")}
)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches of documents whose label is their sum modulo five."""
    folder = tmp_path_factory.mktemp("five")
    reviews = documents([1 + i * 7 % 29 for i in range(90)])
    splits = {"train": reviews, "validation": reviews[:11], "test": reviews[:5]}
    inputs = tokens(folder / "in", vocabulary_of(40), **splits)
    for shard in (folder / "in" / "tokens").iterdir():
        table = pq.read_table(shard)
        label = [float(sum(ids) % CLASSES) for ids in table["tokens"].to_pylist()]
        place = table.schema.get_field_index("label")
        pq.write_table(table.set_column(place, "label", pa.array(label, pa.float32())), shard)
    inputs["tokens"].counts["classes"] = CLASSES
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(), scratch.mkdir()
    config = {
        "batches": BatchesSpec(batch_size=8, max_buckets=2),
        "model.kind": "classifier",
        "model.stateful": False,
        "seed": 3,
    }
    batches.build(inputs, config, Workspace(out, scratch, folder))
    return out


def test_batches_have_the_number_of_each_class(five: Path) -> None:
    split = Split(artifact_in(five), "train")
    assert split.classes == CLASSES
    found = [(batch.tokens, batch.outcome) for batch in split.in_order()]
    assert {float(one) for _, labels in found for one in labels} == {0.0, 1.0, 2.0, 3.0, 4.0}
    for ids, labels in found:
        real = np.where(ids == split.metadata["pad_id"], 0, ids)
        assert (real.sum(axis=1) % CLASSES == labels).all()


@pytest.mark.parametrize("loop", ["fit", pytest.param("custom", marks=pytest.mark.long)])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_a_smoothed_cross_entropy_of_the_rows_with_weight(
    five: Path, loop: str, smoothing: float
) -> None:
    batch = next(Split(artifact_in(five), "train").in_order()).filled(8)
    model = build_model(SPEC, 40, 8, seed=3, classes=CLASSES)
    x = {"tokens": batch.tokens, "length": batch.length}
    logits = np.array(model(x), np.float64)
    assert logits.shape == (8, CLASSES)
    label, weight = batch.outcome.astype(np.int32), np.array([1, 1, 1, 1, 1, 0, 0, 0], np.float32)
    target = np.eye(CLASSES)[label] * (1 - smoothing) + smoothing / CLASSES
    surprise = np.logaddexp.reduce(logits, axis=1, keepdims=True) - logits
    expected = (target * surprise).sum(axis=1)[:5].mean()
    settings = TrainingSpec(learning_rate=1e-9, loop=loop, label_smoothing=smoothing)
    step = compiled(model, "classifier", settings)
    assert step(x, label, weight) == pytest.approx(expected, rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("settings", [SMOOTHED, PERTURBED], ids=["smoothed", "adversarial"])
def test_a_killed_training_ends_with_the_same_bits(
    tmp_path: Path, five: Path, settings: TrainingSpec
) -> None:
    assert not train(tmp_path / "whole", five, SPEC, settings)["resumed"]
    killed = (tmp_path / "killed", five, SPEC, settings)
    code = exit_code(tmp_path / "log", train_until, 14, *killed)
    assert code == -signal.SIGKILL, (tmp_path / "log").read_text()
    assert train(*killed)["resumed"]
    for file in ("model.keras", "history.parquet", "model.json"):
        whole, rest = (tmp_path / one / "out" / file for one in ("whole", "killed"))
        assert whole.read_bytes() == rest.read_bytes(), file


def test_a_trained_model_is_scored_and_computed_by_numpy_alike(tmp_path: Path, five: Path) -> None:
    longer = SMOOTHED.model_copy(update={"epochs": 6, "label_smoothing": 0.0})
    counts = train(tmp_path, five, SPEC, longer)
    assert counts["best"]["validation_loss"] < np.log(CLASSES)
    path = tmp_path / "out" / "model.keras"
    plain, own = load_model(path), NumpyNetwork.load(path, SPEC, 40, CLASSES)
    nats = right = rows = 0.0
    for scored in Scorer(plain, SPEC).batches(Split(artifact_in(five), "validation")):
        x = {"tokens": scored.batch.tokens, "length": scored.batch.length}
        assert own.predict_on_batch(x) == pytest.approx(scored.logit, abs=1e-5)
        shares = np.exp(scored.logit) / np.exp(scored.logit).sum(axis=1, keepdims=True)
        label = scored.batch.outcome.astype(int)
        assert scored.nats == pytest.approx(-np.log(shares[np.arange(len(label)), label]))
        assert (scored.correct == (shares.argmax(axis=1) == label)).all()
        nats, right, rows = (
            nats + scored.nats.sum(),
            right + scored.correct.sum(),
            rows + len(label),
        )
    assert counts["best"]["validation_loss"] == pytest.approx(nats / rows)
    assert counts["best"]["validation_accuracy"] == right / rows
    with pytest.raises(FolioError, match="another network than was declared: its layer logit"):
        NumpyNetwork.load(path, SPEC, 40)


def test_virtual_adversarial_training_is_refused(tmp_path: Path, five: Path) -> None:
    virtual = PERTURBED.model_copy(update={"adversarial": AdversarialSpec(kind="virtual")})
    with pytest.raises(FolioError, match=r"adversarial\.kind: virtual is for two labels"):
        train(tmp_path, five, SPEC, virtual)
    assert not os.listdir(tmp_path / "out")
