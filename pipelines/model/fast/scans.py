"""Recurrent layers over all time steps, with hand-written gradients (see layers.py).

All tensors are time-major; `mask` is (time, batch, 1) or None: a masked step keeps the state. The
inputs `x` are (time, batch, features), or with `ids` (time, batch) a table (rows, features) that
the ids select rows of: then each row is multiplied only once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
from keras import ops

from pipelines.model.fast.projections import (
    column_sums,
    project,
    projection_gradients,
    recurrent_gradient,
    states_before,
)
from pipelines.model.fast.steps import gru_biases, gru_step, lstm_step

Tensor = Any
Stepped = tuple[list[Tensor], list[Tensor]]  # new states, this step's outputs
Step = Callable[[list[Tensor], list[Tensor]], Stepped]  # states, this step's inputs -> …
Gradient = Callable[..., tuple[Tensor, ...]]  # the outputs' gradients -> the arguments'


def lstm(mask: Tensor | None, ids: Tensor | None, *arguments: Tensor) -> tuple[Tensor, Tensor]:
    """x, kernel, recurrent kernel, bias, h, c -> all h (time, batch, units), the last c."""

    @ops.custom_gradient
    def run(
        x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, first_h: Tensor, first_c: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Gradient]:
        last_c, h, *saved = _compiled(_lstm_forward)(
            mask, recurrent, project(ids, x, kernel, bias), first_h, first_c
        )

        def gradient(*upstream: Tensor) -> tuple[Tensor, ...]:
            dz, dh, dc = _compiled(_lstm_backward)(
                mask, recurrent, *keras.tree.flatten(upstream), *saved
            )
            dx, dkernel, dbias = projection_gradients(ids, x, kernel, dz)
            return dx, dkernel, recurrent_gradient(first_h, h, dz), dbias, dh, dc

        return (h, last_c), gradient

    return run(*arguments)


def _lstm_forward(
    mask: Tensor | None, recurrent: Tensor, projected: Tensor, h: Tensor, c: Tensor
) -> list[Tensor]:
    """The last c (batch, units); all h, the c before each step and the gates i, f, g, o: each
    (time, batch, units)."""

    def step(states: list[Tensor], inputs: list[Tensor]) -> Stepped:
        *new, i, f, g, o = lstm_step(inputs[0], recurrent, *states)
        if mask is not None:
            new = [ops.where(inputs[1], a, b) for a, b in zip(new, states, strict=True)]
        return new, [new[0], states[1], i, f, g, o]

    states, saved = _scan(step, [h, c], [projected, mask], [h.shape[1]] * 6)
    return [states[1], *saved]


def _lstm_backward(
    mask: Tensor | None,
    recurrent: Tensor,
    dh: Tensor,
    dc: Tensor,
    before: Tensor,
    i: Tensor,
    f: Tensor,
    g: Tensor,
    o: Tensor,
) -> list[Tensor]:
    """The gradients of the gates' sums (time, batch, 4 units) and of the first h and c.

    dh, dc: the gradients of all h (time, batch, units) and of the last c (batch, units); before:
    the c before each step.
    """
    transposed = ops.transpose(recurrent)

    def step(states: list[Tensor], inputs: list[Tensor]) -> Stepped:
        (dh, dc), (above, before, i, f, g, o) = states, inputs[:6]
        dh = dh + above
        tanh_c = ops.tanh(f * before + i * g)
        total = dc + dh * (o * (1 - tanh_c * tanh_c))
        dz = ops.concatenate(
            [
                total * (g * i * (1 - i)),
                total * (before * f * (1 - f)),
                total * (i * (1 - g * g)),
                dh * (tanh_c * o * (1 - o)),
            ],
            axis=1,
        )
        if mask is None:
            return [ops.matmul(dz, transposed), total * f], [dz]
        dz = ops.where(inputs[6], dz, 0.0)  # a masked step passes both gradients on unchanged
        return [
            ops.where(inputs[6], ops.matmul(dz, transposed), dh),
            ops.where(inputs[6], total * f, dc),
        ], [dz]

    states, (dz,) = _scan(
        step,
        [ops.zeros_like(dc), dc],
        [dh, before, i, f, g, o, mask],
        [4 * f.shape[2]],
        reverse=True,
    )
    return [dz, *states]


def gru(mask: Tensor | None, ids: Tensor | None, *arguments: Tensor) -> Tensor:
    """x, kernel, recurrent kernel, bias, h -> all h (time, batch, units)."""

    @ops.custom_gradient
    def run(
        x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, first_h: Tensor
    ) -> tuple[Tensor, Gradient]:
        gated = 2 * recurrent.shape[0]  # columns of the gates z and r; the candidate's follow
        added, scaled = gru_biases(bias)
        h, *gates = _compiled(_gru_forward)(
            mask, recurrent, project(ids, x, kernel, added), scaled, first_h
        )

        def gradient(*upstream: Tensor) -> tuple[Tensor, ...]:
            before = states_before(first_h, h)
            da, dg, dh = _compiled(_gru_backward)(
                mask, recurrent, *keras.tree.flatten(upstream), before, *gates
            )
            dx, dkernel, dbias = projection_gradients(
                ids, x, kernel, ops.concatenate([da[:, :, :gated], dg], axis=2)
            )
            return (
                dx,
                dkernel,
                recurrent_gradient(first_h, h, da),
                ops.stack([dbias, column_sums(da)]),
                dh,
            )

        return h, gradient

    return run(*arguments)


def _gru_forward(
    mask: Tensor | None, recurrent: Tensor, projected: Tensor, bias: Tensor, h: Tensor
) -> list[Tensor]:
    """All h, gates z and r, candidates g and their `a = h @ U + bias`: (time, batch, units)."""

    def step(states: list[Tensor], inputs: list[Tensor]) -> Stepped:
        new, *gates = gru_step(inputs[0], recurrent, bias, *states)
        if mask is not None:
            new = ops.where(inputs[1], new, *states)
        return [new], [new, *gates]

    return _scan(step, [h], [projected, mask], [h.shape[1]] * 5)[1]


def _gru_backward(
    mask: Tensor | None,
    recurrent: Tensor,
    dh: Tensor,
    before: Tensor,
    z: Tensor,
    r: Tensor,
    g: Tensor,
    a: Tensor,
) -> list[Tensor]:
    """The gradients of `h @ U` (time, batch, 3 units), the candidates' sums and the first h.

    dh: the gradient of all h; before: the state before each step (time, batch, units).
    """
    transposed = ops.transpose(recurrent)

    def step(states: list[Tensor], inputs: list[Tensor]) -> Stepped:
        (dh,), (above, before, z, r, g, a) = states, inputs[:6]
        dh = dh + above
        dg = dh * ((1 - z) * (1 - g * g))
        da = ops.concatenate(
            [dh * ((before - g) * z * (1 - z)), dg * (a * r * (1 - r)), dg * r], axis=1
        )
        if mask is None:
            return [dh * z + ops.matmul(da, transposed)], [da, dg]
        # A masked step passes the gradient on unchanged.
        da, dg = ops.where(inputs[6], da, 0.0), ops.where(inputs[6], dg, 0.0)
        return [ops.where(inputs[6], dh * z + ops.matmul(da, transposed), dh)], [da, dg]

    (first,), gradients = _scan(
        step,
        [ops.zeros_like(dh[0])],
        [dh, before, z, r, g, a, mask],
        [3 * z.shape[2], z.shape[2]],
        reverse=True,
    )
    return [*gradients, first]


def simple(mask: Tensor | None, ids: Tensor | None, *arguments: Tensor) -> Tensor:
    """x, kernel, recurrent kernel, bias, h -> all h (time, batch, units)."""

    @ops.custom_gradient
    def run(
        x: Tensor, kernel: Tensor, recurrent: Tensor, bias: Tensor, first_h: Tensor
    ) -> tuple[Tensor, Gradient]:
        (h,) = _compiled(_simple_forward)(mask, recurrent, project(ids, x, kernel, bias), first_h)

        def gradient(*upstream: Tensor) -> tuple[Tensor, ...]:
            dz, dh = _compiled(_simple_backward)(mask, recurrent, *keras.tree.flatten(upstream), h)
            dx, dkernel, dbias = projection_gradients(ids, x, kernel, dz)
            return dx, dkernel, recurrent_gradient(first_h, h, dz), dbias, dh

        return h, gradient

    return run(*arguments)


def _simple_forward(
    mask: Tensor | None, recurrent: Tensor, projected: Tensor, h: Tensor
) -> list[Tensor]:
    """All h: (time, batch, units)."""

    def step(states: list[Tensor], inputs: list[Tensor]) -> Stepped:
        new = ops.tanh(inputs[0] + ops.matmul(states[0], recurrent))
        if mask is not None:
            new = ops.where(inputs[1], new, states[0])
        return [new], [new]

    return _scan(step, [h], [projected, mask], [h.shape[1]])[1]


def _simple_backward(mask: Tensor | None, recurrent: Tensor, dh: Tensor, h: Tensor) -> list[Tensor]:
    """The gradients of the sums (time, batch, units) and of the first h; dh: that of all h."""
    transposed = ops.transpose(recurrent)

    def step(states: list[Tensor], inputs: list[Tensor]) -> Stepped:
        above, h = inputs[:2]
        dh = states[0] + above
        dz = dh * (1 - h * h)
        if mask is None:
            return [ops.matmul(dz, transposed)], [dz]
        dz = ops.where(inputs[2], dz, 0.0)  # a masked step passes the gradient on unchanged
        return [ops.where(inputs[2], ops.matmul(dz, transposed), dh)], [dz]

    (first,), (dz,) = _scan(
        step, [ops.zeros_like(dh[0])], [dh, h, mask], [dh.shape[2]], reverse=True
    )
    return [dz, first]


@cache
def _compiled(function: Callable[..., list[Tensor]]) -> Callable[..., list[Tensor]]:
    """`function` as an XLA program, compiled once for each shape; JAX compiles the whole step."""
    if keras.backend.backend() != "tensorflow":
        return function
    # Each scan is a separate program, so that TensorFlow runs the two directions of a bidirectional
    # layer in parallel, one on each core. Within one program they would run one after the other.
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def _scan(
    step: Step,
    states: list[Tensor],
    inputs: list[Tensor | None],
    widths: list[int],
    reverse: bool = False,
) -> tuple[list[Tensor], list[Tensor]]:
    """The last states, and each output of all steps as (time, batch, width)."""
    read = [each for each in inputs if each is not None]
    if keras.backend.backend() == "jax":
        import jax

        return jax.lax.scan(step, states, read, reverse=reverse)
    import tensorflow as tf  # keras.ops.scan loses outputs with other shapes than the states

    steps, batch, dtype = tf.shape(read[0])[0], states[0].shape[0], states[0].dtype
    reads = [tf.TensorArray(x.dtype, steps, element_shape=x.shape[1:]).unstack(x) for x in read]
    writes = [tf.TensorArray(dtype, steps, element_shape=(batch, width)) for width in widths]

    def body(
        n: Tensor, states: list[Tensor], writes: list[Any]
    ) -> tuple[Tensor, list[Tensor], list[Any]]:
        t = steps - 1 - n if reverse else n
        states, outputs = step(states, [array.read(t) for array in reads])
        return n + 1, states, [w.write(t, y) for w, y in zip(writes, outputs, strict=True)]

    _, states, writes = tf.while_loop(lambda n, *_: n < steps, body, (0, states, writes))
    return states, [array.stack() for array in writes]
