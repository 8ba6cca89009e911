"""One step of an LSTM and of a GRU, with the input projection precomputed.

The cells are Keras's, the GRU with `reset_after`; all tensors are (rows, …).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

Tensor = Any


def lstm_step(projected: Tensor, recurrent: Tensor, h: Tensor, c: Tensor) -> list[Tensor]:
    """The new h and c, and the gates i, f, g, o. `projected` is `x @ W + bias`."""
    # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2: with tanh alone, all gates are one loop.
    scale = np.repeat(np.array([0.5, 0.5, 1, 0.5], np.float32), h.shape[1])
    sums = projected + ops.matmul(h, recurrent)
    i, f, g, o = ops.split(scale * ops.tanh(scale * sums) + (1 - scale), 4, axis=1)
    c = f * c + i * g
    return [o * ops.tanh(c), c, i, f, g, o]


def gru_step(projected: Tensor, recurrent: Tensor, bias: Tensor, h: Tensor) -> list[Tensor]:
    """The new h, the gates z and r, the candidate g and its `a = h @ U + bias`. `projected` is
    `x @ W` plus the first of the `gru_biases`, `bias` the second."""
    gated, product = 2 * h.shape[1], ops.matmul(h, recurrent)
    z, r = ops.split(ops.sigmoid(projected[:, :gated] + product[:, :gated]), 2, axis=1)
    a = product[:, gated:] + bias
    g = ops.tanh(projected[:, gated:] + r * a)
    return [z * h + (1 - z) * g, z, r, g, a]


def gru_biases(bias: Tensor) -> tuple[Tensor, Tensor]:
    """What is added to the inputs (3 units,), and the candidate's recurrent bias (units,), which is
    scaled by r."""
    units = bias.shape[1] // 3
    return bias[0] + ops.pad(bias[1, : 2 * units], (0, units)), bias[1, 2 * units :]
