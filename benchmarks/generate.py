"""Generating 1,000 characters with an LSTM of 512 units, one text and 64 in parallel.

The weights are random: the generated text does not affect the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.harness import Conditions, Side, Turn, rate, take_turns
from benchmarks.product import largest_product
from benchmarks.results import OF_LIMIT, Row
from pipelines.declaration.model_sections import ModelSpec

VOCABULARY, CONTEXT = 80, 40  # the book's characters; the number that its sample() reads each time
# Texts at a time; goals against the book and against a compiled step.
CASES = ((1, 300, 10, "one text"), (64, 4000, None, "64 texts"))
TRUTH = (
    "The book's function reads the last 40 characters again for each one; Folio carries "
    "the state, and so has read all of them."
)

PROFILE = (
    "By perf and by leaving parts out, of a step's CPU time (one thread) 73% is the recurrent "
    "product, which with 64 rows reaches 86% of that rate, 4% the product of the output layer, 8% "
    "the gates, 4% choosing the characters, and 2% drawing the noise, which runs beside the rest. "
    "Tried without a gain: one product for both weights, a maximum and its place instead of argmax."
)


def compare(conditions: Conditions) -> Iterator[Row]:
    units, length = (16, 100) if conditions.quick else (512, 1000)
    spec = ModelSpec(kind="language_model", cell="lstm", embedding=256, units=(units,))
    products = 2 * units * (4 * units + VOCABULARY)  # per character, with the state and the head
    sides = {
        "book": Side(book, (spec, 20)),
        "reading": Side(weights_read, (spec,)),
        "products": Side(largest_product, (products,)),
    }
    for streams, *_ in CASES:
        sides[f"ours {streams}"] = Side(ours, (spec, streams, length, None))
        sides[f"context {streams}"] = Side(ours, (spec, streams, length // 10, CONTEXT))
        sides[f"loop {streams}"] = Side(tutorial, (spec, streams, length // 5))
    found = take_turns(sides, conditions.repeats)
    limits = {1: found["reading"].median, 64: found["products"].median}
    for streams, goal, step_goal, words in CASES:
        most = limits[streams] / found[f"loop {streams}"].median
        title, mine = f"Generating, {words}", found[f"ours {streams}"]
        yield Row.times(
            f"generate/{streams}-book",
            title,
            "the book's sample(), one text",
            mine,
            found["book"],
            "characters/s",
            goal,
            f"Characters of all texts together; the book generates one at a time. {TRUTH} "
            "It is timed on 20 characters per round.",
        )
        yield Row.times(
            f"generate/{streams}-book-40",
            f"{title}, the last 40 reread",
            "the book's sample(), one text",
            found[f"context {streams}"],
            found["book"],
            "characters/s",
            None,
            "The same function as the book's: each character is predicted from only the "
            "40 before it.",
        )
        yield Row.times(
            f"generate/{streams}-loop",
            title,
            "the tutorial's compiled step",
            mine,
            found[f"loop {streams}"],
            "characters/s",
            step_goal,
            "The tutorial's stateful tf.function, called from Python for each character, "
            f"on {length // 5} characters per round. At the machine's limit (see "
            f"generate/{streams}-limit), a program is {most:.1f} times as fast.",
        )
    yield Row.times(
        "generate/1-limit",
        "Generating, one text",
        "the machine's limit",
        found["ours 1"],
        found["reading"],
        "characters/s",
        None,
        "A character takes one product of a vector with each weight matrix, here timed "
        "by itself in a compiled loop.",
    )
    yield Row.times(
        "generate/64-limit",
        "Generating, 64 texts",
        "the machine's limit",
        found["ours 64"],
        found["products"],
        "characters/s",
        OF_LIMIT,
        f"{products / 1e6:.1f} MFLOP per character at the rate of a 2048³ product. {PROFILE}",
    )


def ours(spec: ModelSpec, streams: int, length: int, context: int | None) -> Turn:
    """Characters per second of the sampling that `folio generate` uses."""
    from pipelines.model.backend import load_keras

    load_keras("tensorflow")
    from pipelines.model.network import build_model
    from pipelines.model.sampling import sample

    model, start = build_model(spec, VOCABULARY), np.arange(2, 2 + CONTEXT)
    return rate(
        lambda: sample(model, spec, start, streams, length, 1.0, 1, context=context),
        streams * length,
        0,
    )


def _plain(spec: ModelSpec, streams: int | None = None) -> Any:
    """The notebooks' model: with `streams` a stateful one for that many texts."""
    import keras

    return keras.Sequential(
        [
            keras.Input((None,), batch_size=streams),
            keras.layers.Embedding(VOCABULARY, spec.embedding),
            keras.layers.LSTM(spec.units[0], return_sequences=True, stateful=streams is not None),
            keras.layers.Dense(VOCABULARY),
        ]
    )


def book(spec: ModelSpec, length: int) -> Turn:
    """The book's sample(): the model called eagerly on the last 40 characters, each time."""
    import tensorflow as tf

    model, letters = _plain(spec), np.array([chr(48 + i) for i in range(VOCABULARY)])

    def sample() -> str:
        encoded_input = tf.reshape(tf.range(2, 2 + CONTEXT), (1, -1))
        generated = ""
        for _ in range(length):
            logits = tf.squeeze(model(encoded_input), 0)
            drawn = tf.squeeze(tf.random.categorical(logits * 1.0, num_samples=1))[-1].numpy()
            generated += str(letters[drawn])
            drawn = tf.cast(tf.expand_dims([drawn], 0), tf.int32)
            encoded_input = tf.concat([encoded_input, drawn], axis=1)[:, -CONTEXT:]
        return generated

    return rate(sample, length, 0)


def tutorial(spec: ModelSpec, streams: int, length: int) -> Turn:
    """The tutorial's loop: a compiled step that keeps the state, called for each character."""
    import tensorflow as tf

    model, letters = _plain(spec, streams), np.array([chr(48 + i) for i in range(VOCABULARY)])

    @tf.function
    def one_step(ids: tf.Tensor) -> tf.Tensor:
        logits = model(ids)[:, -1]
        return tf.random.categorical(logits / 1.0, num_samples=1, dtype=tf.int32)

    def generate() -> list[str]:
        ids, drawn = tf.fill((streams, 1), 2), []
        for _ in range(length):
            ids = one_step(ids)
            drawn.append(ids)
        return ["".join(letters[row]) for row in tf.concat(drawn, 1).numpy()]

    return rate(generate, streams * length, 0)


def weights_read(spec: ModelSpec) -> Turn:
    """Products of a state with the weights of a step, in a compiled loop: steps per second."""
    import tensorflow as tf

    units, steps = spec.units[0], 1000
    gates = tf.random.stateless_uniform((units, 4 * units), (1, 0))
    head = tf.random.stateless_uniform((units, VOCABULARY), (1, 0))

    @tf.function(jit_compile=True)
    def loop(h: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, h: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, (h @ gates)[:, :units] * 1e-3 + (h @ head)[:, :1]

        return tf.while_loop(lambda i, _: i < steps, body, (0, h))[1]

    h = tf.ones((1, units))
    return rate(lambda: loop(h).numpy(), steps, 0.5)
