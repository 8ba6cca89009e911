"""Dropout by place, weight decay, averaged weights, smoothed labels and learning rates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import DropoutSpec, ModelSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.network import build_model, copy_weights
from pipelines.model.softmax.sampled import draw
from pipelines.model.train_step import compiled, learning_rate
from pipelines.model.trainer import Trainer
from pipelines.store.artifacts import Workspace
from tests.conftest import artifact_in
from tests.pipelines.model.test_stage import WRITER, batches

pytestmark = pytest.mark.slow

__all__ = ["batches"]
BATCH, WIDTH, VOCABULARY = 3, 5, 40
DROPOUT = DropoutSpec(word=0.3, embedding=0.4, recurrent=0.2, between=0.3, output=0.3, dense=0.2)
TIED = ModelSpec(
    kind="language_model",
    cell="gru",
    embedding=6,
    units=(5, 5),
    dropout=DROPOUT,
    tie_embeddings=True,
    residual=True,
)
EVERYTHING = TrainingSpec(
    schedule="one_cycle", weight_decay=0.5, average=0.6, label_smoothing=0.1, clip_norm=1.0
)


def a_batch(kind: str = "language_model") -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    tokens = random.integers(2, VOCABULARY, (BATCH, WIDTH)).astype(np.int32)
    x = {"tokens": tokens, "length": np.full(BATCH, WIDTH, np.int32)}
    if kind == "classifier":
        return x, (tokens[:, :1] % 2).astype(np.float32), np.array([1, 0, 1], np.float32)
    weight = (np.arange(WIDTH) < [[1], [WIDTH], [3]]).astype(np.float32)
    return x, tokens[:, ::-1].copy(), weight


def trained(spec: ModelSpec, training: TrainingSpec, steps: int = 1) -> tuple[Any, list[float]]:
    make_reproducible(load_keras("tensorflow"))
    model = build_model(spec, VOCABULARY, BATCH, seed=3)
    step, batch = compiled(model, spec.kind, training), a_batch(spec.kind)
    return model, [step(*batch) for _ in range(steps)]


def layer_outputs(model: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A layer's inputs and outputs in training (batch, time, features)."""
    import keras

    layer = model.get_layer(name)
    both = keras.Model(model.input, [layer.input, layer.output])(a_batch()[0], training=True)
    return np.asarray(both[0]), np.asarray(both[1])


def test_a_word_is_dropped_whole_and_channels_for_all_tokens_of_a_row() -> None:
    make_reproducible(load_keras("tensorflow"))
    model = build_model(TIED, VOCABULARY, BATCH, seed=3)
    before, after = layer_outputs(model, "dropout_word")
    kept = after != 0
    assert (kept == kept[..., :1]).all() and 0 < kept.mean() < 1
    np.testing.assert_allclose(after[kept], before[kept] / 0.7, rtol=1e-6)
    words = ~kept[..., 0]
    for name, rate in (("embedding", 0.4), ("0", 0.3), ("1", 0.3)):
        before, after = layer_outputs(model, f"dropout_{name}")
        gone = (after == 0) & (before != 0)
        there = (before != 0).any(axis=2)[..., None]
        assert (gone == gone.any(axis=1, keepdims=True) & there).all() and gone.any(), name
        assert not gone.all(axis=2)[~words].all(), name
        alive = (before != 0) & ~gone
        np.testing.assert_allclose(after[alive], before[alive] / (1 - rate), rtol=1e-6)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "SimpleRNN"])
