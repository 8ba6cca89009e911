"""Adversarial and virtual adversarial training of classifiers (Miyato, Dai and Goodfellow 2017).

A step adds the loss under a perturbation of each row's embedding vectors: towards a higher loss
(adversarial), or towards another prediction (virtual, which needs no label). The perturbation's
norm is in standard deviations of the batch's vectors, which the paper scales to 1: so a norm means
the same for any embedding, and larger vectors do not escape it.

A classifier of two classes has one logit z. To second order, a perturbation r changes its
prediction p by a divergence of p (1 - p) (∇z·r)² / 2, so the paper's power iteration ends at ±∇z in
its first step, wherever it starts. Here ∇z is computed, and taken towards the other class; nothing
is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

    from pipelines.declaration.training_section import AdversarialSpec

Tensor = Any
Rows = dict[str, Any]  # tokens (batch, time), length and weight (batch,)
Pass = Callable[[Tensor], Tensor]  # vectors (batch, time, embedding) -> logits (batch, 1)
Found = tuple[Tensor, list[Tensor], Tensor]  # loss, gradients of the weights and of the vectors

SMALLEST = 1e-20  # a norm of the gradient; below, there is no direction


class AdversarialStep:
    """Trains a compiled classifier on a labelled batch, and on an unlabelled one beside it."""

    def __init__(self, model: keras.Model, spec: AdversarialSpec) -> None:
        from keras import Model

        self.model, self.spec = model, spec
        self.embedding = model.get_layer("embedding")
        self.rest = Model([self.embedding.output, *model.input.values()], model.output)
        self._graph: Callable[..., Tensor] | None = None

    def __call__(
        self, x: Rows, y: np.ndarray, weight: np.ndarray, unlabelled: Rows | None = None
    ) -> float:
        import tensorflow as tf

        batches = [x | {"weight": weight}, *([unlabelled] if unlabelled else [])]
        if self._graph is None:
            shapes = [[_any_width(each) for each in batches], tf.TensorSpec(y.shape, y.dtype)]
            self._graph = tf.function(self._update, input_signature=shapes, autograph=False)
        return float(self._graph(tf.nest.map_structure(tf.constant, batches), tf.constant(y)))

    def _update(self, batches: list[Rows], y: Tensor) -> Tensor:
        import tensorflow as tf

        table = self.embedding.trainable_variables
        with tf.GradientTape() as tape:
            # Copies: a fast layer gives no gradient of vectors that it sees taken from a table.
            vectors = [tf.identity(self.embedding(each["tokens"])) for each in batches]
        rows = tf.add_n([tf.reduce_sum(each["weight"]) for each in batches])
        found = [self._labelled(batches[0], y, vectors[0], rows)]
        for each, its in zip(batches[1:], vectors[1:], strict=True):
            found.append(self._unlabelled(each, its, rows))
        losses, inner, outer = zip(*found, strict=True)
        gradients = tape.gradient(vectors, table, output_gradients=list(outer))
        gradients += [tf.add_n(each) for each in zip(*inner, strict=True)]
        variables = [*table, *self.rest.trainable_variables]
        self.model.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return tf.add_n(losses)

    def _labelled(self, batch: Rows, y: Tensor, vectors: Tensor, rows: Tensor) -> Found:
        """`rows`: how many there are in all batches."""
        import tensorflow as tf

        def loss_of(z: Tensor) -> Tensor:
            return self.model.loss(y, z, sample_weight=batch["weight"])

        logits = self._with_same_masks(batch)
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            z = logits(vectors)
            loss = loss_of(z)
        *inner, slope, outer = tape.gradient(loss, [*self.rest.trainable_variables, z, vectors])
        if self.spec.kind == "virtual":
            towards = outer * -tf.sign(slope * z)[:, :, None]
            more = self._perturbed(batch, logits, vectors, towards, self._changed(batch, z, rows))
        else:
            more = self._perturbed(batch, logits, vectors, outer, loss_of)
        return (
            loss + more[0],
            [a + b for a, b in zip(inner, more[1], strict=True)],
            outer + more[2],
        )

    def _unlabelled(self, batch: Rows, vectors: Tensor, rows: Tensor) -> Found:
        import tensorflow as tf

        logits = self._with_same_masks(batch)
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            z = logits(vectors)
        towards = tape.gradient(z, vectors) * -tf.sign(z)[:, :, None]
        return self._perturbed(batch, logits, vectors, towards, self._changed(batch, z, rows))

    def _with_same_masks(self, batch: Rows) -> Pass:
        """A network that drops the same values whenever it is called."""
        import tensorflow as tf

        generators = self.rest.non_trainable_variables
        states = [tf.identity(each.value) for each in generators]

        def logits(vectors: Tensor) -> Tensor:
            for generator, state in zip(generators, states, strict=True):
                generator.assign(state)
            return self.rest([vectors, batch["tokens"], batch["length"]], training=True)

        return logits

    def _perturbed(
        self,
        batch: Rows,
        logits: Pass,
        vectors: Tensor,
        towards: Tensor,
        loss_of: Callable[[Tensor], Tensor],
    ) -> Found:
        """The loss, times `weight`, of the vectors moved by `norm` in a direction."""
        import tensorflow as tf

        moved = vectors + self.perturbation(batch, vectors, towards)
        with tf.GradientTape() as tape:
            tape.watch(moved)
            loss = self.spec.weight * loss_of(logits(moved))
        *inner, outer = tape.gradient(loss, [*self.rest.trainable_variables, moved])
        return loss, inner, outer

    def perturbation(self, batch: Rows, vectors: Tensor, towards: Tensor) -> Tensor:
        """`towards` with the declared norm in each row; it is zero where there is padding."""
        import tensorflow as tf

        real = tf.sequence_mask(batch["length"], tf.shape(vectors)[1], vectors.dtype)
        counted = (real * batch["weight"][:, None])[:, :, None]
        _, variances = tf.nn.weighted_moments(vectors, [0, 1], counted)
        deviation = tf.sqrt(tf.reduce_mean(variances))
        norms = tf.norm(towards, axis=[1, 2], keepdims=True)
        return towards * (self.spec.norm * deviation / tf.maximum(norms, SMALLEST))

    @staticmethod
    def _changed(batch: Rows, z: Tensor, rows: Tensor) -> Callable[[Tensor], Tensor]:
        """The divergence (Kullback-Leibler) of other logits' predictions from those of `z`."""
        import tensorflow as tf

        def loss_of(other: Tensor) -> Tensor:
            each = tf.nn.softplus(other) - tf.nn.softplus(z) - tf.sigmoid(z) * (other - z)
            return tf.reduce_sum(each[:, 0] * batch["weight"]) / rows

        return loss_of


def _any_width(batch: Rows) -> Rows:
    """For one graph: with one for each pair of widths, which round differently, a killed training
    would make others than one that was not."""
    import tensorflow as tf

    rows = len(batch["length"])
    return {
        "tokens": tf.TensorSpec((rows, None), tf.int32),
        "length": tf.TensorSpec((rows,), tf.int32),
        "weight": tf.TensorSpec((rows,), tf.float32),
    }
