"""Perturbed embedding vectors: their direction and norm, and the step that trains on them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import DropoutSpec, ModelSpec
from pipelines.declaration.training_section import AdversarialSpec, TrainingSpec
from pipelines.model.adversarial import AdversarialStep
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.network import build_model, copy_weights
from pipelines.model.train_step import compiled
from pipelines.model.trainer import Trainer
from pipelines.store.artifacts import Workspace
from tests.conftest import artifact_in
from tests.pipelines.model.test_stage import batches

pytestmark = pytest.mark.slow

__all__ = ["batches"]
VOCABULARY, WIDTH = 40, 6
LENGTH = np.array([6, 1, 4, 3, 2], np.int32)
PLAIN = ModelSpec(kind="classifier", cell="lstm", embedding=5, units=(4,), pool="all")
Vectors = np.ndarray


def rows(seed: int = 2, vocabulary: int = VOCABULARY) -> tuple[dict[str, Any], np.ndarray]:
    """Tokens, lengths and weights, the last of which is 0, and labels."""
    random = np.random.default_rng(seed)
    tokens = random.integers(2, vocabulary, (len(LENGTH), WIDTH)).astype(np.int32)
    weight = np.array([1, 1, 1, 1, 0], np.float32)
    labels = random.integers(0, 2, (len(LENGTH), 1)).astype(np.float32)
    return {"tokens": tokens, "length": LENGTH, "weight": weight}, labels


class Recorded:
    """A step, the perturbations of its last call, and Keras's own network with its weights."""

    def __init__(
        self,
        adversarial: AdversarialSpec,
        spec: ModelSpec = PLAIN,
        vocabulary: int = VOCABULARY,
        **training: Any,
    ) -> None:
        keras = load_keras("tensorflow")
        make_reproducible(keras)
        self.model = build_model(spec, vocabulary, len(LENGTH), seed=3)
        self.plain = build_model(spec, vocabulary, seed=3)
        embedded = self.plain.get_layer("embedding").output
        self.rest = keras.Model([embedded, *self.plain.input.values()], self.plain.output)
        head = self.model.get_layer("logit")
        head.kernel.assign(head.kernel * 9)  # else all predictions are alike
        copy_weights(self.model, self.plain)
        rate = {"optimizer": "sgd", "learning_rate": 1e-30} | training
        options = TrainingSpec(loop="custom", adversarial=adversarial, **rate)
        self.step = compiled(self.model, "classifier", options)
        assert isinstance(self.step, AdversarialStep)
        self._record(self.step)

    def _record(self, step: AdversarialStep) -> None:
        import tensorflow as tf

        kept = [tf.Variable(0.0, shape=tf.TensorShape(None)) for _ in range(2)]
        made, unused = step.perturbation, iter(kept)
        self.kept = kept

        def perturbation(*given: Any) -> Any:
            found = made(*given)
            next(unused).assign(found)
            return found

        step.perturbation = perturbation

    def __call__(self, batch: dict[str, Any], labels: np.ndarray, *unlabelled: Any) -> float:
        x = {name: batch[name] for name in ("tokens", "length")}
        return self.step(x, labels, batch["weight"], *unlabelled)

    def moved(self, number: int = 0) -> Vectors:
        return self.kept[number].numpy()

    def vectors(self, batch: dict[str, Any]) -> Vectors:
        return np.asarray(self.plain.get_layer("embedding")(batch["tokens"]))

    def logits(self, batch: dict[str, Any], vectors: Any) -> Any:
        """Of the plain network, from embedding vectors."""
        import tensorflow as tf

        x = [tf.convert_to_tensor(batch[name]) for name in ("tokens", "length")]
        return self.rest([tf.convert_to_tensor(vectors), *x])[:, 0]