def test_dropped_recurrent_weights_keep_the_written_gradient(cell: str) -> None:
    """In a graph by the fast scan, outside by Keras's: equal to weights dropped beforehand."""
    keras = load_keras("tensorflow")
    import tensorflow as tf

    from pipelines.model.fast import layers

    x = tf.constant(np.random.default_rng(1).normal(size=(BATCH, WIDTH, 4)).astype(np.float32))

    def gradients(layer: Any, x: Any, training: bool = True) -> list[Any]:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(x, training=training) ** 2)
        return [total, *tape.gradient(total, [each.value for each in layer.trainable_variables])]

    rate, kind = 0.4, getattr(layers, cell)
    fast, eager, plain = (kind(5, seed=7, weight_dropout=share) for share in (rate, rate, 0.0))
    for layer in (fast, eager, plain):
        layer.build(x.shape)
        layer.set_weights([np.cos(np.arange(w.size).reshape(w.shape)) for w in layer.get_weights()])
    traced = tf.function(lambda x: gradients(fast, x)).get_concrete_function(x)
    assert any(op.type == "IdentityN" for op in traced.graph.get_operations())
    found, again, expected = traced(x), traced(x), gradients(eager, x)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert abs(found[0] - again[0]) > 1e-3  # other weights in the next step
    np.testing.assert_array_equal(gradients(fast, x, False)[0], gradients(plain, x)[0])
    own = plain.cell.recurrent_kernel
    dropped = keras.random.dropout(own, rate, seed=keras.random.SeedGenerator(7))
    assert 0 < np.mean(np.asarray(dropped) == 0) < 1
    own.assign(dropped)
    np.testing.assert_allclose(found[0], gradients(plain, x)[0], rtol=1e-5)


def test_both_directions_drop_recurrent_weights() -> None:
    make_reproducible(load_keras("tensorflow"))
    spec = ModelSpec(kind="classifier", bidirectional=True, units=(5, 4), dropout=DROPOUT, dense=3)
    both = build_model(spec, VOCABULARY, BATCH).get_layer("both_directions_0")
    assert both.forward_layer.weight_dropout == both.backward_layer.weight_dropout == 0.2
    assert both.forward_layer.cell.seed != both.backward_layer.cell.seed


@pytest.mark.parametrize("kind", ["classifier", "language_model"])
def test_smoothed_targets_are_spread_over_all(kind: str) -> None:
    spec = ModelSpec(kind=kind, cell="simple", embedding=4, units=(3,))
    make_reproducible(load_keras("tensorflow"))
    model = build_model(spec, VOCABULARY, BATCH, seed=3)
    head = model.get_layer("logit" if kind == "classifier" else "logits")
    head.kernel.assign(head.kernel * 9)
    x, y, weight = a_batch(kind)
    z = np.asarray(model(x), np.float64)

    def wanted(share: float) -> float:
        if kind == "classifier":
            target = y * (1 - share) + share / 2
            nats = (np.logaddexp(0, z) - target * z)[:, 0]
        else:
            target = np.eye(VOCABULARY)[y] * (1 - share) + share / VOCABULARY
            nats = np.log(np.exp(z).sum(axis=-1)) - (target * z).sum(axis=-1)
        return (nats * weight).sum() / weight.sum()

    loss = compiled(model, kind, TrainingSpec(label_smoothing=0.3))(x, y, weight)
    assert loss == pytest.approx(wanted(0.3), rel=1e-5)
    assert loss != pytest.approx(wanted(0), rel=1e-3)


def test_decay_shrinks_all_but_biases() -> None:
    rate, decay = 0.1, 0.5
    spec = TIED.model_copy(
        update={
            "dropout": 0.0,
            "cell": "peephole",
            "units": (5,),
            "residual": False,
            "layer_norm": True,
        }
    )
    sgd = TrainingSpec(optimizer="sgd", learning_rate=rate)
    make_reproducible(load_keras("tensorflow"))
    before = [
        np.array(each) for each in build_model(spec, VOCABULARY, BATCH, 3).trainable_variables
    ]
    plain, _ = trained(spec, sgd)
    decayed, _ = trained(spec, sgd.model_copy(update={"weight_decay": decay}))
    kept = set()
    for start, a, b in zip(
        before, plain.trainable_variables, decayed.trainable_variables, strict=True
    ):
        lost = np.asarray(a) - np.asarray(b)
        if a.path.endswith(("bias", "peephole", "gamma", "beta", "logits/embeddings")):
            kept.add(a.path.rpartition("/")[2])
            np.testing.assert_array_equal(lost, 0)
        else:
            np.testing.assert_allclose(lost, rate * decay * start, atol=1e-6)
            assert abs(lost).max() > 1e-3
    assert kept == {"bias", "peephole", "gamma", "beta", "embeddings"}


