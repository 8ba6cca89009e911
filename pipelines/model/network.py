"""The recurrent networks, as plain Keras graphs that any Keras 3 can load.

Padding is masked with each row's true length, which is a separate input and never inferred from
ids. A language model takes and returns its recurrent state, so the caller carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.declaration.model_sections import DropoutSpec, ModelSpec
from pipelines.files.digests import digest_json
from pipelines.model.softmax import output

if TYPE_CHECKING:
    import keras

STATES = {"simple": 1, "gru": 1, "lstm": 2, "peephole": 2}  # number of state tensors per layer
MOST_SEEDS = 2**31  # Keras accepts larger ones, but not on every backend


def seed_for(seed: int, layer: str, role: str) -> int:
    """The seed of `role` (kernel, dropout, …) in the layer with this name. Without one, Keras would
    draw it from Python's global generator, which other threads use too."""
    return int(digest_json([seed, layer, role])[:16], 16) % MOST_SEEDS


def build_model(
    spec: ModelSpec,
    vocabulary_size: int,
    training_batch: int | None = None,
    seed: int = 0,
    returns: output.Returns = "logits",
    classes: int = 2,
) -> keras.Model:
    """The network of `spec`; its initial weights and its dropout depend only on `seed`.

    A classifier maps {tokens (batch, time), length (batch,)} to a logit (batch, 1), or to one for
    each of more than two `classes`. A language model maps {tokens, length, state_0, …} to {logits
    (batch, time, vocabulary), state_0, …}. With `training_batch`, it is built for training, from
    faster layers (fast/layers.py): a language model then returns only what `returns` says, and, if
    `spec.stateful`, keeps the state itself for batches of that many rows.
    """
    if spec.kind == "classifier":
        return _classifier(spec, vocabulary_size, training_batch is not None, seed, classes)
    if training_batch is not None:
        return _training_language_model(spec, vocabulary_size, training_batch, seed, returns)
    return _language_model(spec, vocabulary_size, seed)


def _classifier(spec: ModelSpec, size: int, training: bool, seed: int, classes: int) -> keras.Model:
    from keras import Model

    inputs, mask = _inputs(None)
    x = _embedded(spec, _embedding(spec, size, seed), inputs, seed)
    last = len(spec.units) - 1
    for i in range(last):
        y = _reader(spec, i, training, seed, every=True)(x, mask=mask)
        x = _joined(spec, i, x, _dropped(spec, "between", f"dropout_{i}", y, seed))
    every = spec.pool != "last" or spec.residual
    y = _reader(spec, last, training, seed, every)(x, mask=mask)
    x = _joined(spec, last, x, y)
    x = _pooled(spec, x, inputs) if every else x  # (batch, …)
    x = _dropped(spec, "output", f"dropout_{last}", x, seed)
    if spec.dense:
        x = _dense(spec.dense, "dense", seed, activation="relu")(x)
    x = _dropped(spec, "dense", "dropout", x, seed)
    return Model(inputs, _dense(classes if classes > 2 else 1, "logit", seed)(x), name="classifier")


def _reader(
    spec: ModelSpec, number: int, training: bool, seed: int, every: bool
) -> keras.layers.Layer:
    """A classifier's recurrent layer, which returns every output or only its last one."""
    from keras import layers

    if not spec.bidirectional:
        return _cell(spec, number, training, seed, return_sequences=every)
    # Keras would copy the layer with its seeds, and both directions would start equal.
    forward, backward = (
        _cell(spec, number, training, seed, prefix, return_sequences=every, **options)
        for prefix, options in (("forward_", {}), ("backward_", {"go_backwards": True}))
    )
    return layers.Bidirectional(forward, backward_layer=backward, name=f"both_directions_{number}")


