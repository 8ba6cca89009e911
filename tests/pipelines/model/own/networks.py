"""Networks of a user's own: some that fit, and some that do not."""

from __future__ import annotations

from typing import Any

import keras
from keras import initializers, layers, ops


def tokens_and_length() -> dict[str, Any]:
    return {
        "tokens": keras.Input((None,), dtype="int32", name="tokens"),
        "length": keras.Input((), dtype="int32", name="length"),
    }


def mean(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs, start = tokens_and_length(), initializers.GlorotUniform(seed)
    x = layers.Embedding(vocabulary_size, model.embedding, start)(inputs["tokens"])
    x = layers.Dropout(0.3, seed=seed)(ops.mean(x, axis=1))
    return keras.Model(inputs, layers.Dense(1, kernel_initializer=start)(x))


def recurrent(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    state = keras.Input((model.units[0],), name="state_0")
    place = ops.cumsum(ops.ones_like(inputs["tokens"]), axis=1)
    start = initializers.GlorotUniform(seed)
    x = layers.Embedding(vocabulary_size, model.embedding, start)(inputs["tokens"])
    gru = layers.GRU(
        model.units[0],
        seed=seed,
        kernel_initializer=start,
        recurrent_initializer=initializers.Orthogonal(seed=seed),
        return_sequences=True,
        return_state=True,
    )
    x, after = gru(x, mask=place <= ops.expand_dims(inputs["length"], 1), initial_state=[state])
    x = layers.Dropout(0.3, seed=seed)(x)
    x = layers.Dense(7, activation="gelu", kernel_initializer=start)(x)
    logits = layers.Dense(vocabulary_size, kernel_initializer=start)(x)
    outputs = {"logits": logits, "state_0": after}
    return keras.Model(inputs | {"state_0": state}, outputs)


def without_seeds(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 1, initializers.Constant(0.1))(inputs["tokens"])
    return keras.Model(inputs, layers.Dropout(0.2)(ops.mean(x, axis=1)))


def nothing(model: Any, vocabulary_size: int, seed: int) -> None:
    return None


def failing(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    return model.layers


def two_logits(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 2)(inputs["tokens"])
    return keras.Model(inputs, ops.mean(x, axis=1))


def without_length(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 1)(inputs["tokens"])
    return keras.Model({"tokens": inputs["tokens"]}, ops.mean(x, axis=1))


def listed(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 1)(inputs["tokens"])
    return keras.Model(list(inputs.values()), ops.mean(x, axis=1))


class Halved(layers.Layer):
    def call(self, x: Any) -> Any:
        return x / 2


def foreign_layer(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 1)(inputs["tokens"])
    return keras.Model(inputs, Halved()(ops.mean(x, axis=1)))


def halved(x: Any) -> Any:
    return x / 2


def foreign_activation(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 1)(inputs["tokens"])
    return keras.Model(inputs, layers.Dense(1, activation=halved)(ops.mean(x, axis=1)))


def lambda_layer(model: Any, vocabulary_size: int, seed: int) -> keras.Model:
    inputs = tokens_and_length()
    x = layers.Embedding(vocabulary_size, 1)(inputs["tokens"])
    return keras.Model(inputs, layers.Lambda(lambda x: x / 2)(ops.mean(x, axis=1)))
