"""The loss of a large softmax in training, and its gradient, on a CPU in blocks of tokens.

TensorFlow's own loss takes a third of a step with 8,000 words, and keeps the logits of all tokens
for its gradient. Here a block's logits become its gradient at once: padding is left out, the sum of
each row scales the inputs of the products instead of the probabilities, and memory is that of one
block.
"""

from __future__ import annotations

from typing import Any

import keras

Tensor = Any

BLOCK = 1024  # tokens at once: larger products are no faster
SMALLEST = 1000  # words; below, the loss takes little of a step


def gains(vocabulary: int) -> bool:
    """Whether the blocks are faster than TensorFlow's own loss."""
    if vocabulary < SMALLEST or keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU")


class DenseNats(keras.layers.Dense):
    """`Dense` that returns the mean nats (1, 1) of the targets instead of logits."""

    def call(self, x: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        kernel, bias = map(keras.ops.convert_to_tensor, (self.kernel, self.bias))
        return mean_nats(x, kernel, bias, targets, weight)

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor((1, 1), self.compute_dtype)


class TiedNats(keras.layers.Embedding):
    """The biases of tied logits, a table with a column: returns the mean nats (1, 1) of the targets
    with the `vectors` (vocabulary, width) of all words."""

    def call(self, x: Tensor, vectors: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
        bias = keras.ops.convert_to_tensor(self.embeddings)[:, 0]
        return mean_nats(x, keras.ops.transpose(vectors), bias, targets, weight)

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        return keras.KerasTensor((1, 1), self.compute_dtype)


def mean_nats(x: Tensor, kernel: Tensor, bias: Tensor, targets: Tensor, weight: Tensor) -> Tensor:
    """The weighted mean (1, 1) of the targets' negative log-likelihoods.

    x (batch, time, width), kernel (width, vocabulary), bias (vocabulary,); targets and weight
    (batch, time). Gradients: of x, kernel and bias.
    """
    import tensorflow as tf

    @tf.custom_gradient
    def nats(x: Tensor, kernel: Tensor, bias: Tensor) -> tuple[Tensor, Any]:
        counted = tf.where(weight > 0)
        shares = tf.gather_nd(weight / tf.reduce_sum(weight), counted)[:, None]
        loss, dx, *rest = _of_tokens(
            tf.gather_nd(x, counted), kernel, bias, tf.gather_nd(targets, counted), shares
        )
        dx = tf.scatter_nd(counted, dx, tf.shape(x, counted.dtype))
        return tf.reshape(loss, (1, 1)), lambda slope: [
            tf.reshape(slope, ()) * each for each in (dx, *rest)
        ]

    return nats(x, kernel, bias)


def _of_tokens(
    x: Tensor, kernel: Tensor, bias: Tensor, targets: Tensor, shares: Tensor
) -> list[Tensor]:
    """The loss of tokens x (tokens, width), and the gradients of x, kernel and bias.

    `shares` (tokens, 1) of the mean. A gradient is what all words give, less what the target does.
    """
    import tensorflow as tf

    # The third axis prevents TensorFlow from undoing the copy, which is faster to multiply by.
    transposed = tf.transpose(kernel[None])[:, :, 0]
    total, dx, dtransposed, dbias = _in_blocks(x, kernel, transposed, bias, shares)
    own = tf.gather(transposed, targets)
    nats = total - tf.reduce_sum(x * own, 1, keepdims=True) - tf.gather(bias, targets)[:, None]
    vocabulary = tf.shape(bias)[0]
    of_targets = tf.math.unsorted_segment_sum(shares * x, targets, vocabulary)
    shares_of_targets = tf.math.unsorted_segment_sum(shares[:, 0], targets, vocabulary)
    return [
        tf.reduce_sum(shares * nats),
        dx - shares * own,
        tf.transpose(dtransposed - of_targets),
        dbias - shares_of_targets,
    ]


def _in_blocks(
    x: Tensor, kernel: Tensor, transposed: Tensor, bias: Tensor, shares: Tensor
) -> list[Tensor]:
    """The logarithm of each token's sum over all words (tokens, 1), and its gradients, `shares`
    of each: of x, of the transposed kernel and of bias."""
    import tensorflow as tf

    tokens = tf.shape(x)[0]
    blocks = (tokens + BLOCK - 1) // BLOCK
    size = (tokens + blocks - 1) // tf.maximum(blocks, 1)  # equal ones: small products are slow
    made = [
        tf.TensorArray(tf.float32, blocks, element_shape=(None, width), infer_shape=False)
        for width in (1, x.shape[1])
    ]

    def add(number: Tensor, made: Any, *sums: Tensor) -> tuple[Any, ...]:
        part = slice(number * size, tf.minimum((number + 1) * size, tokens))
        *rows, dtransposed, dbias = _block(x[part], kernel, transposed, bias, shares[part])
        made = [array.write(number, each) for array, each in zip(made, rows, strict=True)]
        return number + 1, made, sums[0] + dtransposed, sums[1] + dbias

    none = [0, made, tf.zeros_like(transposed), tf.zeros_like(bias)]
    _, made, *sums = tf.while_loop(
        lambda number, *_: number < blocks, add, none, parallel_iterations=1
    )
    return [*(array.concat() for array in made), *sums]


def _block(
    x: Tensor, kernel: Tensor, transposed: Tensor, bias: Tensor, shares: Tensor
) -> list[Tensor]:
    import tensorflow as tf

    logits = tf.nn.bias_add(tf.matmul(x, kernel), bias)  # (tokens, vocabulary)
    highest = tf.reduce_max(logits, axis=1, keepdims=True)
    powers = tf.exp(logits - highest)
    total = tf.matmul(powers, tf.ones_like(bias[:, None]))  # faster than a sum
    scale = shares / total
    return [
        tf.math.log(total) + highest,
        scale * tf.matmul(powers, transposed),
        tf.matmul(powers, scale * x, transpose_a=True),  # faster than the kernel's own shape
        tf.matmul(tf.transpose(scale), powers)[0],
    ]
