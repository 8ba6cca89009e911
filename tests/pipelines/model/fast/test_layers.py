"""The fast layers against Keras's own: the same outputs, gradients, training and weights."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.keras_file import load_model
from pipelines.model.train_step import _exact
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

BATCH, TIME, FEATURES, UNITS = 5, 7, 3, 4
OPTIONS = [  # the last: whether first states are given
    ({}, False),
    ({"return_sequences": True}, True),
    ({"go_backwards": True, "return_state": True}, True),
    ({"return_sequences": True, "go_backwards": True, "return_state": True}, False),
    ({"return_sequences": True, "zero_output_for_mask": True}, False),
]
UNSUPPORTED = [
    {"activation": "relu"},
    {"recurrent_activation": "hard_sigmoid"},
    {"use_bias": False},
    {"unroll": True},
    {"dropout": 0.5},
    {"recurrent_dropout": 0.5},
    {"dtype": "float64"},
]


@pytest.fixture(scope="module")
def recurrent() -> ModuleType:
    load_keras("tensorflow")
    from pipelines.model.fast import layers as recurrent

    return recurrent


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


def a_mask() -> np.ndarray:
    """A full row, one of a single step, one of none, one that starts late and one with holes."""
    mask = np.random.default_rng(9).random((BATCH, TIME)) < 0.5
    mask[0], mask[1, 0], mask[1, 1:], mask[2], mask[3, :3] = True, True, False, False, False
    return mask


def outputs_and_gradients(layer: Any, x: Any, mask: Any, states: Any, scales: Any) -> list[Any]:
    """All outputs; the gradients, of their sum scaled, of inputs, first states and weights."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch([x, *states])
        found = layer(x, mask=mask, initial_state=list(states) or None, training=True)
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        total = sum(
            tf.reduce_sum(y * (scales if len(y.shape) == 3 else scales[:, i]))
            for i, y in enumerate(found)
        )
    variables = [variable.value for variable in layer.trainable_variables]
    return found + tape.gradient(total, [x, *states, *variables])


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.long), True])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", pytest.param("SimpleRNN", marks=pytest.mark.long)])
def test_outputs_and_gradients_are_those_of_keras(
    recurrent: ModuleType, cell: str, masked: bool
) -> None:
    import tensorflow as tf

    random = np.random.default_rng(3)
    x, scales, *states = (
        tf.constant(random.normal(size=shape).astype("float32"))
        for shape in [(BATCH, TIME, FEATURES), (BATCH, TIME, UNITS)] + [(BATCH, UNITS)] * 2
    )
    mask = tf.constant(a_mask()) if masked else None
    for options, with_states in OPTIONS:
        plain, fast = layers(recurrent, cell, UNITS, **options)
        given = states[: len(fast.state_size)] if with_states else []
        expected = outputs_and_gradients(plain, x, mask, given, scales)
        found = tf.function(outputs_and_gradients)(fast, x, mask, given, scales)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{options}")


