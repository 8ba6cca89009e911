"""What the network computes with pools, tied embeddings and residual connections."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.keras_bounds import outline, unallocated
from pipelines.model.keras_file import load_model, save_model
from pipelines.model.network import build_model, copy_weights, state_names
from pipelines.model.sampling import zero_states

pytestmark = pytest.mark.slow

VOCABULARY = 13
TOKENS = np.array([[4, 5, 6, 7], [7, 8, 9, 9], [3, 9, 9, 9]], np.int32)
LENGTH = np.array([4, 2, 1], np.int32)
POOLED = ModelSpec(kind="classifier", bidirectional=True, embedding=4, units=(5,), pool="all")
TIED = ModelSpec(
    kind="language_model", cell="gru", embedding=4, units=(5, 5), tie_embeddings=True, residual=True
)


def built(spec: ModelSpec, training_batch: int | None = None) -> Any:
    make_reproducible(load_keras("tensorflow"))
    return build_model(spec, VOCABULARY, training_batch, seed=3)


def logits(model: Any, spec: ModelSpec) -> np.ndarray:
    given = {"tokens": TOKENS, "length": LENGTH}
    if spec.kind == "language_model":
        given |= dict(zip(state_names(spec), zero_states(spec, len(TOKENS)), strict=True))
    found = model({name: given[name] for name in model.input})
    return np.asarray(found["logits"] if isinstance(found, dict) else found)


def kernel(model: Any, name: str) -> np.ndarray:
    return np.asarray(model.get_layer(name).kernel)


@pytest.mark.parametrize(
    ("pool", "bidirectional"), [("mean", True), ("max", False), ("all", True), ("all", False)]
)
def test_pools_leave_the_padding_out(pool: str, bidirectional: bool) -> None:
    spec = POOLED.model_copy(update={"bidirectional": bidirectional, "pool": pool})
    model = built(spec)
    name = "both_directions_0" if bidirectional else "lstm_0"
    layer, vectors = model.get_layer(name), model.get_layer("embedding")(TOKENS)
    pooled = []
    for row, length in enumerate(LENGTH):  # each row alone and without padding
        x = vectors[row : row + 1, :length]
        every = np.asarray(layer(x))[0]
        first, last = (every[0], every[-1]) if bidirectional else (every[-1], every[-1])
        end = np.concatenate([last[:5], first[5:]])
        parts = {"mean": every.mean(axis=0), "max": every.max(axis=0), "last": end}
        pooled.append(np.concatenate([parts[one] for one in ("mean", "max", "last")][:3]))
        if pool != "all":
            pooled[-1] = parts[pool]
    wanted = np.stack(pooled) @ kernel(model, "logit")
    np.testing.assert_allclose(logits(model, spec), wanted, atol=1e-6)


def test_the_last_of_all_is_that_of_a_network_without_a_pool() -> None:
    plain = POOLED.model_copy(update={"pool": "last"})
    pooled, last = built(POOLED), built(plain)
    for a, b in zip(last.trainable_variables[:-2], pooled.trainable_variables[:-2], strict=True):
        a.assign(b)
    width = kernel(last, "logit").shape[0]
    head = np.zeros((3 * width, 1), np.float32)
    head[2 * width :] = kernel(last, "logit")
    pooled.get_layer("logit").kernel.assign(head)
    np.testing.assert_allclose(logits(pooled, POOLED), logits(last, plain), atol=1e-6)


@pytest.mark.parametrize("units", [(5, 5), (4, 4)], ids=["projected", "as wide"])
def test_tied_logits_are_products_with_the_embedding(tmp_path: Path, units: tuple[int]) -> None:
    spec = TIED.model_copy(update={"units": units})
    trained, plain = built(spec, training_batch=3), built(spec)
    trained.get_layer("logits").embeddings.assign(np.arange(VOCABULARY)[:, None] / 7)
    copy_weights(trained, plain)
    save_model(plain, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert outline(loaded) == unallocated(lambda: build_model(spec, VOCABULARY), outline)
    np.testing.assert_array_equal(logits(loaded, spec), logits(trained, spec))
    table = loaded.get_layer("embedding").embeddings
    shapes = [tuple(each.shape) for each in loaded.trainable_variables]
    assert shapes.count((VOCABULARY, 4)) == 1 and (units[1], VOCABULARY) not in shapes
    before = logits(loaded, spec)
    with_7 = (TOKENS == 7).cumsum(axis=1) > 0
    changed = np.asarray(table).copy()
    changed[7] += 1
    table.assign(changed)  # as an input and as an output
    moved = np.abs(logits(loaded, spec) - before) > 1e-6
    assert moved[..., 7].all() and moved[with_7].all() and not moved[~with_7][:, :7].any()


def test_a_residual_connection_adds_the_inputs() -> None:
    spec = ModelSpec(kind="language_model", embedding=4, units=(5, 5), residual=True)
    model = built(spec)
    x = model.get_layer("embedding")(TOKENS)
    first = np.asarray(model.get_layer("lstm_0")(x)[0])
    second = np.asarray(model.get_layer("lstm_1")(first)[0])
    wanted = (first + second) @ kernel(model, "logits")
    found = logits(model, spec)
    for row, length in enumerate(LENGTH):
        np.testing.assert_allclose(found[row, :length], wanted[row, :length], atol=1e-6)


def test_a_classifier_has_residual_connections_too() -> None:
    spec = ModelSpec(kind="classifier", embedding=4, units=(5, 5), residual=True)
    model = built(spec)
    first = np.asarray(model.get_layer("lstm_0")(model.get_layer("embedding")(TOKENS)))
    second = np.asarray(model.get_layer("lstm_1")(first))
    wanted = (first + second)[np.arange(3), LENGTH - 1] @ kernel(model, "logit")
    np.testing.assert_allclose(logits(model, spec), wanted, atol=1e-6)


def test_outputs_are_normalized_after_the_residual_connection() -> None:
    spec = ModelSpec(
        kind="classifier", embedding=4, units=(5, 5), residual=True, layer_norm=True, pool="mean"
    )
    model = built(spec)

    def normal(x: np.ndarray) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)

    vectors = model.get_layer("embedding")(TOKENS)
    first = normal(np.asarray(model.get_layer("lstm_0")(vectors)))
    second = normal(first + np.asarray(model.get_layer("lstm_1")(first)))
    means = [row[:length].mean(axis=0) for row, length in zip(second, LENGTH, strict=True)]
    wanted = np.stack(means) @ kernel(model, "logit")
    np.testing.assert_allclose(logits(model, spec), wanted, atol=1e-5)


def test_a_plain_declaration_has_the_layers_that_it_always_had() -> None:
    classifier = ModelSpec(kind="classifier", units=(5, 4), dense=6, dropout=0.2)
    names = ["embedding", "lstm_0", "lstm_1", "dense", "dropout", "logit"]
    writer = ModelSpec(kind="language_model", units=(5, 4), dropout=0.2)
    for spec, expected in (
        (classifier, names),
        (writer, ["embedding", "lstm_0", "dropout_0", "lstm_1", "dropout_1", "logits"]),
    ):
        layers = built(spec, training_batch=3).layers
        known = [each.name for each in layers if each.variables]
        assert known == expected
        assert all(
            getattr(each, "noise_shape", None) is None and not getattr(each, "weight_dropout", 0)
            for each in layers
        )


def test_a_peephole_model_of_an_earlier_folio_loads_by_its_name(tmp_path: Path) -> None:
    """Its file names the module in which the cell was then; Keras goes by the registered name."""
    spec = ModelSpec(kind="language_model", cell="peephole", embedding=3, units=(4,))
    path, old = tmp_path / "model.keras", tmp_path / "old.keras"
    model = built(spec)
    save_model(model, path)
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(old, "w") as write:
        for name in read.namelist():
            data = read.read(name)
            if name == "config.json":
                assert b'"registered_name": "folio>PeepholeLSTMCell"' in data
                assert data.count(b"pipelines.model.cells") == 1
                data = data.replace(b"pipelines.model.cells", b"pipelines.cells")
            write.writestr(name, data)
    np.testing.assert_array_equal(logits(load_model(old), spec), logits(model, spec))
