"""The fast layers against Keras's own: the same outputs, gradients, training and weights."""

from __future__ import annotations

import hashlib
import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipelines.backend import load_keras, make_reproducible
from tests.conftest import PROJECT

BATCH, TIME, FEATURES, UNITS = 5, 7, 3, 4
OPTIONS = [
    {},
    {"return_sequences": True},
    {"go_backwards": True, "return_state": True},
    {"return_sequences": True, "go_backwards": True, "return_state": True},
    {"return_sequences": True, "zero_output_for_mask": True},
]
UNSUPPORTED = [
    {"activation": "relu"}, {"recurrent_activation": "hard_sigmoid"}, {"use_bias": False},
    {"unroll": True}, {"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"dtype": "float64"},
]


@pytest.fixture(scope="module")
def recurrent() -> Iterator[ModuleType]:
    load_keras("tensorflow")
    from pipelines import recurrent

    yield recurrent


def layers(recurrent: ModuleType, cell: str, units: int, **options: Any) -> tuple[Any, Any]:
    """Keras's layer and the fast one, with the same random weights, biases too."""
    import keras

    random = np.random.default_rng(5)
    pair = [getattr(module, cell)(units, **options) for module in (keras.layers, recurrent)]
    for layer in pair:
        layer.build((BATCH, TIME, FEATURES))
    values = [random.normal(size=w.shape).astype("float32") * 0.7 for w in pair[0].get_weights()]
    for layer in pair:
        layer.set_weights(values)
    return pair[0], pair[1]


def masks(kind: str) -> np.ndarray | None:
    if kind == "none":
        return None
    if kind == "padded":
        return np.arange(TIME) < np.array([[TIME], [1], [4], [1], [TIME - 1]])
    holes = np.random.default_rng(9).random((BATCH, TIME)) < 0.5
    holes[1], holes[2, 0], holes[3, :3] = False, True, False  # no step, the first, a late start
    return holes


def outputs_and_gradients(layer: Any, x: Any, mask: Any, states: Any, scales: Any) -> list[Any]:
    """All outputs; the gradients, of a scaled sum of them, of inputs, first states and weights."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        found = layer(x, mask=mask, initial_state=list(states) or None, training=True)
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        total = sum(tf.reduce_sum(y * scales[:y.shape[0], ..., :y.shape[-1]][..., -1, :]
                                  if len(y.shape) == 2 else tf.reduce_sum(y * scales))
                    for y in found)
    variables = [variable.value for variable in layer.trainable_variables]
    return found + tape.gradient(total, [x, *states, *variables])


def inputs(cell: str, with_states: bool) -> tuple[Any, list[Any], Any]:
    import tensorflow as tf

    random = np.random.default_rng(3)
    x, scales, *states = (
        tf.constant(random.normal(size=shape).astype("float32"))
        for shape in [(BATCH, TIME, FEATURES), (BATCH, TIME, UNITS)] + [(BATCH, UNITS)] * 2)
    return x, states[:{"LSTM": 2, "GRU": 1}[cell]] if with_states else [], scales


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("kind", ["none", "padded", "holes"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_outputs_and_gradients_are_those_of_keras(
        recurrent: ModuleType, monkeypatch: pytest.MonkeyPatch, cell: str, kind: str,
        compiled: bool) -> None:
    import tensorflow as tf

    monkeypatch.setattr(recurrent, "LARGEST_COMPILED_UNITS", UNITS if compiled else 0)
    mask = masks(kind)
    for options, with_states in itertools.product(OPTIONS, [False, True]):
        plain, fast = layers(recurrent, cell, UNITS, **options)
        x, states, scales = inputs(cell, with_states)
        expected = outputs_and_gradients(plain, x, mask, states, scales)
        graph = tf.function(lambda *a, fast=fast: outputs_and_gradients(fast, *a))
        found = graph(x, mask, states, scales)
        assert len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{options}")


def uses_the_written_gradient(layer: Any, x: Any, training: bool = True) -> bool:
    import tensorflow as tf

    traced = tf.function(lambda x: layer(x, training=training)).get_concrete_function(x)
    return any(op.type == "IdentityN" for op in traced.graph.get_operations())


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_only_what_is_supported_leaves_keras(recurrent: ModuleType, cell: str) -> None:
    import keras

    x = np.random.default_rng(1).normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    assert uses_the_written_gradient(layers(recurrent, cell, UNITS)[1], x)
    assert not uses_the_written_gradient(layers(recurrent, cell, UNITS)[1], x, training=False)
    for options in UNSUPPORTED + ([{"reset_after": False}] if cell == "GRU" else []):
        plain, fast = layers(recurrent, cell, UNITS, seed=2, **options)
        assert not uses_the_written_gradient(fast, x), options
        found = [keras.ops.convert_to_numpy(layer(x, training=True)) for layer in (plain, fast)]
        np.testing.assert_array_equal(*found)


def model(module: ModuleType, kind: str, batch: int | None = None, jit: bool = False) -> Any:
    """A masked bidirectional classifier of two layers, or a language model that keeps its state."""
    import keras

    keras.utils.set_random_seed(7)
    tokens = keras.Input((None,), batch_size=batch, dtype="int32")
    x = keras.layers.Embedding(11, 6, mask_zero=kind == "classifier")(tokens)
    if kind == "classifier":
        x = keras.layers.Bidirectional(module.LSTM(5, return_sequences=True))(x)
        x = keras.layers.Bidirectional(module.GRU(4))(x)
    else:
        x = module.GRU(9, return_sequences=True, stateful=batch is not None)(x)
        x = module.LSTM(8, return_sequences=True, stateful=batch is not None)(x)
    outputs = keras.layers.Dense(1 if kind == "classifier" else 11)(x)
    built = keras.Model(tokens, outputs)
    loss = (keras.losses.BinaryCrossentropy(from_logits=True) if kind == "classifier"
            else keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    built.compile(keras.optimizers.Adam(0.003), loss, jit_compile=jit)
    return built


def batches(kind: str, count: int, rows: int = 6) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Right-padded rows, the shortest of one token, in three widths; or unbroken text."""
    random = np.random.default_rng(13)
    for i in range(count):
        tokens = random.integers(1, 11, (rows, (8, 13, 5)[i % 3]))
        if kind == "language_model":
            yield tokens[:, :-1], tokens[:, 1:]
            continue
        lengths = random.integers(1, tokens.shape[1] + 1, rows)
        lengths[0], lengths[1] = 1, tokens.shape[1]
        tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] = 0
        yield tokens, (tokens.sum(axis=1, keepdims=True) % 2).astype("float32")


