"""The loss in blocks of tokens: equal to Keras's, and the same bits after a kill."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.network import build_model
from pipelines.model.softmax import blocks as in_blocks
from pipelines.model.softmax.output import returned
from pipelines.model.train_step import compiled
from tests.forked import exit_code
from tests.pipelines.model.test_killed import train_until
from tests.pipelines.model.test_stage import TRAINING, WRITER, batches, train

pytestmark = pytest.mark.slow

__all__ = ["batches"]
BATCH, WIDTH, VOCABULARY = 3, 5, 40
TIED = WRITER.model_copy(update={"units": (5,), "tie_embeddings": True, "dropout": 0.3})
LENGTH = np.array([1, WIDTH, 3], np.int32)  # 9 tokens


def steps(spec: ModelSpec, training: TrainingSpec, returns: Any) -> tuple[list[float], list[Any]]:
    """The losses of some steps, and the weights after them with their names."""
    make_reproducible(load_keras("tensorflow"))
    model = build_model(spec, VOCABULARY, BATCH, seed=3, returns=returns)
    step = compiled(model, spec.kind, training)
    both = np.random.default_rng(2).integers(1, VOCABULARY, (2, BATCH, WIDTH)).astype(np.int32)
    weight = (np.arange(WIDTH) < LENGTH[:, None]).astype(np.float32)
    x, targets = {"tokens": both[0], "length": LENGTH}, both[1]
    if returns == "loss":
        x |= {"targets": targets, "weight": weight}
    losses = [step(x, targets, weight) for _ in range(8)]
    return losses, [(each.path, each.numpy()) for each in model.trainable_variables]


@pytest.mark.parametrize(
    ("spec", "loop"),
    [
        (WRITER, "fit"),
        (TIED, "custom"),
        pytest.param(WRITER, "custom", marks=pytest.mark.long),
        pytest.param(TIED, "fit", marks=pytest.mark.long),
    ],
    ids=["own weights, fit", "tied, custom", "own weights, custom", "tied, fit"],
)
def test_steps_in_blocks_are_those_of_keras(
    monkeypatch: pytest.MonkeyPatch, spec: ModelSpec, loop: Any
) -> None:
    monkeypatch.setattr(in_blocks, "BLOCK", 4)
    training = TrainingSpec(loop=loop, learning_rate=0.01, clip_norm=0.1, weight_decay=0.1)
    (found, weights), (expected, theirs) = (
        steps(spec, training, returns) for returns in ("loss", "logits")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert expected[-1] < 0.98 * expected[0]  # and they have learned
    for (name, weight), (other, its) in zip(weights, theirs, strict=True):
        assert name == other
        np.testing.assert_allclose(weight, its, atol=2e-5, err_msg=name)


def test_tokens_count_by_their_weight() -> None:
    """Also where weights are neither 0 nor 1."""
    load_keras("tensorflow")
    import tensorflow as tf

    random = np.random.default_rng(1)
    shapes = (BATCH, WIDTH, 6), (6, VOCABULARY), (VOCABULARY,)
    inputs = [tf.constant(random.normal(size=shape), tf.float32) for shape in shapes]
    targets = random.integers(0, VOCABULARY, (BATCH, WIDTH))
    weight = random.choice([0, 0.5, 2], (BATCH, WIDTH)).astype(np.float32)

    def gradients(loss_of: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = 3 * loss_of(*inputs)
        return [loss, *tape.gradient(loss, inputs)]

    def plain(x: Any, kernel: Any, bias: Any) -> Any:
        nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, x @ kernel + bias)
        return tf.reduce_sum(nats * weight) / weight.sum()

    found = gradients(lambda *given: in_blocks.mean_nats(*given, targets, weight)[0, 0])
    for ours, theirs in zip(found, gradients(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def test_only_a_large_softmax_of_a_language_model_is_taken_in_blocks() -> None:
    load_keras("tensorflow")
    large, plain = in_blocks.SMALLEST, TrainingSpec()
    assert returned(WRITER, plain, large) == "loss"
    assert returned(WRITER, plain, large - 1) == "logits"
    smooth = plain.model_copy(update={"label_smoothing": 0.1})
    assert returned(WRITER, smooth, large) == "logits"
    drawn = plain.model_copy(update={"sampled_softmax": 16})
    assert returned(TIED, drawn, large) == "sampled"
    own = WRITER.model_copy(update={"builder": "mine:network"})
    assert returned(own, plain, large) == "logits"


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(in_blocks, "SMALLEST", 2)
    patch.setattr(in_blocks, "BLOCK", 4)


def train_in_small_blocks_until(*given: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:  # in a process of its own
        small_blocks(patch)
        train_until(*given)


@pytest.mark.long
@pytest.mark.usefixtures("drawing")
def test_a_killed_training_ends_with_the_same_bits(
    tmp_path: Path, batches: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    given = batches["language_model"], TIED, TRAINING
    train(tmp_path / "whole", *given)
    log = tmp_path / "log"
    code = exit_code(log, train_in_small_blocks_until, 8, tmp_path / "killed", *given)
    assert code == -signal.SIGKILL, log.read_text()
    assert train(tmp_path / "killed", *given)["resumed"]
    model = (tmp_path / "killed" / "out" / "model.keras").read_bytes()
    assert model == (tmp_path / "whole" / "out" / "model.keras").read_bytes()
