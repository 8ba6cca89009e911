"""The loop that samples a block of tokens: compiled for TensorFlow, plain for other backends."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.declaration.model_sections import ModelSpec
from pipelines.model.network import STATES, state_names

if TYPE_CHECKING:
    import keras

TABLE_VALUES = 2**22  # the first layer's projections of all tokens; larger ones are not precomputed

States = list[np.ndarray]
# (token (streams,), states, forced (steps,), noise (block, streams, choices)) → (states, sampled
# (steps, streams)). `forced` is the id to continue with, or -1 for the sampled one; the noise may
# cover more steps, so that one program works for any number. States have a row per stream; with a
# context a row per reader, the latest of each stream first.
Advance = Callable[[np.ndarray, States, np.ndarray, np.ndarray], tuple[States, np.ndarray]]
Begin = Callable[[], Advance]  # for one sample, with the model's weights at that time


def state_widths(spec: ModelSpec, model: Any = None) -> dict[str, int]:
    """{state: its width} of a network, and of what it is mixed with (mix/mixed_network.py)."""
    each = STATES[spec.cell]
    own = {name: spec.units[i // each] for i, name in enumerate(state_names(spec))}
    return own | getattr(model, "more_states", {})


@dataclass(frozen=True)
class Decoding:
    """What a compiled loop depends on besides shapes.

    `choices` are the ids that can be sampled, of which the `top_k` likeliest are kept; with a
    `context` each token is predicted from the last so many alone.
    """

    model: keras.Model
    spec: ModelSpec
    choices: tuple[int, ...]
    top_k: int | None = None
    context: int | None = None


@lru_cache(maxsize=1)  # the same model is sampled repeatedly
def advance_of(decoding: Decoding) -> Begin:
    """The fastest way to sample a block of tokens on this process's backend."""
    keras: Any = sys.modules.get("keras")  # if it is not imported, the model is not Keras's
    on_keras = keras and isinstance(decoding.model, keras.Model)
    known = decoding.spec.builder is None  # what its layers are
    if known and on_keras and keras.backend.backend() == "tensorflow":
        return tensorflow_advance(decoding)
    return plain_advance(decoding)


def plain_advance(decoding: Decoding) -> Begin:
    """One call of the model per token: any backend, any network, also one mixed with n-grams."""
    model, top_k, context = decoding.model, decoding.top_k, decoding.context
    names, ids = list(state_widths(decoding.spec, model)), np.array(decoding.choices, np.int32)

    def advance(
        token: np.ndarray, states: States, forced: np.ndarray, noise: np.ndarray
    ) -> tuple[States, np.ndarray]:
        drawn, streams = [], len(token)
        for given, gumbel in zip(forced, noise, strict=False):
            if context is not None:
                states = _begun_anew(states, streams, np)
            readers = np.tile(token, context or 1)
            outputs = model.predict_on_batch(
                {
                    "tokens": readers[:, None],
                    "length": np.ones_like(readers),
                    **dict(zip(names, states, strict=True)),
                }
            )
            states = [outputs[name] for name in names]
            logits = outputs["logits"][-streams:, 0, ids]  # (streams, choices)
            if top_k is not None:
                least = np.partition(logits, -top_k, axis=-1)[:, -top_k, None]
                logits = np.where(logits >= least, logits, -np.inf)
            drawn.append(ids[np.argmax(logits + gumbel, axis=-1)])
            token = drawn[-1] if given < 0 else np.full_like(token, given)
        return states, np.stack(drawn)

    return lambda: advance


def _begun_anew(states: list[Any], streams: int, ops: Any) -> list[Any]:
    """Removes each stream's earliest reader, which is done, and puts one with the zero state first.

    `ops` is numpy or keras.ops.
    """
    return [
        ops.concatenate([ops.zeros_like(state[:streams]), state[:-streams]]) for state in states
    ]


def tensorflow_advance(decoding: Decoding) -> Begin:
    """A block of tokens in one compiled loop that runs the layers' cells."""
    import tensorflow as tf

    step, model = _step(decoding), decoding.model

    def loop(
        token: Any, states: list[Any], forced: Any, noise: Any, weights: Any, steps: Any
    ) -> Any:
        def body(i: Any, token: Any, states: list[Any], drawn: Any) -> Any:
            chosen, states = step(token, states, noise[i], weights)
            token = tf.where(forced[i] < 0, chosen, forced[i])
            return i + 1, token, states, drawn.write(i, chosen)

        drawn = tf.TensorArray(tf.int32, size=noise.shape[0], element_shape=token.shape)
        _, _, states, drawn = tf.while_loop(
            lambda i, *_: i < steps, body, (0, token, states, drawn)
        )
        return states, drawn.stack()

    run = tf.function(loop, jit_compile=True, autograph=False)

    def begin() -> Advance:
        weights = _table(model, decoding.spec), *_head(decoding)

        def advance(
            token: np.ndarray, states: States, forced: np.ndarray, noise: np.ndarray
        ) -> tuple[States, np.ndarray]:
            given = np.full(len(noise), -1, np.int32)
            given[: len(forced)] = forced
            after, drawn = run(
                *(
                    tf.nest.map_structure(tf.constant, value)
                    for value in (token, states, given, noise)
                ),
                weights,
                tf.constant(len(forced)),
            )
            return [state.numpy() for state in after], drawn.numpy()[: len(forced)]

        return advance

    return begin


