"""The recurrent networks, as plain Keras graphs that any Keras 3 can load.

Padding is masked by each row's true length, given as an input of its own, never guessed from ids.
A language model takes and returns its recurrent state, so that whoever calls it carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from pipelines.spec import ModelSpec

STATES = {"simple": 1, "gru": 1, "lstm": 2, "peephole": 2}  # state tensors a layer carries


def build_model(spec: ModelSpec, vocabulary_size: int, training_batch: int | None = None,
                dropout_seed: int = 0) -> keras.Model:
    """The network of `spec`.

    A classifier maps {tokens (batch, time), length (batch,)} to a logit (batch, 1). A language
    model maps {tokens, length, state_0, …} to {logits (batch, time, vocabulary), state_0, …}.
    With `training_batch` the network is built for training instead, from layers that train faster
    (pipelines/recurrent.py): a language model then returns the logits alone and, when
    `spec.stateful`, keeps the state itself for batches of that many rows.
    """
    if spec.kind == "classifier":
        return _classifier(spec, vocabulary_size, training_batch is not None, dropout_seed)
    if training_batch is not None:
        return _training_language_model(spec, vocabulary_size, training_batch, dropout_seed)
    return _language_model(spec, vocabulary_size)


def _classifier(spec: ModelSpec, vocabulary_size: int, training: bool,
                seed: int) -> keras.Model:
    from keras import Model, layers

    inputs, x, mask = _embedded(spec, vocabulary_size, None)
    for i, units in enumerate(spec.units):
        layer = _cell(spec, i, units, training, return_sequences=i < len(spec.units) - 1)
        if spec.bidirectional:
            layer = layers.Bidirectional(layer, name=f"both_directions_{i}")
        x = layer(x, mask=mask)  # (batch, time, units) and after the last (batch, units)
    if spec.dense:
        x = layers.Dense(spec.dense, activation="relu", name="dense")(x)
    if spec.dropout:
        x = layers.Dropout(spec.dropout, seed=seed, name="dropout")(x)
    return Model(inputs, layers.Dense(1, name="logit")(x), name="classifier")


def _language_model(spec: ModelSpec, vocabulary_size: int) -> keras.Model:
    from keras import Input, Model, layers

    inputs, x, mask = _embedded(spec, vocabulary_size, None)
    outputs: dict[str, Any] = {}
    for i, units in enumerate(spec.units):
        names = state_names(spec, i)
        states = [Input((units,), name=name) for name in names]
        inputs |= dict(zip(names, states, strict=True))
        x, *after = _cell(spec, i, units, False, return_sequences=True, return_state=True)(
            x, mask=mask, initial_state=states)  # (batch, time, units)
        outputs |= dict(zip(names, after, strict=True))
    logits = layers.Dense(vocabulary_size, name="logits")(x)  # (batch, time, vocabulary)
    return Model(inputs, {"logits": logits} | outputs, name="language_model")


def _training_language_model(spec: ModelSpec, vocabulary_size: int, batch: int,
                             seed: int) -> keras.Model:
    from keras import Model, layers

    inputs, x, mask = _embedded(spec, vocabulary_size, batch if spec.stateful else None)
    for i, units in enumerate(spec.units):
        x = _cell(spec, i, units, True, return_sequences=True,
                  stateful=spec.stateful)(x, mask=mask)
        if spec.dropout:
            x = layers.Dropout(spec.dropout, seed=seed + i, name=f"dropout_{i}")(x)
    logits = layers.Dense(vocabulary_size, name="logits")(x)
    return Model(inputs, logits, name="language_model")


def _embedded(spec: ModelSpec, vocabulary_size: int, batch: int | None) -> tuple[Any, Any, Any]:
    from keras import Input, layers, ops

    tokens = Input((None,), batch_size=batch, dtype="int32", name="tokens")
    length = Input((), batch_size=batch, dtype="int32", name="length")
    positions = ops.cumsum(ops.ones_like(tokens), axis=1)  # 1, 2, … (batch, time)
    mask = ops.less_equal(positions, ops.expand_dims(length, 1))
    x = layers.Embedding(vocabulary_size, spec.embedding, name="embedding")(tokens)
    return {"tokens": tokens, "length": length}, x, mask


def _cell(spec: ModelSpec, number: int, units: int, training: bool,
          **options: Any) -> keras.layers.Layer:
    from keras import layers

    from pipelines import cells, recurrent

    name, start = f"{spec.cell}_{number}", {"recurrent_initializer": spec.recurrent_initializer}
    if spec.cell == "peephole":
        return layers.RNN(cells.PeepholeLSTMCell(units, **start), name=name, **options)
    faster = recurrent if training else layers
    kind = {"simple": faster.SimpleRNN, "lstm": faster.LSTM, "gru": faster.GRU}[spec.cell]
    return kind(units, name=name, **start, **options)


def state_names(spec: ModelSpec, layer: int | None = None) -> list[str]:
    """Names of the state inputs and outputs, of one layer or of all."""
    each = STATES[spec.cell]
    names = [f"state_{i}" for i in range(each * len(spec.units))]
    return names if layer is None else names[layer * each:(layer + 1) * each]


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """The trained weights, state left behind. Both models come from the same spec."""
    for read, write in zip(source.trainable_variables, target.trainable_variables, strict=True):
        write.assign(read)