def gradient_of(function: Any, at: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    at = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(at)
        total = tf.reduce_sum(function(at))
    return tape.gradient(total, at).numpy()


def nats(logits: Any, labels: np.ndarray) -> Any:
    import tensorflow as tf

    return tf.nn.sigmoid_cross_entropy_with_logits(labels[:, 0], logits)


def divergence(before: Any, after: Any) -> np.ndarray:
    """Kullback-Leibler, in float64."""
    z, other = np.asarray(before, np.float64), np.asarray(after, np.float64)
    p, q = 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-other))
    return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))


def lengths_of(vectors: Vectors) -> np.ndarray:
    return np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=(1, 2)))


@pytest.mark.parametrize(
    ("cell", "changes", "vocabulary"),
    [
        ("lstm", {"pool": "last"}, VOCABULARY),
        # Fast layers would look through a table as small as this.
        pytest.param("gru", {"bidirectional": True}, 8, marks=pytest.mark.long),
        pytest.param("simple", {"pool": "last"}, 8, marks=pytest.mark.long),
        pytest.param("peephole", {"bidirectional": True}, VOCABULARY, marks=pytest.mark.long),
    ],
)
def test_each_row_is_moved_along_its_gradient_by_the_norm_and_padding_is_not(
    cell: str, changes: dict[str, Any], vocabulary: int
) -> None:
    spec = PLAIN.model_copy(update={"cell": cell} | changes)
    norm = 0.3
    own = Recorded(AdversarialSpec(kind="adversarial", norm=norm), spec, vocabulary)
    batch, labels = rows(vocabulary=vocabulary)
    loss, vectors = own(batch, labels), own.vectors(batch)
    real = np.arange(WIDTH) < LENGTH[:, None]
    counted = vectors[real & (batch["weight"] > 0)[:, None]]
    wanted = norm * np.sqrt(counted.var(axis=0).mean())
    found = own.moved()
    np.testing.assert_allclose(lengths_of(found)[:4], wanted, rtol=1e-4)
    assert not found[~real].any() and not found[4].any()  # the last row has no weight
    along = gradient_of(lambda v: nats(own.logits(batch, v), labels), vectors)
    towards = along * (wanted / lengths_of(along))[:, None, None]
    np.testing.assert_allclose(found[:4], towards[:4], atol=2e-3 * wanted)
    before, after = (nats(own.logits(batch, v), labels)[:4] for v in (vectors, vectors + found))
    assert (after.numpy() > before.numpy()).all()
    assert loss == pytest.approx(float((before + after).numpy().mean()), rel=1e-5)


def test_virtual_moves_to_where_the_prediction_changes_most() -> None:
    """The paper's power iteration ends on the same line, from any start."""
    import tensorflow as tf

    own = Recorded(AdversarialSpec(kind="virtual", norm=3.0))
    (batch, labels), (other, _) = rows(), rows(seed=5)
    total, kept = own(batch, labels, other), batch["weight"] > 0
    divergences = []
    for number, each in enumerate((batch, other)):
        vectors, found = own.vectors(each), own.moved(number)
        z = own.logits(each, vectors)
        start = np.random.default_rng(number).normal(size=found.shape).astype(np.float32)
        start *= (np.arange(WIDTH) < LENGTH[:, None])[..., None]
        start *= (lengths_of(found) / lengths_of(start))[:, None, None].astype(np.float32)

        def changed(at: Any, z: Any = z, each: Any = each) -> Any:
            after = own.logits(each, at)
            return tf.nn.softplus(after) - tf.sigmoid(z) * after

        iterated = gradient_of(changed, vectors + 0.01 * start)
        product = (iterated * found).sum(axis=(1, 2))[kept]
        assert (abs(product) > 0.99 * (lengths_of(iterated) * lengths_of(found))[kept]).all()
        towards = np.sign(z) * (own.logits(each, vectors + found) - z)
        assert (np.asarray(towards)[kept] < 0).all()  # the other class
        worst, anywhere = (
            divergence(z, own.logits(each, vectors + way))[kept] for way in (found, start)
        )
        assert (worst > anywhere).all()
        divergences.append(worst)
    plain = nats(own.logits(batch, own.vectors(batch)), labels).numpy()[kept].mean()
    assert total == pytest.approx(plain + np.concatenate(divergences).mean(), rel=1e-4)