def losses(trained: Any, kind: str, count: int) -> list[float]:
    return [float(trained.train_on_batch(x, y)) for x, y in batches(kind, count)]


def train_both(recurrent: ModuleType, kind: str, steps: int) -> None:
    import keras

    expected = losses(model(keras.layers, kind, None if kind == "classifier" else 6), kind, steps)
    found = losses(model(recurrent, kind, None if kind == "classifier" else 6), kind, steps)
    assert expected[-1] != expected[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["classifier", "language_model"])
def test_a_hundred_training_steps_lose_the_same(recurrent: ModuleType, kind: str) -> None:
    train_both(recurrent, kind, 100)


def test_training_compiled_as_one_program_loses_the_same(recurrent: ModuleType) -> None:
    import keras

    expected = losses(model(keras.layers, "classifier"), "classifier", 4)
    np.testing.assert_allclose(losses(model(recurrent, "classifier", jit=True), "classifier", 4),
                               expected, rtol=1e-5)


def test_fit_takes_a_smaller_last_batch(recurrent: ModuleType) -> None:
    import keras

    x, y = next(batches("classifier", 1, rows=20))
    histories = [model(module, "classifier").fit(x, y, batch_size=8, epochs=2, shuffle=False,
                                                 verbose=0, validation_data=(x, y)).history
                 for module in (keras.layers, recurrent)]
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-5)


def test_state_is_carried_from_batch_to_batch(recurrent: ModuleType) -> None:
    import keras

    pair = [model(module, "language_model", batch=6) for module in (keras.layers, recurrent)]
    for x, y in batches("language_model", 3):
        for trained in pair:
            trained.train_on_batch(x, y)
        for expected, found in zip(pair[0].layers[2:4], pair[1].layers[2:4], strict=True):
            assert len(found.states) == len(expected.states)
            for a, b in zip(found.states, expected.states, strict=True):
                assert np.abs(b).max() > 0
                np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("kind", ["classifier", "language_model"])
def test_weights_move_to_a_plain_model_and_its_file(recurrent: ModuleType, kind: str,
                                                    tmp_path: Path) -> None:
    import keras

    fast, plain = (model(m, kind, None if kind == "classifier" else 6)
                   for m in (recurrent, keras.layers))
    losses(fast, kind, 5)
    strip = [[w.path.split("/", 1)[1] for w in m.weights] for m in (fast, plain)]
    assert strip[0] == strip[1]
    x, _ = next(batches(kind, 1))
    for trained in (fast, plain):
        for layer in trained.layers:
            if getattr(layer, "stateful", False):
                layer.reset_state()
    plain.set_weights(fast.get_weights())
    expected = fast.predict(x, verbose=0, batch_size=6)
    plain.save(tmp_path / "plain.keras")
    reloaded = keras.saving.load_model(tmp_path / "plain.keras")
    assert {type(layer).__module__.split(".")[0] for layer in reloaded.layers} == {"keras"}
    np.testing.assert_allclose(reloaded.predict(x, verbose=0, batch_size=6), expected, atol=1e-6)


def digest_after_training() -> str:
    keras = load_keras("tensorflow")
    from pipelines import recurrent

    make_reproducible(keras, 7)
    trained = model(recurrent, "classifier")
    losses(trained, "classifier", 20)
    return hashlib.sha256(b"".join(w.tobytes() for w in trained.get_weights())).hexdigest()


def python(code: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, cwd=PROJECT, env=os.environ | environment)


def test_two_processes_train_the_same_bits() -> None:
    code = "from tests.pipelines import test_recurrent as t; print(t.digest_after_training())"
    done = [process.communicate() for process in (python(code), python(code))]
    digests = [out.strip() for out, _ in done]
    assert len(digests[0]) == 64, done[0][1]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_lose_the_same(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    code = ("from tests.pipelines import test_recurrent as t; from pipelines import recurrent\n"
            "for kind in 'classifier', 'language_model': t.train_both(recurrent, kind, 20)")
    process = python(code, KERAS_BACKEND=backend)
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]