@pytest.mark.parametrize("rows", [2 * FEATURES - 1, 2 * FEATURES])  # the second is too large
@pytest.mark.parametrize("cell", ["LSTM", "GRU", pytest.param("SimpleRNN", marks=pytest.mark.long)])
def test_a_small_table_is_multiplied_once_and_learns_the_same(
    recurrent: ModuleType, cell: str, rows: int
) -> None:
    import keras
    import tensorflow as tf

    random = np.random.default_rng(3)
    ids = tf.constant(random.integers(0, rows, (BATCH, TIME)))
    scales = tf.constant(random.normal(size=(BATCH, TIME, UNITS)).astype("float32"))
    embedding = keras.layers.Embedding(rows, FEATURES)
    embedding.build()

    def gradients(layer: Any, mask: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            found = layer(embedding(ids), mask=mask, training=True)
            total = tf.reduce_sum(found * scales)
        weights = [*embedding.trainable_variables, *layer.trainable_variables]
        return [
            tf.convert_to_tensor(one)
            for one in tape.gradient(total, [weight.value for weight in weights])
        ]

    for options, mask in (({}, None), ({"go_backwards": True}, tf.constant(a_mask()))):
        plain, fast = layers(recurrent, cell, UNITS, return_sequences=True, **options)
        traced = tf.function(gradients).get_concrete_function(fast, mask)
        assert (rows < 2 * FEATURES) == any(
            op.type == "OneHot" for op in traced.graph.get_operations()
        )
        for a, b in zip(
            traced(mask) if mask is not None else traced(), gradients(plain, mask), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"{options}")


def uses_the_written_gradient(layer: Any, x: Any, training: bool = True) -> bool:
    import tensorflow as tf

    traced = tf.function(lambda x: layer(x, training=training)).get_concrete_function(x)
    return any(op.type == "IdentityN" for op in traced.graph.get_operations())


@pytest.mark.parametrize("cell", ["LSTM", "GRU", pytest.param("SimpleRNN", marks=pytest.mark.long)])
def test_only_what_is_supported_leaves_keras(recurrent: ModuleType, cell: str) -> None:
    import keras

    x = np.random.default_rng(1).normal(size=(BATCH, TIME, FEATURES)).astype("float32")
    assert uses_the_written_gradient(layers(recurrent, cell, UNITS)[1], x)
    assert not uses_the_written_gradient(layers(recurrent, cell, UNITS)[1], x, training=False)
    unsupported = UNSUPPORTED + ([{"reset_after": False}] if cell == "GRU" else [])
    if cell == "SimpleRNN":  # which has no gates
        unsupported = [each for each in unsupported if "recurrent_activation" not in each]
    for options in unsupported:
        plain, fast = layers(recurrent, cell, UNITS, seed=2, **options)
        assert not uses_the_written_gradient(fast, x), options
        found = [keras.ops.convert_to_numpy(layer(x, training=True)) for layer in (plain, fast)]
        np.testing.assert_array_equal(*found)


def model(
    module: ModuleType, kind: str, batch: int | None = None, units: int = 5, **compile_options: Any
) -> Any:
    """A masked bidirectional classifier, or a language model of three layers that keep their state.

    Its layers come from `module`: keras.layers or pipelines.model.fast.layers.
    """
    import keras

    keras.utils.set_random_seed(7)
    tokens = keras.Input((None,), batch_size=batch, dtype="int32")
    x = keras.layers.Embedding(11, 6, mask_zero=kind == "classifier")(tokens)
    if kind == "classifier":
        x = keras.layers.Bidirectional(module.LSTM(units))(x)
    else:
        x = module.GRU(9, return_sequences=True, stateful=True)(x)
        x = module.LSTM(8, return_sequences=True, stateful=True)(x)
        x = module.SimpleRNN(7, return_sequences=True, stateful=True)(x)
    outputs = keras.layers.Dense(1 if kind == "classifier" else 11)(x)
    built = keras.Model(tokens, outputs)
    loss = (
        keras.losses.BinaryCrossentropy(from_logits=True)
        if kind == "classifier"
        else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    # Adam as training has it: Keras's own takes a token's gradients one by one.
    built.compile(_exact(keras.optimizers.Adam)(0.003), loss, **compile_options)
    return built


def batches(kind: str, count: int, rows: int = 6) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Right-padded rows, the shortest of one token, or unbroken text, in two widths by turns."""
    random = np.random.default_rng(13)
    for i in range(count):
        tokens = random.integers(1, 11, (rows, (13, 8)[i % 2]))
        if kind == "language_model":
            yield tokens[:, :-1], tokens[:, 1:]
            continue
        tokens = tokens[: rows - 2 * (i % 2)]  # the narrower batch is a smaller one too
        lengths = random.integers(1, tokens.shape[1] + 1, len(tokens))
        lengths[0], lengths[1] = 1, tokens.shape[1]
        tokens[np.arange(tokens.shape[1]) >= lengths[:, None]] = 0
        yield tokens, (tokens.sum(axis=1, keepdims=True) % 2).astype("float32")


def train_both(recurrent: ModuleType, kind: str, steps: int) -> tuple[Any, Any]:
    """Keras's model and the fast one, trained; the losses are compared at every step."""
    import keras

    plain, fast = (
        model(module, kind, None if kind == "classifier" else 6)
        for module in (keras.layers, recurrent)
    )
    expected, found = (
        [float(trained.train_on_batch(x, y)) for x, y in batches(kind, steps)]
        for trained in (plain, fast)
    )
    assert expected[-1] != expected[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    return plain, fast


def paths(built: Any) -> list[str]:
    return [re.sub(r"_\d+", "", weight.path) for weight in built.weights]


@pytest.mark.long
def test_a_classifier_trains_the_same_and_moves_to_a_plain_file(
    recurrent: ModuleType, tmp_path: Path
) -> None:
    import keras

    plain, fast = train_both(recurrent, "classifier", 100)
    assert paths(plain) == paths(fast)
    plain.set_weights(fast.get_weights())
    plain.save(tmp_path / "plain.keras")
    reloaded = load_model(tmp_path / "plain.keras")
    assert type(reloaded.layers[-2].forward_layer) is keras.layers.LSTM
    x, _ = next(batches("classifier", 1))
    np.testing.assert_allclose(
        reloaded.predict(x, verbose=0), fast.predict(x, verbose=0), atol=1e-6
    )


@pytest.mark.long
def test_a_language_model_trains_the_same_and_carries_its_state(recurrent: ModuleType) -> None:
    plain, fast = train_both(recurrent, "language_model", 100)
    assert paths(plain) == paths(fast)
    plain.set_weights(fast.get_weights())
    for expected, found in zip(plain.layers[2:4], fast.layers[2:4], strict=True):
        states = [state.numpy() for state in expected.states]
        assert min(np.abs(state).max() for state in states) > 0
        np.testing.assert_allclose(found.states, states, atol=1e-4)


@pytest.mark.long
def test_fit_compiled_as_one_program_loses_the_same(recurrent: ModuleType) -> None:
    import keras

    x, y = next(batches("classifier", 1))
    expected, found = (
        trained.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"]
        for trained in (
            model(keras.layers, "classifier", run_eagerly=True),
            model(recurrent, "classifier", jit_compile=True),
        )
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def digest_after_training() -> str:
    keras = load_keras("tensorflow")
    from pipelines.model.fast import layers as recurrent

    make_reproducible(keras)
    trained = model(recurrent, "classifier", units=64)  # large enough for products on two threads
    x, y = next(batches("classifier", 1, rows=64))
    for _ in range(20):
        trained.train_on_batch(x, y)
    return hashlib.sha256(b"".join(w.tobytes() for w in trained.get_weights())).hexdigest()


def python(code: str, **environment: str) -> str:
    """What `code` prints, run with this module as `t` in a process of its own."""
    code = f"from tests.pipelines.model.fast import test_layers as t\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.mark.long
def test_two_processes_train_the_same_bits(recurrent: ModuleType) -> None:
    assert python("print(t.digest_after_training())") == digest_after_training()


@pytest.mark.long
def test_jax_loses_the_same() -> None:
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    python(
        "from pipelines.model.fast import layers\n"
        "for kind in 'classifier', 'language_model': t.train_both(layers, kind, 20)",
        KERAS_BACKEND="jax",
    )
