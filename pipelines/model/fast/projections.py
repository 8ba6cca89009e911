"""What a recurrent layer computes for all time steps at once, each as one matrix product.

These are the input projections of the gates, and the gradients of the weights. All tensors are
time-major, as in scans.py.
"""

from __future__ import annotations

from typing import Any

from keras import ops

Tensor = Any


def states_before(first: Tensor, states: Tensor) -> Tensor:
    """(batch, units), (time, batch, units) -> the state before each step, shaped like `states`."""
    return ops.concatenate([first[None], states[:-1]], axis=0)


def project(ids: Tensor | None, x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """The input projection of all steps (time, batch, gates), as one product."""
    if ids is not None:
        return ops.take(ops.matmul(x, kernel) + bias, ids, axis=0)
    time, batch, features = ops.shape(x)
    rows = ops.matmul(ops.reshape(x, (-1, features)), kernel) + bias
    return ops.reshape(rows, (time, batch, kernel.shape[1]))


def projection_gradients(
    ids: Tensor | None, x: Tensor, kernel: Tensor, dz: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, kernel and bias."""
    rows = ops.reshape(x, (-1, x.shape[-1]))
    dz = ops.reshape(dz, (-1, dz.shape[2]))
    if ids is not None:  # summed over all lookups of each row
        dz = ops.matmul(ops.transpose(ops.one_hot(ops.reshape(ids, (-1,)), x.shape[0])), dz)
    # The third axis prevents TensorFlow from undoing the copy and multiplying by a transposed
    # argument.
    transposed = ops.transpose(kernel[None])[:, :, 0]
    dx = ops.reshape(ops.matmul(dz, transposed), ops.shape(x))
    return dx, ops.matmul(ops.transpose(rows), dz), column_sums(dz)


def _over_steps(x: Tensor, dz: Tensor) -> Tensor:
    """(time, batch, n), (time, batch, m) -> (n, m): a weight's gradient, as one product."""
    return ops.matmul(
        ops.transpose(ops.reshape(x, (-1, x.shape[2]))), ops.reshape(dz, (-1, dz.shape[2]))
    )


def recurrent_gradient(first: Tensor, h: Tensor, dz: Tensor) -> Tensor:
    """The gradient of the recurrent weights, from each step's sums and the state before it."""
    return ops.matmul(ops.transpose(first), dz[0]) + _over_steps(h[:-1], dz[1:])


def column_sums(dz: Tensor) -> Tensor:
    """(…, m) -> (m,). A product, because TensorFlow's sum takes four times as long."""
    rows = ops.reshape(dz, (-1, dz.shape[-1]))
    return ops.matmul(ops.transpose(ops.ones_like(rows[:, :1])), rows)[0]
