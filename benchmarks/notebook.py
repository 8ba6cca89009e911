"""IMDb as in the book's notebook (Raschka and others, Machine Learning with PyTorch and
Scikit-Learn's TensorFlow edition, chapter 16): a tokenizer called for each review."""

from __future__ import annotations

from collections import Counter
from typing import Any

BATCH = 32


def vocabulary(texts: list[str]) -> Any:
    """TFDS's encoder over all tokens of the texts, counted review by review."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    tokenizer, counts = tfds.deprecated.text.Tokenizer(), Counter[str]()
    for text in tf.data.Dataset.from_tensor_slices(texts):
        counts.update(tokenizer.tokenize(text.numpy()))
    return tfds.deprecated.text.TokenTextEncoder(list(counts))


def batches(texts: list[str], labels: list[int], encoder: Any) -> Any:
    """A tf.data set: each review encoded with `py_function`, each batch padded to its longest."""
    import tensorflow as tf

    def encode(text: tf.Tensor, label: tf.Tensor) -> tuple:
        return encoder.encode(text.numpy()), label

    def encoded(text: tf.Tensor, label: tf.Tensor) -> tuple:
        return tf.py_function(encode, [text, label], (tf.int64, tf.int64))

    dataset = tf.data.Dataset.from_tensor_slices((texts, tf.constant(labels, tf.int64)))
    return dataset.map(encoded).padded_batch(BATCH, padded_shapes=([-1], []))


def model(vocabulary_size: int) -> Any:
    """The book's bidirectional LSTM, compiled as there. Padding is read like any other word."""
    import keras

    built = keras.Sequential(
        [
            keras.layers.Embedding(vocabulary_size, 20),
            keras.layers.Bidirectional(keras.layers.LSTM(64)),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    built.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.BinaryCrossentropy(from_logits=False),
        metrics=["accuracy"],
    )
    return built
