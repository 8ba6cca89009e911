"""One training step: Keras's own (`loop: fit`), or the hand-written gradient step (`custom`); its
loss, and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.model.adversarial import AdversarialStep

if TYPE_CHECKING:
    import keras

    from pipelines.declaration.training_section import TrainingSpec

Inputs = dict[str, np.ndarray]
Step = Callable[..., float]  # x, y, weight, and unlabelled rows if there are any -> loss

NOT_DECAYED = ("bias", "peephole", "gamma", "beta", "logits/embeddings")  # the last: tied logits
ONE_CYCLE_START, ONE_CYCLE_WARMUP = 1 / 25, 0.3


def compiled(
    model: keras.Model, kind: str, training: TrainingSpec, started: Sequence[keras.Variable] = ()
) -> Step:
    """Give the model its optimizer and loss; returns the step that trains it on one batch.
    `started`: the weights that another pipeline's model has trained before."""
    import keras

    learned = {each.path for each in started}
    shares = [training.start_rate if v.path in learned else 1.0 for v in model.trainable_variables]
    optimizer = _optimizer(model, training, shares)
    # Without it, JAX runs each operation separately, some 30 times slower. On TensorFlow, the
    # layers compile the parts that benefit (pipelines/model/fast/layers.py).
    model.compile(
        optimizer=optimizer,
        loss=_loss(kind, model.output.shape, training.label_smoothing),
        jit_compile=keras.backend.backend() == "jax",
    )
    optimizer.build(model.trainable_variables)
    if training.adversarial:
        return AdversarialStep(model, training.adversarial)
    return _custom(model) if training.loop == "custom" else _keras(model)


def learning_rate(training: TrainingSpec, step: int, steps: int) -> float:
    """The rate of a step, counted from 0, of so many."""
    one_cycle = training.schedule == "one_cycle"
    warmup = training.warmup
    if warmup is None:
        warmup = ONE_CYCLE_WARMUP if one_cycle else 0.0
    rise = warmup * steps
    if step < rise:
        risen = min(1.0, (step + 1) / rise)
        if one_cycle:
            risen = ONE_CYCLE_START + (1 - ONE_CYCLE_START) * _half_cosine(risen)
        return training.learning_rate * risen
    left = (steps - step) / (steps - rise)
    shapes = {"constant": 1.0, "linear": left}
    return training.learning_rate * shapes.get(training.schedule, _half_cosine(left))


def _half_cosine(share: float) -> float:
    """From 0 to 1, flat at both ends."""
    return (1 - math.cos(math.pi * share)) / 2


def _optimizer(model: keras.Model, training: TrainingSpec, shares: list[float]) -> keras.Optimizer:
    import keras

    optimizers = {
        "adam": keras.optimizers.Adam,
        "rmsprop": keras.optimizers.RMSprop,
        "sgd": keras.optimizers.SGD,
    }
    optimizer = _exact(optimizers[training.optimizer], shares)(
        training.learning_rate,
        global_clipnorm=training.clip_norm,
        weight_decay=training.weight_decay or None,
        use_ema=training.average is not None,
        ema_momentum=training.average or 0.0,
    )
    optimizer.exclude_from_weight_decay(
        [each for each in model.trainable_variables if each.path.endswith(NOT_DECAYED)]
    )
    return optimizer


def _loss(kind: str, output: tuple[int | None, ...], smoothing: float) -> keras.Loss:
    import keras

    # Rows and tokens with weight 0 count neither in the sum nor in the divisor.
    reduction = "mean_with_sample_weight"
    if kind == "language_model" and len(output) == 2:

        class Returned(keras.Loss):
            """The network has computed it; its mean is itself, whatever the weights."""

            def call(self, _: Any, loss: Any) -> Any:
                return loss

        return Returned(reduction=reduction)
    if kind == "classifier" and output[-1] == 1:
        return keras.losses.BinaryCrossentropy(
            from_logits=True, label_smoothing=smoothing, reduction=reduction
        )
    if not smoothing:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)

    class Smoothed(keras.losses.CategoricalCrossentropy):
        """For ids. One-hot targets are as large as the logits, but no slower than ids."""

        def call(self, ids: Any, logits: Any) -> Any:
            return super().call(keras.ops.one_hot(ids, logits.shape[-1]), logits)

    return Smoothed(from_logits=True, label_smoothing=smoothing, reduction=reduction)


def _exact(kind: type[keras.Optimizer], shares: Sequence[float] = ()) -> type[keras.Optimizer]:
    """`kind`, with one summed gradient per row of an embedding, and for each variable with its
    share of the learning rate.

    TensorFlow returns one for each token that was looked up. Keras 3 squares each of these instead
    of their sum, so its Adam moves a token that occurs n times in a batch up to √n too far.
    """
    import keras

    class Exact(kind):
        def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
            super().apply([_summed(gradient) for gradient in grads], trainable_variables)

    if keras.backend.backend() == "tensorflow" and kind is keras.optimizers.Adam:
        Exact.update_step = _adam
    if any(share != 1 for share in shares):
        whole = Exact.update_step

        def update_step(self: Any, gradient: Any, variable: Any, learning_rate: Any) -> None:
            share = shares[self._get_variable_index(variable)]
            whole(self, gradient, variable, learning_rate * share)

        Exact.update_step = update_step
    return Exact


def _adam(self: keras.optimizers.Adam, gradient: Any, variable: Any, learning_rate: Any) -> None:
    """Adam's update in one pass over the weights. Keras's takes ten, which is a fifth of the
    training time of a classifier with a large embedding. It uses parts of the optimizer that are
    not public; tested with Keras 3.15."""
    import tensorflow as tf

    place = self._get_variable_index(variable)
    step = tf.cast(self.iterations + 1, tf.float32)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=self._momentums[place].value.handle,
        v=self._velocities[place].value.handle,
        grad=gradient,
        beta1_power=self.beta_1**step,
        beta2_power=self.beta_2**step,
        lr=tf.cast(learning_rate, tf.float32),
        beta1=self.beta_1,
        beta2=self.beta_2,
        epsilon=self.epsilon,
    )


def _summed(gradient: Any) -> Any:
    """Gradients of equal rows added up, as a dense tensor; other backends' are dense already."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


def _keras(model: keras.Model) -> Step:
    def step(x: Inputs, y: np.ndarray, weight: np.ndarray) -> float:
        model.reset_metrics()  # otherwise Keras returns the mean since the last reset
        return float(model.train_on_batch(x, y, sample_weight=weight))

    return step


def _custom(model: keras.Model) -> Step:
    """Forward pass, gradient, update: what `fit` does, written out as in the notebooks."""
    import tensorflow as tf

    @tf.function(reduce_retracing=True, autograph=False)
    def step(x: dict[str, Any], y: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = model.loss(y, model(x, training=True), sample_weight=weight)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    return lambda x, y, weight: float(
        step({k: tf.constant(v) for k, v in x.items()}, tf.constant(y), tf.constant(weight))
    )
