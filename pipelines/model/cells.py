"""Recurrent cells that Keras does not have: the LSTM with peephole connections."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Tensor = Any


@keras.saving.register_keras_serializable("folio")
class PeepholeLSTMCell(keras.layers.LSTMCell):
    """An LSTM cell with peephole connections (Gers, Schraudolph and Schmidhuber 2002).

    The input and forget gates also read the cell state before the step, the output gate the one
    after it, each unit its own: three more weights per unit than an LSTM. Inputs (batch, features),
    states h and c (batch, units) -> h, [h, c].
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.peephole = self.add_weight(shape=(3, self.units), initializer="zeros", name="peephole")

    def call(
        self, inputs: Tensor, states: list[Tensor], training: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        h, c = states
        sums = ops.matmul(inputs, self.kernel) + ops.matmul(h, self.recurrent_kernel) + self.bias
        i, f, g, o = ops.split(sums, 4, axis=1)
        to_i, to_f, to_o = self.peephole[0], self.peephole[1], self.peephole[2]
        i, f = ops.sigmoid(i + to_i * c), ops.sigmoid(f + to_f * c)
        c = f * c + i * ops.tanh(g)
        h = ops.sigmoid(o + to_o * c) * ops.tanh(c)
        return h, [h, c]
