"""Training steps against the network, loss and update rule written out plainly."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.network import build_model, copy_weights, state_names
from pipelines.model.train_step import compiled
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

BATCH, WIDTH, VOCABULARY = 3, 5, 7
SPEC = ModelSpec(kind="language_model", cell="gru", embedding=4, units=(6,))
CLASSIFIER = ModelSpec(
    kind="classifier", cell="lstm", bidirectional=True, embedding=4, units=(5,), dense=6
)
WRITER = ModelSpec(kind="language_model", cell="gru", embedding=4, units=(6, 5))
STEPS, RATE = 100, 0.01


@pytest.mark.parametrize("loop", ["fit", "custom"])
def test_a_token_that_stands_often_in_a_batch_moves_as_adam_says(loop: str) -> None:
    """Kingma and Ba 2015: a first step moves each weight by the learning rate, whatever the
    gradient, so also the vector of a token that was looked up several times."""
    keras = load_keras("tensorflow")
    make_reproducible(keras)
    model = build_model(SPEC, VOCABULARY, training_batch=BATCH)
    step = compiled(model, SPEC.kind, TrainingSpec(learning_rate=0.01, loop=loop))
    tokens = np.array([[1, 1, 1, 1, 2], [1, 1, 2, 3, 1], [1, 1, 1, 1, 1]], np.int32)
    before = np.array(model.get_layer("embedding").embeddings)
    step(
        {"tokens": tokens, "length": np.full(BATCH, WIDTH, np.int32)},
        tokens[:, ::-1],
        np.ones((BATCH, WIDTH), np.float32),
    )
    moved = np.abs(np.array(model.get_layer("embedding").embeddings) - before)
    np.testing.assert_allclose(moved[1:4], 0.01, rtol=0.02)  # epsilon shortens it a little
    assert not moved[[0, 4, 5, 6]].any()


def a_batch(spec: ModelSpec, number: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Right-padded rows, the shortest of one token, and a weight of 0 among them."""
    random = np.random.default_rng([7, number])
    tokens = random.integers(1, VOCABULARY, (BATCH, WIDTH)).astype(np.int32)
    length = np.array([1, WIDTH, random.integers(1, WIDTH + 1)], np.int32)
    real = np.arange(WIDTH) < length[:, None]
    x = {"tokens": tokens * real, "length": length}
    if spec.kind == "classifier":
        return x, (tokens[:, :1] % 2).astype(np.float32), np.array([1, 1, number % 2], np.float32)
    return x, (VOCABULARY - tokens) * real, real.astype(np.float32)


def plain_step(spec: ModelSpec, model: Any) -> Callable[..., float]:
    """Keras's own layers, the loss written out, and Adam as Kingma and Ba (2015) give it."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def gradients(x: Any, y: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            if spec.kind == "classifier":
                nats = tf.nn.sigmoid_cross_entropy_with_logits(y, model(x))[:, 0]
            else:
                zero = {
                    name: tf.zeros((BATCH, spec.units[i]))
                    for i, name in enumerate(state_names(spec))
                }
                nats = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x | zero)["logits"])
            loss = tf.reduce_sum(nats * weight) / tf.reduce_sum(weight)
        found = tape.gradient(loss, [each.value for each in model.trainable_variables])
        return loss, [tf.convert_to_tensor(each) for each in found]

    means = [[np.zeros(each.shape) for each in model.trainable_variables] for _ in range(2)]
    count = itertools.count(1)

    def step(x: dict[str, np.ndarray], y: np.ndarray, weight: np.ndarray) -> float:
        loss, found = gradients({k: tf.constant(v) for k, v in x.items()}, y, weight)
        t = next(count)
        for variable, gradient, m, v in zip(model.trainable_variables, found, *means, strict=True):
            m += 0.1 * (gradient.numpy() - m)
            v += 0.001 * (gradient.numpy() ** 2 - v)
            rate = RATE * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            variable.assign(variable.numpy() - rate * m / (np.sqrt(v) + 1e-7))
        return float(loss)

    return step


@pytest.mark.parametrize("loop", ["fit", pytest.param("custom", marks=pytest.mark.long)])
@pytest.mark.parametrize(
    "spec", [pytest.param(CLASSIFIER, marks=pytest.mark.long), WRITER], ids=lambda spec: spec.kind
)
def test_a_hundred_steps_lose_what_plain_steps_lose(spec: ModelSpec, loop: str) -> None:
    keras = load_keras("tensorflow")
    make_reproducible(keras)
    trained, plain = build_model(spec, VOCABULARY, BATCH), build_model(spec, VOCABULARY)
    copy_weights(trained, plain)
    step = compiled(trained, spec.kind, TrainingSpec(learning_rate=RATE, loop=loop))
    reference, losses = plain_step(spec, plain), []
    for number in range(STEPS):
        batch = a_batch(spec, number)
        losses.append((step(*batch), reference(*batch)))
    found, expected = np.transpose(losses)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert expected[-10:].mean() < 0.9 * expected[:10].mean()  # and it has learned


JAX = """
import numpy as np
from tests.pipelines.model import test_train_step as t
t.load_keras("jax")
model = t.build_model(t.CLASSIFIER, t.VOCABULARY, t.BATCH)
step = t.compiled(model, "classifier", t.TrainingSpec(learning_rate=t.RATE))
assert np.isfinite(step(*t.a_batch(t.CLASSIFIER, 1)))
assert model.jit_compile
"""


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_jax_runs_the_step_as_one_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", JAX],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
