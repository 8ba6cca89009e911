"""Trainings of small models: their history, their steps, and what the network computes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.declaration.model_sections import BatchesSpec, ModelSpec
from pipelines.declaration.model_size import weights_of
from pipelines.declaration.training_section import TrainingSpec
from pipelines.errors import FolioError
from pipelines.model import stage as training
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.keras_file import load_model, save_model
from pipelines.model.network import build_model, copy_weights, state_names
from pipelines.store.artifacts import Workspace
from tests.conftest import artifact_in
from tests.pipelines.batches.test_stage import build as build_batches
from tests.pipelines.batches.test_stage import documents

pytestmark = pytest.mark.slow

CLASSIFIER = ModelSpec(
    kind="classifier",
    cell="lstm",
    bidirectional=True,
    embedding=6,
    units=(5, 4),
    dense=7,
    dropout=0.3,
)
WRITER = ModelSpec(
    kind="language_model", cell="gru", embedding=6, units=(11,), dropout=0.2, stateful=True
)
TRAINING = TrainingSpec(epochs=3, learning_rate=0.01, checkpoint_every=1e-6)


@pytest.fixture(scope="module")
def batches(tmp_path_factory) -> dict[str, Path]:
    reviews = documents([1 + i * 7 % 29 for i in range(90)])
    long = [[2 + (i * i // 3) % 38 for i in range(2000)]]
    rows = documents([2 + i * 7 % 29 for i in range(60)])
    return {
        "classifier": build_batches(
            tmp_path_factory.mktemp("c"),
            BatchesSpec(batch_size=8, max_buckets=2),
            train=reviews,
            validation=reviews[:11],
            test=reviews[:5],
        )[0],
        "half": build_batches(  # as many again without labels, in a split of their own
            tmp_path_factory.mktemp("h"),
            BatchesSpec(batch_size=8, max_buckets=2),
            train=reviews,
            validation=reviews[:11],
            test=reviews[:5],
            unlabelled=documents([1 + i * 5 % 29 for i in range(40)]),
        )[0],
        "language_model": build_batches(
            tmp_path_factory.mktemp("l"),
            BatchesSpec(batch_size=6, sequence_length=20),
            "language_model",
            True,
            train=long,
            validation=[long[0][:210]],
            test=[long[0][:90]],
        )[0],
        "speeches": build_batches(  # documents of 2 to 30 tokens, a row each
            tmp_path_factory.mktemp("d"),
            BatchesSpec(batch_size=8, layout="documents", buckets=(30,)),
            "language_model",
            train=rows,
            validation=rows[:9],
            test=rows[:5],
        )[0],
    }


def train(
    folder: Path,
    batches: Path,
    spec: ModelSpec,
    settings: TrainingSpec = TRAINING,
    progress=lambda done, total, unit: None,
    start: Path | None = None,
    log: Callable[[str], None] = lambda text: None,
) -> dict:
    """`start`: a folder with the model.keras to start from."""
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(parents=True, exist_ok=True), scratch.mkdir(exist_ok=True)
    return training.build(
        {"batches": artifact_in(batches)} | ({"start": artifact_in(start)} if start else {}),
        {"model": spec, "training": settings, "seed": 5, "code_folder": str(folder)},
        Workspace(out, scratch, folder, progress, log=log),
    )


def test_history_and_best_epoch(tmp_path: Path, batches: dict[str, Path]) -> None:
    logged: list[str] = []
    counts = train(tmp_path, batches["classifier"], CLASSIFIER, log=logged.append)
    history = pq.read_table(tmp_path / "out" / "history.parquet").to_pylist()
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"]
    best = min(history, key=lambda row: row["validation_loss"])
    assert counts["best_epoch"] == best["epoch"] and counts["best"] == best
    assert counts["parameters"] > 0 and len(counts["epoch_seconds"]) == 3
    assert [line.partition(":")[0] for line in logged] == [f"epoch {n}/3" for n in (1, 2, 3)]
    assert f"loss {history[1]['loss']:.4g}, validation loss" in logged[1]
    assert re.search(r"; [\d,.]+ steps/s, 0:00:00 left$", logged[2])
    declared = json.loads((tmp_path / "out" / "model.json").read_text())
    assert declared["model"]["units"] == [5, 4] and declared["vocabulary_size"] == 40


def weights_after(folder: Path, batches: Path, spec: ModelSpec, **changes) -> list[np.ndarray]:
    train(folder, batches, spec, TRAINING.model_copy(update={"epochs": 1, **changes}))
    return load_model(folder / "out" / "model.keras").get_weights()


@pytest.mark.long
def test_the_step_written_out_is_keras_own(tmp_path: Path, batches: dict[str, Path]) -> None:
    spec = CLASSIFIER.model_copy(update={"dropout": 0.0})
    ours = weights_after(tmp_path / "a", batches["classifier"], spec, loop="custom", clip_norm=0.5)
    keras = weights_after(tmp_path / "b", batches["classifier"], spec, loop="fit", clip_norm=0.5)
    for a, b in zip(ours, keras, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.long
def test_clip_norm_bounds_the_step(tmp_path: Path, batches: dict[str, Path]) -> None:
    """With plain SGD a step moves the weights by rate times the clipped norm at most."""
    many = 34  # steps of the classifier's one epoch, rounded up
    settings = {"optimizer": "sgd", "learning_rate": 1.0, "clip_norm": 1e-4}
    moved = weights_after(tmp_path / "a", batches["classifier"], CLASSIFIER, **settings)
    still = weights_after(
        tmp_path / "b", batches["classifier"], CLASSIFIER, **settings | {"clip_norm": 1e-12}
    )
    norm = np.sqrt(sum(((a - b) ** 2).sum() for a, b in zip(moved, still, strict=True)))
    assert 0 < norm <= many * 1e-4


@pytest.mark.long
def test_a_carried_state_is_shuffled_only_when_asked(
    tmp_path: Path, batches: dict[str, Path]
) -> None:
    def weights(stateful: bool, shuffle: bool | None) -> np.ndarray:
        spec = WRITER.model_copy(update={"stateful": stateful, "dropout": 0.0})
        found = weights_after(
            tmp_path / f"{stateful} {shuffle}", batches["speeches"], spec, shuffle=shuffle
        )
        return np.concatenate([values.ravel() for values in found])

    unsaid, in_order, mixed = (weights(True, shuffle) for shuffle in (None, False, True))
    np.testing.assert_array_equal(unsaid, in_order)
    assert abs(mixed - in_order).max() > 1e-3
    assert abs(mixed - weights(False, True)).max() > 1e-3  # the same batches, no state carried


@pytest.mark.long
def test_truncation_cuts_the_gradient_and_carries_the_state(
    tmp_path: Path, batches: dict[str, Path]
) -> None:
    spec = WRITER.model_copy(update={"stateful": False, "dropout": 0.0})
    still = {"optimizer": "sgd", "learning_rate": 1e-30}
    speeches, losses = batches["speeches"], []
    for name, truncate in (("whole", None), ("cut", 7)):
        train(
            tmp_path / name,
            speeches,
            spec,
            TRAINING.model_copy(update={"epochs": 1, "truncate": truncate, **still}),
        )
        losses.append(pq.read_table(tmp_path / name / "out" / "history.parquet")["loss"][0].as_py())
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # the state goes on over the cut
    whole = weights_after(tmp_path / "a", speeches, spec)
    cut = weights_after(tmp_path / "b", speeches, spec, truncate=7)
    assert max(abs(a - b).max() for a, b in zip(whole, cut, strict=True)) > 1e-4
    longer = weights_after(tmp_path / "c", speeches, spec, truncate=30)
    for a, b in zip(whole, longer, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.long
def test_patience_stops_early(tmp_path: Path, batches: dict[str, Path]) -> None:
    settings = TrainingSpec(epochs=40, learning_rate=0.3, patience=2)
    counts = train(tmp_path, batches["classifier"], CLASSIFIER, settings)
    assert counts["epochs"] == counts["best_epoch"] + 2 < 40


def test_a_loss_that_is_not_finite_is_named(tmp_path: Path, batches: dict[str, Path]) -> None:
    settings = TrainingSpec(epochs=2, optimizer="sgd").model_copy(
        update={"learning_rate": 1e38}
    )  # no declaration may say so
    with pytest.raises(FolioError, match=r"the loss is (nan|inf) at epoch 1.*learning_rate"):
        train(tmp_path, batches["classifier"], CLASSIFIER, settings)


@pytest.mark.parametrize("cell", ["simple", "lstm", "gru", "peephole"])
def test_carried_state_equals_one_long_read(cell: str) -> None:
    """Feeding a text in two pieces with the state carried is feeding it at once."""
    keras = load_keras("tensorflow")
    make_reproducible(keras)
    spec = ModelSpec(kind="language_model", cell=cell, embedding=4, units=(5, 3))
    model = build_model(spec, 13)
    tokens = np.random.default_rng(0).integers(2, 13, (2, 9)).astype(np.int32)

    def states(rows: int) -> dict[str, np.ndarray]:
        each = len(state_names(spec)) // 2
        return {
            name: np.zeros((rows, spec.units[i // each]), np.float32)
            for i, name in enumerate(state_names(spec))
        }

    whole = model({"tokens": tokens, "length": np.array([9, 9]), **states(2)})["logits"]
    first = model({"tokens": tokens[:, :4], "length": np.array([4, 4]), **states(2)})
    carried = {name: np.asarray(first[name]) for name in state_names(spec)}
    second = model({"tokens": tokens[:, 4:], "length": np.array([5, 5]), **carried})["logits"]
    np.testing.assert_allclose(np.concatenate([first["logits"], second], 1), whole, atol=1e-6)


@pytest.mark.parametrize("spec", [CLASSIFIER, WRITER], ids=lambda spec: spec.kind)
def test_padding_changes_nothing(spec: ModelSpec) -> None:
    keras = load_keras("tensorflow")
    make_reproducible(keras)
    model = build_model(spec.model_copy(update={"stateful": False}), 13, training_batch=2)
    short = np.array([[4, 5, 6], [7, 8, 0]], np.int32)
    wide = np.pad(short, ((0, 0), (0, 5)), constant_values=9)  # whatever stands in the padding
    length = np.array([3, 2], np.int32)
    a, b = (np.asarray(model({"tokens": t, "length": length})) for t in (short, wide))
    if spec.kind == "classifier":
        np.testing.assert_allclose(a, b, atol=1e-6)
    else:
        np.testing.assert_allclose(a[0, :3], b[0, :3], atol=1e-6)
        np.testing.assert_allclose(a[1, :2], b[1, :2], atol=1e-6)


def test_the_training_model_and_the_saved_one_agree(tmp_path: Path) -> None:
    keras = load_keras("tensorflow")
    make_reproducible(keras)
    spec = WRITER.model_copy(update={"dropout": 0.0})
    trainable = build_model(spec, 13, training_batch=2)
    plain = build_model(spec, 13)
    copy_weights(trainable, plain)
    save_model(plain, tmp_path / "again.keras")
    save_model(plain, tmp_path / "model.keras")
    tokens = np.array([[2, 3, 4], [5, 6, 7]], np.int32)
    inputs = {"tokens": tokens, "length": np.array([3, 3], np.int32)}
    wanted = np.asarray(trainable(inputs))
    state = {"state_0": np.zeros((2, 11), np.float32)}
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(loaded({**inputs, **state})["logits"]), wanted)
    assert (tmp_path / "again.keras").read_bytes() == (tmp_path / "model.keras").read_bytes()


@pytest.mark.parametrize("kind", ["classifier", "language_model"])
@pytest.mark.parametrize("cell", ["simple", "lstm", "gru", "peephole"])
@pytest.mark.parametrize("practised", [False, True])
def test_the_size_that_the_plan_reckons_is_that_of_the_network(
    kind: str, cell: str, practised: bool
) -> None:
    classifier = kind == "classifier"
    spec = ModelSpec(
        kind=kind,
        cell=cell,
        embedding=40,
        units=(30, 50),
        bidirectional=classifier,
        dense=20 if classifier else None,
        pool="all" if classifier and practised else "last",
        tie_embeddings=practised and not classifier,
    )
    matrices = [w for w in build_model(spec, 200).weights if len(w.shape) == 2]
    counted = sum(math.prod(w.shape) for w in matrices if "bias" not in w.path and min(w.shape) > 1)
    assert weights_of(spec, 200) == pytest.approx(counted, rel=0.01)  # peepholes and the logit