def _pooled(spec: ModelSpec, x: Any, inputs: dict[str, Any]) -> Any:
    """(batch, time, width) -> (batch, width), or three times as wide for all. Padding is left
    out."""
    from keras import ops

    place, length = _places(inputs["tokens"]), ops.expand_dims(inputs["length"], 1)
    real, count = ops.less_equal(place, length), ops.cast(length, x.dtype)
    parts = []
    if spec.pool in ("mean", "all"):
        parts.append(_sum_where(real, x) / count)
    if spec.pool in ("max", "all"):
        parts.append(ops.max(ops.where(ops.expand_dims(real, 2), x, -1e9), axis=1))
    if spec.pool in ("last", "all"):
        last = _sum_where(ops.equal(place, length), x)
        if spec.bidirectional:  # the backward half ends at the first token
            first = _sum_where(ops.equal(place, 1), x)
            last = ops.concatenate([ops.split(last, 2, 1)[0], ops.split(first, 2, 1)[1]], axis=1)
        parts.append(last)
    return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _sum_where(chosen: Any, x: Any) -> Any:
    """(batch, time), (batch, time, width) -> the sum of the chosen steps (batch, width)."""
    from keras import ops

    shares = ops.cast(ops.expand_dims(chosen, 1), x.dtype)  # (batch, 1, time)
    return ops.squeeze(ops.matmul(shares, x), 1)


def _language_model(spec: ModelSpec, vocabulary_size: int, seed: int) -> keras.Model:
    from keras import Input, Model

    inputs, mask = _inputs(None)
    embedding = _embedding(spec, vocabulary_size, seed)
    x = embedding(inputs["tokens"])
    outputs: dict[str, Any] = {}
    for i, units in enumerate(spec.units):
        names = state_names(spec, i)
        states = [Input((units,), name=name) for name in names]
        inputs |= dict(zip(names, states, strict=True))
        y, *after = _cell(spec, i, False, seed, return_sequences=True, return_state=True)(
            x, mask=mask, initial_state=states
        )  # (batch, time, units)
        x = _joined(spec, i, x, y)
        outputs |= dict(zip(names, after, strict=True))
    logits = _output(spec, embedding, x, inputs, seed, training=False)
    return Model(inputs, {"logits": logits} | outputs, name="language_model")


def _training_language_model(
    spec: ModelSpec, vocabulary_size: int, batch: int, seed: int, returns: output.Returns
) -> keras.Model:
    from keras import Input, Model

    rows = batch if spec.stateful else None
    inputs, mask = _inputs(rows)
    for name, kind in output.READ_FOR[returns].items():
        inputs[name] = Input((None,), rows, kind, name=name)
    embedding = _embedding(spec, vocabulary_size, seed)
    x = _embedded(spec, embedding, inputs, seed)
    for i in range(len(spec.units)):
        y = _cell(spec, i, True, seed, return_sequences=True, stateful=spec.stateful)(x, mask=mask)
        place = "between" if i < len(spec.units) - 1 else "output"
        x = _joined(spec, i, x, _dropped(spec, place, f"dropout_{i}", y, seed))
    x = _output(spec, embedding, x, inputs, seed, training=True)
    return Model(inputs, x, name="language_model")


def _output(
    spec: ModelSpec,
    embedding: keras.layers.Layer,
    x: Any,
    inputs: dict[str, Any],
    seed: int,
    training: bool,
) -> Any:
    """(batch, time, units) -> the logits (batch, time, vocabulary), or what `inputs` ask for."""
    from keras import initializers

    if spec.tie_embeddings and spec.projected:
        x = _dense(spec.embedding, "projection", seed, use_bias=False)(x)
        x = _dropped(spec, "dense", "dropout", x, seed) if training else x
    if spec.tie_embeddings:
        return output.tied(x, inputs, embedding)
    start = initializers.GlorotUniform(seed_for(seed, "logits", "kernel"))
    return output.dense(x, inputs, embedding.input_dim, start)


def _inputs(batch: int | None) -> tuple[dict[str, Any], Any]:
    """Tokens and length, and the mask (batch, time)."""
    from keras import Input, ops

    tokens = Input((None,), batch_size=batch, dtype="int32", name="tokens")
    length = Input((), batch_size=batch, dtype="int32", name="length")
    mask = ops.less_equal(_places(tokens), ops.expand_dims(length, 1))
    return {"tokens": tokens, "length": length}, mask