def _step(decoding: Decoding) -> Callable[..., Any]:
    """(token (streams,), states, noise (streams, choices), weights) → (chosen (streams,), states).

    `weights` come from `_table` and `_head`.
    """
    from keras import ops

    embedding = decoding.model.get_layer("embedding")
    layers = [_projected(cell) for cell in _cells(decoding.model, decoding.spec)]
    norms = _norms(decoding.model, decoding.spec)
    each, ids = STATES[decoding.spec.cell], np.array(decoding.choices, np.int32)
    top_k, context, residual = decoding.top_k, decoding.context, decoding.spec.residual

    def step(token: Any, states: list[Any], noise: Any, weights: Any) -> tuple[Any, list[Any]]:
        streams, (table, kernel, bias) = token.shape[0], weights
        after: list[Any] = []
        x = layers[0][0](embedding(token)) if table is None else ops.take(table, token, axis=0)
        if context is not None:
            x, states = ops.tile(x, (context, 1)), _begun_anew(states, streams, ops)
        for i, (project, go_on) in enumerate(layers):
            after += go_on(project(x) if i else x, states[i * each : (i + 1) * each])
            x = x + after[-each] if i and residual else after[-each]
            x = norms[i](x) if norms else x
        logits = ops.matmul(x[-streams:], kernel) + bias  # (streams, choices)
        if top_k is not None:
            least = ops.top_k(logits, top_k)[0][:, -1:]
            logits = ops.where(logits >= least, logits, -float("inf"))
        return ops.take(ids, ops.argmax(logits + noise, axis=-1)), after

    return step


def _table(model: keras.Model, spec: ModelSpec) -> Any:
    """The first layer's projection of each token: (vocabulary, …); None if that is too large.

    A token then costs a row lookup instead of a product with the weights.
    """
    embeddings, cell = model.get_layer("embedding").embeddings, _cells(model, spec)[0]
    if embeddings.shape[0] * cell.kernel.shape[1] > TABLE_VALUES:
        return None
    return _projected(cell)[0](embeddings + 0)


def _head(decoding: Decoding) -> tuple[Any, Any]:
    """The weights (units, choices) and biases (choices,) of the logits that can be sampled."""
    from keras import ops

    model, ids = decoding.model, np.array(decoding.choices, np.int32)
    logits = model.get_layer("logits")
    if not decoding.spec.tie_embeddings:
        return ops.take(logits.kernel, ids, axis=1), ops.take(logits.bias, ids)
    kernel = ops.transpose(ops.take(model.get_layer("embedding").embeddings, ids, axis=0))
    if decoding.spec.projected:
        kernel = ops.matmul(model.get_layer("projection").kernel, kernel)
    return kernel, ops.take(logits.embeddings[:, 0], ids)


def _norms(model: keras.Model, spec: ModelSpec) -> list[keras.layers.Layer]:
    """The layers that normalize the outputs of the cells, if any."""
    count = len(spec.units) if spec.layer_norm else 0
    return [model.get_layer(f"norm_{i}") for i in range(count)]


def _cells(model: keras.Model, spec: ModelSpec) -> list[keras.layers.Layer]:
    return [model.get_layer(f"{spec.cell}_{i}").cell for i in range(len(spec.units))]


def _projected(
    cell: keras.layers.Layer,
) -> tuple[Callable[[Any], Any], Callable[[Any, list[Any]], list[Any]]]:
    """A cell in two parts: the projection of its input, and the step from that and its states to
    the new states, the first of which is its output."""
    from keras import layers, ops

    from pipelines.model.fast.steps import gru_biases, gru_step, lstm_step

    if type(cell) is layers.LSTMCell:
        return (
            lambda x: ops.matmul(x, cell.kernel) + cell.bias,
            lambda x, states: lstm_step(x, cell.recurrent_kernel, *states)[:2],
        )
    if type(cell) is layers.GRUCell:
        return (
            lambda x: ops.matmul(x, cell.kernel) + gru_biases(cell.bias)[0],
            lambda x, states: gru_step(x, cell.recurrent_kernel, gru_biases(cell.bias)[1], *states)[
                :1
            ],
        )
    return lambda x: x, lambda x, states: cell(x, states)[1]
