"""The recurrent networks, as plain Keras graphs that any Keras 3 can load.

Padding is masked with each row's true length, which is a separate input and never inferred from
ids. A language model takes and returns its recurrent state, so the caller carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.model.seeds import seed_for

if TYPE_CHECKING:
    import keras

    from pipelines.declaration.model_sections import ModelSpec

STATES = {"simple": 1, "gru": 1, "lstm": 2, "peephole": 2}  # number of state tensors per layer


def build_model(
    spec: ModelSpec, vocabulary_size: int, training_batch: int | None = None, seed: int = 0
) -> keras.Model:
    """The network of `spec`; its initial weights and its dropout depend only on `seed`.

    A classifier maps {tokens (batch, time), length (batch,)} to a logit (batch, 1). A language
    model maps {tokens, length, state_0, …} to {logits (batch, time, vocabulary), state_0, …}. With
    `training_batch`, the network is built for training, from layers that train faster
    (pipelines/model/fast/layers.py): a language model then returns only the logits and, if
    `spec.stateful`, keeps the state itself for batches of that many rows.
    """
    if spec.kind == "classifier":
        return _classifier(spec, vocabulary_size, training_batch is not None, seed)
    if training_batch is not None:
        return _training_language_model(spec, vocabulary_size, training_batch, seed)
    return _language_model(spec, vocabulary_size, seed)


def _classifier(spec: ModelSpec, vocabulary_size: int, training: bool, seed: int) -> keras.Model:
    from keras import Model

    inputs, x, mask = _embedded(spec, vocabulary_size, None, seed)
    for i in range(len(spec.units)):
        x = _reader(spec, i, training, seed)(x, mask=mask)  # after the last (batch, units)
    if spec.dense:
        x = _dense(spec.dense, "dense", seed, activation="relu")(x)
    if spec.dropout:
        x = _dropout(spec, "dropout", seed)(x)
    return Model(inputs, _dense(1, "logit", seed)(x), name="classifier")


def _reader(spec: ModelSpec, number: int, training: bool, seed: int) -> keras.layers.Layer:
    """A classifier's recurrent layer: it passes all its outputs to the next; the last layer only
    its last one."""
    from keras import layers

    every = number < len(spec.units) - 1
    if not spec.bidirectional:
        return _cell(spec, number, training, seed, return_sequences=every)
    # Keras would copy the layer with its seeds, and both directions would start equal.
    forward, backward = (
        _cell(spec, number, training, seed, prefix, return_sequences=every, **options)
        for prefix, options in (("forward_", {}), ("backward_", {"go_backwards": True}))
    )
    return layers.Bidirectional(forward, backward_layer=backward, name=f"both_directions_{number}")


def _language_model(spec: ModelSpec, vocabulary_size: int, seed: int) -> keras.Model:
    from keras import Input, Model

    inputs, x, mask = _embedded(spec, vocabulary_size, None, seed)
    outputs: dict[str, Any] = {}
    for i, units in enumerate(spec.units):
        names = state_names(spec, i)
        states = [Input((units,), name=name) for name in names]
        inputs |= dict(zip(names, states, strict=True))
        x, *after = _cell(spec, i, False, seed, return_sequences=True, return_state=True)(
            x, mask=mask, initial_state=states
        )  # (batch, time, units)
        outputs |= dict(zip(names, after, strict=True))
    logits = _dense(vocabulary_size, "logits", seed)(x)  # (batch, time, vocabulary)
    return Model(inputs, {"logits": logits} | outputs, name="language_model")


def _training_language_model(
    spec: ModelSpec, vocabulary_size: int, batch: int, seed: int
) -> keras.Model:
    from keras import Model

    inputs, x, mask = _embedded(spec, vocabulary_size, batch if spec.stateful else None, seed)
    for i in range(len(spec.units)):
        x = _cell(spec, i, True, seed, return_sequences=True, stateful=spec.stateful)(x, mask=mask)
        if spec.dropout:
            x = _dropout(spec, f"dropout_{i}", seed)(x)
    return Model(inputs, _dense(vocabulary_size, "logits", seed)(x), name="language_model")


def _embedded(
    spec: ModelSpec, vocabulary_size: int, batch: int | None, seed: int
) -> tuple[Any, Any, Any]:
    from keras import Input, initializers, layers, ops

    tokens = Input((None,), batch_size=batch, dtype="int32", name="tokens")
    length = Input((), batch_size=batch, dtype="int32", name="length")
    positions = ops.cumsum(ops.ones_like(tokens), axis=1)  # 1, 2, … (batch, time)
    mask = ops.less_equal(positions, ops.expand_dims(length, 1))
    start = initializers.RandomUniform(seed=seed_for(seed, "embedding", "embeddings"))
    x = layers.Embedding(vocabulary_size, spec.embedding, start, name="embedding")(tokens)
    return {"tokens": tokens, "length": length}, x, mask


def _cell(
    spec: ModelSpec, number: int, training: bool, seed: int, prefix: str = "", **options: Any
) -> keras.layers.Layer:
    from keras import initializers, layers

    from pipelines.model import cells
    from pipelines.model.fast import layers as recurrent

    name, units = f"{prefix}{spec.cell}_{number}", spec.units[number]
    recurrent_start = {
        "orthogonal": initializers.Orthogonal,
        "glorot_uniform": initializers.GlorotUniform,
    }[spec.recurrent_initializer]
    seeded = {
        "kernel_initializer": initializers.GlorotUniform(seed_for(seed, name, "kernel")),
        "recurrent_initializer": recurrent_start(seed=seed_for(seed, name, "recurrent_kernel")),
        "seed": seed_for(seed, name, "dropout"),
    }
    if spec.cell == "peephole":
        return layers.RNN(cells.PeepholeLSTMCell(units, **seeded), name=name, **options)
    if spec.cell == "simple" and not training:  # Keras's SimpleRNN does not save its seed
        return layers.RNN(layers.SimpleRNNCell(units, **seeded), name=name, **options)
    faster = recurrent if training else layers
    kind = {"simple": faster.SimpleRNN, "lstm": faster.LSTM, "gru": faster.GRU}[spec.cell]
    return kind(units, name=name, **seeded, **options)


def _dense(units: int, name: str, seed: int, **options: Any) -> keras.layers.Layer:
    from keras import initializers, layers

    start = initializers.GlorotUniform(seed_for(seed, name, "kernel"))
    return layers.Dense(units, kernel_initializer=start, name=name, **options)


def _dropout(spec: ModelSpec, name: str, seed: int) -> keras.layers.Layer:
    from keras import layers

    return layers.Dropout(spec.dropout, seed=seed_for(seed, name, "dropout"), name=name)


def state_names(spec: ModelSpec, layer: int | None = None) -> list[str]:
    """Names of the state inputs and outputs, of one layer or of all."""
    each = STATES[spec.cell]
    names = [f"state_{i}" for i in range(each * len(spec.units))]
    return names if layer is None else names[layer * each : (layer + 1) * each]


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the trained weights, without the state. Both models come from the same spec."""
    for read, write in zip(source.trainable_variables, target.trainable_variables, strict=True):
        write.assign(read)