def _places(tokens: Any) -> Any:
    """1, 2, … in each row (batch, time)."""
    from keras import ops

    return ops.cumsum(ops.ones_like(tokens), axis=1)


def _embedding(spec: ModelSpec, vocabulary_size: int, seed: int) -> keras.layers.Layer:
    from keras import initializers, layers

    start = initializers.RandomUniform(seed=seed_for(seed, "embedding", "embeddings"))
    kind = layers.ReversibleEmbedding if spec.tie_embeddings else layers.Embedding
    return kind(vocabulary_size, spec.embedding, embeddings_initializer=start, name="embedding")


def _embedded(
    spec: ModelSpec, embedding: keras.layers.Layer, inputs: dict[str, Any], seed: int
) -> Any:
    """The tokens' vectors (batch, time, embedding) after dropout."""
    x = embedding(inputs["tokens"])
    for place in ("word", "embedding"):
        x = _dropped(spec, place, f"dropout_{place}", x, seed)
    return x


def _joined(spec: ModelSpec, number: int, x: Any, y: Any) -> Any:
    """A recurrent layer's outputs `y`, with its inputs `x` added by a residual connection, and
    normalized."""
    from keras import layers, ops

    joined = ops.add(x, y) if spec.residual and number else y
    return layers.LayerNormalization(name=f"norm_{number}")(joined) if spec.layer_norm else joined


def _dropped(spec: ModelSpec, place: str, name: str, x: Any, seed: int) -> Any:
    """`x` after the dropout declared for `place`."""
    from keras import layers

    rate = getattr(spec.places, place)
    if not rate:
        return x
    shape = None
    if isinstance(spec.dropout, DropoutSpec) and len(x.shape) == 3:
        shape = (None, None, 1) if place == "word" else (None, 1, None)
    return layers.Dropout(rate, shape, seed_for(seed, name, "dropout"), name=name)(x)


def _cell(
    spec: ModelSpec, number: int, training: bool, seed: int, prefix: str = "", **options: Any
) -> keras.layers.Layer:
    from keras import initializers, layers

    from pipelines.model import cells
    from pipelines.model.fast import layers as recurrent

    name, units = f"{prefix}{spec.cell}_{number}", spec.units[number]
    orthogonal = spec.recurrent_initializer == "orthogonal"
    recurrent_start = initializers.Orthogonal if orthogonal else initializers.GlorotUniform
    seeded = {
        "kernel_initializer": initializers.GlorotUniform(seed_for(seed, name, "kernel")),
        "recurrent_initializer": recurrent_start(seed=seed_for(seed, name, "recurrent_kernel")),
        "seed": seed_for(seed, name, "dropout"),
    }
    faster = recurrent if training else layers
    if training and spec.places.recurrent:
        options["weight_dropout"] = spec.places.recurrent
    if spec.cell == "peephole":
        return faster.RNN(cells.PeepholeLSTMCell(units, **seeded), name=name, **options)
    if spec.cell == "simple" and not training:  # Keras's SimpleRNN does not save its seed
        return layers.RNN(layers.SimpleRNNCell(units, **seeded), name=name, **options)
    kind = {"simple": faster.SimpleRNN, "lstm": faster.LSTM, "gru": faster.GRU}[spec.cell]
    return kind(units, name=name, **seeded, **options)


def _dense(units: int, name: str, seed: int, **options: Any) -> keras.layers.Layer:
    from keras import initializers, layers

    start = initializers.GlorotUniform(seed_for(seed, name, "kernel"))
    return layers.Dense(units, kernel_initializer=start, name=name, **options)


def state_names(spec: ModelSpec, layer: int | None = None) -> list[str]:
    """Names of the state inputs and outputs, of one layer or of all."""
    each = STATES[spec.cell]
    names = [f"state_{i}" for i in range(each * len(spec.units))]
    return names if layer is None else names[layer * each : (layer + 1) * each]


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Copy the trained weights, without the state. Both come from the same spec."""
    from keras import ops

    for read, write in zip(source.trainable_variables, target.trainable_variables, strict=True):
        write.assign(ops.copy(read))  # JAX would share the buffer, and give it to the next step
