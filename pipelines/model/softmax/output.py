"""The last layer of a language model: the logits of all words, or in training what costs less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pipelines.model.softmax import sampled

if TYPE_CHECKING:
    import keras

    from pipelines.declaration.model_sections import ModelSpec
    from pipelines.declaration.training_section import TrainingSpec

# In training: all logits, those of targets and candidates, or the mean loss itself; and what else
# the network reads for this.
Returns = Literal["logits", "sampled", "loss"]
READ_FOR: dict[Returns, dict[str, str]] = {
    "logits": {},
    "sampled": {"targets": "int32", "candidates": "int32"},
    "loss": {"targets": "int32", "weight": "float32"},
}


def returned(spec: ModelSpec, training: TrainingSpec, vocabulary: int) -> Returns:
    """What the network of a training returns. The loss is the logits' own, only faster."""
    if training.sampled_softmax is not None:
        return "sampled"
    if spec.kind == "classifier" or spec.builder or training.label_smoothing:
        return "logits"
    from pipelines.model.softmax import blocks

    return "loss" if blocks.gains(vocabulary) else "logits"


def dense(x: Any, inputs: dict[str, Any], size: int, start: keras.Initializer) -> Any:
    """(batch, time, width) -> (batch, time, size), or the loss (1, 1) if `inputs` have weights."""
    from keras import layers, ops

    if "weight" not in inputs:
        return layers.Dense(size, kernel_initializer=start, name="logits")(x)
    from pipelines.model.softmax.blocks import DenseNats

    layer = DenseNats(size, kernel_initializer=start, name="logits")
    return layer(ops.copy(x), inputs["targets"], inputs["weight"])  # the copy has no mask


def tied(x: Any, inputs: dict[str, Any], embedding: keras.layers.Layer) -> Any:
    """The same with the embedding vectors as weights, or the sampled logits if `inputs` have
    candidates."""
    from keras import layers, ops

    x = ops.copy(x)  # without the mask, which the embedding would warn of
    # Keras has no layer of biases alone: these are a table with a column.
    table = embedding.input_dim, 1, "zeros"
    if "weight" in inputs:
        from pipelines.model.softmax.blocks import TiedNats

        vectors = embedding(_every_id(embedding, inputs))
        layer = TiedNats(*table, name="logits")
        return layer(x, vectors, inputs["targets"], inputs["weight"])
    biases = layers.Embedding(*table, name="logits")
    if "candidates" in inputs:
        return sampled.logits(x, inputs, embedding, biases)
    every = biases(_every_id(embedding, inputs))  # (vocabulary, 1)
    return ops.add(embedding(x, reverse=True), ops.reshape(every, (1, 1, -1)))


def _every_id(embedding: keras.layers.Layer, inputs: dict[str, Any]) -> Any:
    """0, 1, … (vocabulary,), computed in the graph."""
    from keras import ops

    one = ops.ones_like(ops.max(inputs["length"], keepdims=True))  # (1,)
    return ops.subtract(ops.cumsum(ops.repeat(one, embedding.input_dim)), 1)
