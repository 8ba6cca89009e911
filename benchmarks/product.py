"""The machine's limit: its largest matrix product, in floating-point operations per second."""

from __future__ import annotations

from benchmarks.harness import Turn, rate

SIZE = 2048


def largest_product(operations: float = 1.0) -> Turn:
    """Products of 2048 × 2048 float32 matrices, in items of that many operations per second."""
    import tensorflow as tf

    a = tf.random.stateless_uniform((SIZE, SIZE), (1, 0))
    product = tf.function(lambda: tf.matmul(a, a)[0, 0])
    return rate(lambda: float(product()), 2 * SIZE**3 / operations)