@pytest.mark.parametrize("kind", ["adversarial", pytest.param("virtual", marks=pytest.mark.long)])
def test_the_update_follows_the_gradient_of_both_losses(kind: str) -> None:
    """One step of SGD, against TensorFlow's gradient of the whole loss through Keras's layers."""
    import tensorflow as tf

    weight, rate = 0.7, 0.1
    spec = AdversarialSpec(kind=kind, norm=3.0, weight=weight)
    own = Recorded(spec, PLAIN.model_copy(update={"dense": 3}), learning_rate=rate)
    (batch, labels), (other, _) = rows(), rows(seed=5)
    given = [batch] if kind == "adversarial" else [batch, other]
    own(batch, labels, *given[1:])
    table, kept = own.plain.get_layer("embedding"), batch["weight"] > 0
    before = [tf.constant(own.logits(each, own.vectors(each))) for each in given]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(nats(own.logits(batch, table(batch["tokens"])), labels)[kept])
        after = [
            own.logits(each, table(each["tokens"]) + own.moved(number))
            for number, each in enumerate(given)
        ]
        if kind == "adversarial":
            loss += weight * tf.reduce_mean(nats(after[0], labels)[kept])
        for z, moved in zip(before, after if kind == "virtual" else (), strict=False):
            moved = tf.nn.softplus(moved) - tf.sigmoid(z) * moved
            loss += weight * tf.reduce_mean(moved[kept]) / 2
    trained = own.plain.trainable_variables
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, trained)]
    assert [v.shape for v in trained] == [v.shape for v in own.model.trainable_variables]
    for start, gradient, now in zip(trained, gradients, own.model.trainable_variables, strict=True):
        wanted = np.asarray(gradient) * -rate
        np.testing.assert_allclose(np.asarray(now) - np.asarray(start), wanted, atol=1e-6)
        assert abs(wanted).max() > 1e-5, now.path


def test_both_passes_drop_the_same_and_each_step_something_else() -> None:
    """Moved by hardly anything, a batch has the same loss twice."""
    dropout = DropoutSpec(word=0.2, embedding=0.3, recurrent=0.3, output=0.3, dense=0.3)
    spec = PLAIN.model_copy(update={"dense": 6, "dropout": dropout})
    (batch, labels), losses = rows(), {}
    for weight in (1e-6, 1.0):
        own = Recorded(AdversarialSpec(kind="adversarial", norm=1e-6, weight=weight), spec)
        losses[weight] = np.array([own(batch, labels) for _ in range(3)])
    np.testing.assert_allclose(losses[1.0], 2 * losses[1e-6], rtol=1e-4)
    assert len({round(loss, 3) for loss in losses[1.0]}) == 3


def test_unlabelled_batches_come_round_again_from_the_position_on(
    tmp_path: Path, batches: dict[str, Path]
) -> None:
    artifact = artifact_in(batches["half"])
    train, validation, more = (
        Split(artifact, name) for name in ("train", "validation", "unlabelled")
    )
    training = TrainingSpec(loop="custom", adversarial=AdversarialSpec(kind="virtual"))
    make_reproducible(load_keras("tensorflow"))
    work = Workspace(tmp_path, tmp_path, tmp_path, lambda *_: None)
    trainer = Trainer(PLAIN, training, 5, train, validation, work, unlabelled=more)

    def from_step(step: int, steps: int) -> list[bytes]:
        trainer.position.step = step
        (found,) = trainer._unlabelled_batches()
        return [next(found).tokens.tobytes() for _ in range(steps)]

    count = more.batch_count
    assert 1 < count < train.batch_count
    whole = from_step(0, 2 * count)
    assert Counter(whole[:count]) != Counter(whole[count:])  # the rows are mixed anew
    assert from_step(1, 2 * count - 1) == whole[1:]
    assert from_step(count + 1, count - 1) == whole[count + 1 :]