@pytest.mark.long
def test_the_step_written_out_takes_every_option_too() -> None:
    (a, fit), (b, custom) = (
        trained(TIED, EVERYTHING.model_copy(update={"loop": loop}), 3) for loop in ("fit", "custom")
    )
    np.testing.assert_allclose(fit, custom, rtol=1e-6)
    for one, other in zip(a.optimizer.variables, b.optimizer.variables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_the_saved_weights_are_the_averaged_ones(tmp_path: Path, batches: dict[str, Path]) -> None:
    training = TrainingSpec(
        epochs=2, learning_rate=0.01, average=0.6, schedule="linear", warmup=0.25
    )
    artifact = artifact_in(batches["language_model"])
    train, validation = Split(artifact, "train"), Split(artifact, "validation")
    make_reproducible(load_keras("tensorflow"))
    work = Workspace(tmp_path, tmp_path, tmp_path, lambda *_: None)
    trainer = Trainer(WRITER, training, 5, train, validation, work)
    step, rates, averages, epochs = trainer.train_step, [], [], {}

    def recorded(*batch: Any) -> float:
        rates.append(float(trainer.model.optimizer.learning_rate))
        loss = step(*batch)
        now = [np.array(each, np.float64) for each in trainer.model.trainable_variables]
        averages[:] = [0.6 * old + 0.4 * new for old, new in zip(averages or now, now, strict=True)]
        epochs[trainer.position.epoch] = [*averages], now
        return loss

    trainer.train_step = recorded
    trainer.run()
    count = 2 * train.batch_count
    wanted = [learning_rate(training, n, count) for n in range(count)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-6)
    mean, last = epochs[trainer.position.best_epoch - 1]
    saved = [np.asarray(each) for each in trainer.best_model().trainable_variables]
    for a, b in zip(saved, mean, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert max(abs(a - b).max() for a, b in zip(saved, last, strict=True)) > 1e-4


@pytest.mark.parametrize(
    ("schedule", "warmup", "shares"),
    [
        ("constant", None, {0: 1, 50: 1, 99: 1}),
        ("constant", 0.1, {0: 0.1, 4: 0.5, 9: 1, 99: 1}),
        ("linear", None, {0: 1, 25: 0.75, 99: 0.01}),
        ("linear", 0.2, {0: 0.05, 19: 1, 20: 1, 60: 0.5, 99: 1 / 80}),
        ("cosine", None, {0: 1, 25: (1 + 0.5**0.5) / 2, 50: 0.5, 99: 0.0002467}),
        ("one_cycle", None, {14: 0.52, 29: 1, 30: 1, 65: 0.5, 99: 0.0005035}),
        ("one_cycle", 0.0, {0: 1, 50: 0.5}),
    ],
)
def test_learning_rates(schedule: Any, warmup: float | None, shares: dict[int, float]) -> None:
    training = TrainingSpec(schedule=schedule, warmup=warmup, learning_rate=0.5)
    for step, share in shares.items():
        assert learning_rate(training, step, 100) == pytest.approx(0.5 * share, rel=1e-3), step
    rates = [learning_rate(training, step, 7) for step in range(7)]
    assert all(0 < rate <= 0.5 for rate in rates)


def test_without_options_the_optimizer_is_the_plain_one() -> None:
    keras = load_keras("tensorflow")
    model = build_model(WRITER, VOCABULARY, BATCH)
    compiled(model, WRITER.kind, TrainingSpec())
    plain = keras.optimizers.Adam(0.001)
    plain.build(model.trainable_variables)
    options = ("weight_decay", "use_ema", "clipnorm", "global_clipnorm", "learning_rate")
    ours, theirs = model.optimizer.get_config(), plain.get_config()
    assert [ours[one] for one in options] == [theirs[one] for one in options]
    assert len(model.optimizer.variables) == len(plain.variables)


def sampled_batch(seed: int, step: int, candidates: int) -> tuple[Any, np.ndarray, np.ndarray]:
    x, y, weight = a_batch()
    drawn = draw(seed, step, 0, (BATCH, candidates // BATCH), VOCABULARY)
    return x | {"targets": y, "candidates": drawn}, np.zeros_like(y), weight


def test_candidates_depend_on_seed_and_step_and_follow_the_ranks() -> None:
    drawn = draw(1, 5, 0, (64, 500), 1000)
    assert (drawn == draw(1, 5, 0, (64, 500), 1000)).all()
    for other in (draw(2, 5, 0, (64, 500), 1000), draw(1, 6, 0, (64, 500), 1000)):
        assert (drawn != other).any()
    share = np.bincount(drawn.ravel(), minlength=1000) / drawn.size
    expected = np.log1p(1 / np.arange(1, 1001)) / np.log(1001)
    assert share[:20] == pytest.approx(expected[:20], rel=0.2)


@pytest.mark.parametrize("units", [(6,), (5,)], ids=["as wide", "projected"])
def test_sampled_logits_are_those_of_the_whole_softmax_less_their_expectation(
    units: tuple[int, ...],
) -> None:
    make_reproducible(load_keras("tensorflow"))
    spec = TIED.model_copy(update={"units": units, "residual": False, "dropout": 0.0})
    plain = build_model(spec, VOCABULARY, seed=3)
    model = build_model(spec, VOCABULARY, BATCH, seed=3, returns="sampled")
    for number, weight in enumerate(plain.trainable_variables):
        weight.assign(np.random.default_rng(number).normal(size=weight.shape))
    copy_weights(plain, model)
    x, _, _ = sampled_batch(3, 0, 30)
    read = {name: x[name] for name in ("tokens", "length")}
    whole = np.array(plain({**read, "state_0": np.zeros((BATCH, units[0]), np.float32)})["logits"])
    drawn, targets = x["candidates"].ravel(), x["targets"]
    expected = np.log(30 * np.log1p(1 / np.arange(1, VOCABULARY + 1)) / np.log(VOCABULARY + 1))
    logits = np.array(model(x))
    own = np.take_along_axis(whole, targets[..., None], 2)[..., 0] - expected[targets]
    assert logits[..., 0] == pytest.approx(own, abs=1e-4)
    others = np.where(targets[..., None] == drawn, -1e9, whole[..., drawn] - expected[drawn])
    assert logits[..., 1:] == pytest.approx(others, abs=1e-4)


def test_a_sampled_softmax_learns_what_the_whole_one_learns() -> None:
    make_reproducible(load_keras("tensorflow"))
    spec = TIED.model_copy(
        update={"embedding": 16, "units": (16,), "residual": False, "dropout": 0.0}
    )
    model = build_model(spec, VOCABULARY, BATCH, seed=3, returns="sampled")
    step = compiled(model, spec.kind, TrainingSpec(learning_rate=0.02, sampled_softmax=12))
    for number in range(300):
        step(*sampled_batch(3, number, 12))
    plain = build_model(spec, VOCABULARY, seed=3)
    copy_weights(model, plain)
    x, y, weight = a_batch()
    logits = np.array(plain({**x, "state_0": np.zeros((BATCH, 16), np.float32)})["logits"])
    nats = np.log(np.exp(logits).sum(2)) - np.take_along_axis(logits, y[..., None], 2)[..., 0]
    # Two rows begin alike, so the whole softmax does not get below 0.15 either.
    assert nats[weight > 0].mean() < 0.3
