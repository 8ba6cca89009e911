"""A new network takes the weights of the model that it starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.declaration.model_sections import ModelSpec

if TYPE_CHECKING:
    import keras

OUTPUTS = ("projection", "logits")  # a language model's


def copy_start(spec: ModelSpec, source: keras.Model, target: keras.Model) -> list[keras.Variable]:
    """Copy the weights of `source`'s embedding and recurrent layers and, if both are language
    models with as many of these layers, of its output if that is of the same form; returns the
    copies.

    The tokens of `target` are those of `source`, perhaps with more at the end: these keep their
    initial weights.
    """
    kind = "both_directions" if spec.bidirectional else spec.cell
    names = ["embedding", *(f"{one}_{i}" for i in range(len(spec.units)) for one in (kind, "norm"))]
    there, here = ({layer.name for layer in model.layers} for model in (source, target))
    if f"{kind}_{len(spec.units) - 1}" in there:
        names += OUTPUTS
    copied = []
    for name in (name for name in names if name in there & here):
        read, written = (model.get_layer(name).trainable_variables for model in (source, target))
        if name in OUTPUTS and [len(v.shape) for v in read] != [len(v.shape) for v in written]:
            continue  # one is tied to the embedding, the other is not
        for one, other in zip(read, written, strict=True):
            _copy(one, other)
        copied += written
    return copied


def _copy(read: Any, write: Any) -> None:
    """Over the first rows and columns, as many as `read` has."""
    from keras import ops

    values = ops.convert_to_numpy(write).copy()
    values[tuple(slice(0, length) for length in read.shape)] = ops.convert_to_numpy(read)
    write.assign(values)
