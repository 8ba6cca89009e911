"""Recurrent layers that train faster on a CPU, with Keras's weights, configuration and results.

Keras differentiates its scan step by step. Here the scan computes only the product that depends on
the previous step, and its gradient is written by hand:

- forward: the input projection of all steps is one product, or for a small vocabulary (characters)
  a product of the embeddings only; the scan adds `h @ U` and the gates;
- backward: the scan takes the gates from the forward pass and carries the state's gradient through
  a transposed copy of U (TensorFlow multiplies by a transposed argument at a third of the speed);
- the gradients of the weights are one product each over all steps.

Only training uses this, and only where it is faster (see `_gains`). Everything else is inherited,
so these layers can replace Keras's anywhere. Save models with Keras's layers, which take the
weights: `plain.set_weights(fast.get_weights())`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
from keras import ops

from pipelines.model.fast.scans import gru, lstm, simple

Tensor = Any


@keras.saving.register_keras_serializable("folio")
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` with dropped weights: in each call in training, the share `weight_dropout`
    of the recurrent weights is zero for all rows and steps (Merity, Keskar and Socher 2018).

    A scan multiplies by such weights as by any others, so that it keeps its speed.
    """

    def __init__(self, *arguments: Any, weight_dropout: float = 0.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.weight_dropout = weight_dropout

    def call(
        self,
        sequences: Tensor,
        initial_state: list[Tensor] | None = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Tensor:
        with self._dropped_weights() if training and self.weight_dropout else nullcontext():
            return super().call(sequences, initial_state, mask, training)

    @contextmanager
    def _dropped_weights(self) -> Iterator[None]:
        cell = self.cell
        attributes, kernel = cell.__dict__, cell.recurrent_kernel
        # Not by setattr, with which Keras would track the tensor.
        attributes["recurrent_kernel"] = keras.random.dropout(
            kernel, self.weight_dropout, seed=cell.seed_generator
        )
        try:
            yield
        finally:
            attributes["recurrent_kernel"] = kernel

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"weight_dropout": self.weight_dropout}


@keras.saving.register_keras_serializable("folio")
class LSTM(RNN, keras.layers.LSTM):
    """`keras.layers.LSTM`, faster in training: (batch, time, features) -> (batch, time, units)."""

    def inner_loop(
        self,
        sequences: Tensor,
        initial_state: list[Tensor],
        mask: Tensor | None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        if not (training and _gains(self)):
            return super().inner_loop(sequences, initial_state, mask, training)
        ids, x, mask = _time_major(self, sequences, mask)
        h, c = lstm(mask, ids, x, *_weights(self.cell), *initial_state)
        return *_outputs(self, h, mask), [h[-1], c]


@keras.saving.register_keras_serializable("folio")
class GRU(RNN, keras.layers.GRU):
    """`keras.layers.GRU`, faster in training: (batch, time, features) -> (batch, time, units)."""

    def inner_loop(
        self,
        sequences: Tensor,
        initial_state: list[Tensor],
        mask: Tensor | None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        if not (training and self.reset_after and _gains(self)):
            return super().inner_loop(sequences, initial_state, mask, training)
        ids, x, mask = _time_major(self, sequences, mask)
        h = gru(mask, ids, x, *_weights(self.cell), *initial_state)
        return *_outputs(self, h, mask), [h[-1]]


@keras.saving.register_keras_serializable("folio")
class SimpleRNN(RNN, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`, faster in training: (batch, time, features) -> (batch, time,
    units)."""

    def inner_loop(
        self,
        sequences: Tensor,
        initial_state: list[Tensor],
        mask: Tensor | None,
        training: bool = False,
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        if not (training and _gains(self)):
            return super().inner_loop(sequences, initial_state, mask, training)
        ids, x, mask = _time_major(self, sequences, mask)
        h = simple(mask, ids, x, *_weights(self.cell), *initial_state)
        return *_outputs(self, h, mask), [h[-1]]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.cell.seed}  # which Keras omits


def _gains(layer: keras.layers.RNN) -> bool:
    """Whether the hand-written gradient applies to this layer and is faster: on a CPU, in
    graphs."""
    cell = layer.cell
    if not (
        cell.activation is keras.activations.tanh
        and cell.use_bias
        and getattr(cell, "recurrent_activation", keras.activations.sigmoid)
        is keras.activations.sigmoid
        and not (cell.dropout or cell.recurrent_dropout or layer.unroll)
        and layer.compute_dtype == "float32"
    ):
        return False
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly() and not tf.config.list_logical_devices("GPU")
    if keras.backend.backend() == "jax":
        import jax

        return jax.default_backend() == "cpu"
    return False


def _time_major(
    layer: keras.layers.RNN, sequences: Tensor, mask: Tensor | None
) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """Ids (time, batch) and a table's rows, or None and inputs (time, batch, features); and the
    mask (time, batch, 1). In processing order."""
    ids, x = _looked_up(sequences) or (None, ops.transpose(sequences, (1, 0, 2)))
    if mask is not None:
        mask = ops.transpose(ops.cast(keras.tree.flatten(mask)[0], "bool"))[:, :, None]
    if layer.go_backwards:
        ids, x = (None, ops.flip(x, 0)) if ids is None else (ops.flip(ids, 0), x)
        mask = None if mask is None else ops.flip(mask, 0)
    return ids, x, mask


def _looked_up(sequences: Tensor) -> tuple[Tensor, Tensor] | None:
    """The ids and the table that `sequences` were looked up from, if TensorFlow's graph shows them
    and the table is small enough to benefit, as for characters."""
    if keras.backend.backend() != "tensorflow" or sequences.op.type != "GatherV2":
        return None
    table, ids, _ = sequences.op.inputs
    return (ops.transpose(ids), table) if table.shape[0] < 2 * table.shape[1] else None


def _weights(cell: keras.layers.Layer) -> list[Tensor]:
    # As tensors, because TensorFlow's custom_gradient rejects variables.
    return [ops.convert_to_tensor(w) for w in (cell.kernel, cell.recurrent_kernel, cell.bias)]


def _outputs(layer: keras.layers.RNN, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The last output (batch, units) and all outputs (batch, time, units), masked like Keras's."""
    if mask is not None and layer.zero_output_for_mask:
        h = ops.where(mask, h, 0.0)
    elif mask is not None and keras.backend.backend() == "tensorflow":
        # A masked step repeats the previous output, which is zero until the row's first step.
        steps = ops.arange(ops.shape(mask)[0], dtype="int32")[:, None, None]
        begun = ops.logical_and(steps >= ops.argmax(mask, axis=0), ops.any(mask, axis=0))
        h = ops.where(begun, h, 0.0)
    return h[-1], ops.transpose(h, (1, 0, 2)) if layer.return_sequences else h[-1][:, None]
