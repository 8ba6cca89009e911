"""One step of each kind of recurrent cell, and a layer that takes them in turn, as Keras computes
them. float32 throughout."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

States = list[np.ndarray]  # each (rows, units)
# (projected input (rows, gates × units), states) → states, the first of which is the output
Step = Callable[[np.ndarray, States], States]


def sigmoid(x: np.ndarray) -> np.ndarray:
    half = np.float32(0.5)
    return half * np.tanh(half * x) + half


def cell(kind: str, weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, Step]:
    """The kernel and bias that project a cell's input, and its step from there."""
    kernel, recurrent, bias = weights[:3]
    if kind == "gru":
        return kernel, bias[0], _gru(recurrent, bias[1])
    if kind == "simple":
        return kernel, bias, lambda x, states: [np.tanh(x + states[0] @ recurrent)]
    return kernel, bias, _lstm(recurrent, weights[3] if kind == "peephole" else None)


def _lstm(recurrent: np.ndarray, peepholes: np.ndarray | None) -> Step:
    to_i, to_f, to_o = peepholes if peepholes is not None else np.zeros((3, 1), np.float32)

    def step(x: np.ndarray, states: States) -> States:
        h, c = states
        i, f, g, o = np.split(x + h @ recurrent, 4, axis=1)
        c = sigmoid(f + to_f * c) * c + sigmoid(i + to_i * c) * np.tanh(g)
        return [sigmoid(o + to_o * c) * np.tanh(c), c]

    return step


def _gru(recurrent: np.ndarray, bias: np.ndarray) -> Step:
    """The variant of cuDNN, in which the reset gate applies after the product."""

    def step(x: np.ndarray, states: States) -> States:
        (h,) = states
        x_z, x_r, x_h = np.split(x, 3, axis=1)
        h_z, h_r, h_h = np.split(h @ recurrent + bias, 3, axis=1)
        z = sigmoid(x_z + h_z)
        return [z * h + (1 - z) * np.tanh(x_h + sigmoid(x_r + h_r) * h_h)]

    return step


def run(
    step: Step, x: np.ndarray, length: np.ndarray, states: States, backwards: bool = False
) -> tuple[np.ndarray, States]:
    """The outputs (rows, time, units) of projected inputs (rows, time, …), and the last states.

    After a row's `length`, its states and its output stay as they were.
    """
    rows, width = x.shape[:2]
    outputs = np.zeros((rows, width, states[0].shape[1]), np.float32)
    for t in range(width - 1, -1, -1) if backwards else range(width):
        after, reads = step(x[:, t], states), (t < length)[:, None]
        states = (
            after
            if reads.all()
            else [np.where(reads, new, old) for new, old in zip(after, states, strict=True)]
        )
        outputs[:, t] = states[0]
    return outputs, states
