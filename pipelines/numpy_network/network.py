"""A trained network that NumPy computes: for a few texts, it answers before Keras is imported."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import DamagedError
from pipelines.model.network import STATES, state_names
from pipelines.numpy_network.recurrence import States, cell, run
from pipelines.numpy_network.weights import Weights, read_weights

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

GATES = {"simple": 1, "gru": 3, "lstm": 4, "peephole": 4}  # of the sums that a step projects
EPSILON = np.float32(1e-3)  # of Keras's LayerNormalization
Inputs = Mapping[str, np.ndarray]
Shapes = dict[str, list[tuple[int, ...]]]  # of the weights, by layer


class NumpyNetwork:
    """The network of `spec`, with the inputs and outputs of the Keras model from `build_model`.

    Its values are those of Keras to about 1e-6. `output` has the shapes of a language model's
    outputs, as `keras.Model.output` has.
    """

    def __init__(self, spec: ModelSpec, weights: Weights, vocabulary_size: int) -> None:
        self.spec, self.weights = spec, weights
        self.output = {"logits": SimpleNamespace(shape=(None, None, vocabulary_size))}
        self.embeddings = weights["embedding"][0]
        self.cells = [self._cell(i) for i in range(len(spec.units))]

    @classmethod
    def load(
        cls, path: Path, spec: ModelSpec, vocabulary_size: int, classes: int = 2
    ) -> NumpyNetwork:
        """Raises DamagedError if the file is not a model, or another one than `spec` declares."""
        weights = read_weights(path)
        if problem := _unlike(_shapes(spec, vocabulary_size, classes), weights):
            raise DamagedError(f"{path}: another network than was declared: {problem}")
        return cls(spec, weights, vocabulary_size)

    def predict_on_batch(self, inputs: Inputs) -> Any:
        """A classifier's logits (rows, labels), or a language model's outputs by name."""
        with _one_thread():
            if self.spec.kind == "classifier":
                return self._classified(inputs["tokens"], inputs["length"])
            return self._continued(inputs)

    def _cell(self, number: int) -> list[tuple]:
        """One cell, or those of both directions."""
        kind = self.spec.cell
        return [cell(kind, self.weights[name]) for name in _cell_names(self.spec, number)]

    def _classified(self, tokens: np.ndarray, length: np.ndarray) -> np.ndarray:
        x, spec = self.embeddings[tokens], self.spec
        for number in range(len(spec.units)):
            y = self._read(number, x, length)
            x = self._joined(number, x, y)
        x = self._pooled(x, length)
        if spec.dense:
            x = np.maximum(self._dense("dense", x), 0)
        return self._dense("logit", x)

    def _read(self, number: int, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        """A layer's outputs (rows, time, units of both directions), from the zero state."""
        parts = []
        for backwards, (kernel, bias, step) in enumerate(self.cells[number]):
            parts.append(
                run(step, x @ kernel + bias, length, self._zeros(number, x), bool(backwards))[0]
            )
        return np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]

    def _zeros(self, number: int, x: np.ndarray) -> States:
        shape = len(x), self.spec.units[number]
        return [np.zeros(shape, np.float32) for _ in range(STATES[self.spec.cell])]

    def _pooled(self, x: np.ndarray, length: np.ndarray) -> np.ndarray:
        spec, parts, rows = self.spec, [], np.arange(len(x))
        real = (np.arange(x.shape[1]) < length[:, None])[:, :, None]
        if spec.pool in ("mean", "all"):
            parts.append(np.where(real, x, 0).sum(axis=1) / length[:, None].astype(np.float32))
        if spec.pool in ("max", "all"):
            parts.append(np.where(real, x, np.float32(-1e9)).max(axis=1))
        if spec.pool in ("last", "all"):
            last = x[rows, length - 1]
            if spec.bidirectional:  # the backward half ends at the first token
                half = x.shape[2] // 2
                last = np.concatenate([last[:, :half], x[:, 0, half:]], axis=1)
            parts.append(last)
        return np.concatenate(parts, axis=1)

    def _continued(self, inputs: Inputs) -> dict[str, np.ndarray]:
        spec, x = self.spec, self.embeddings[inputs["tokens"]]
        outputs: dict[str, np.ndarray] = {}
        for number in range(len(spec.units)):
            ((kernel, bias, step),), names = self.cells[number], state_names(spec, number)
            states = [inputs[name] for name in names]
            y, states = run(step, x @ kernel + bias, inputs["length"], states)
            x = self._joined(number, x, y)
            outputs |= dict(zip(names, states, strict=True))
        return {"logits": self._logits(x)} | outputs

    def _joined(self, number: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        joined = x + y if self.spec.residual and number else y
        if not self.spec.layer_norm:
            return joined
        gamma, beta = self.weights[f"norm_{number}"]
        mean = joined.mean(axis=-1, keepdims=True)
        spread = np.sqrt(joined.var(axis=-1, keepdims=True) + EPSILON)
        return (joined - mean) / spread * gamma + beta

    def _logits(self, x: np.ndarray) -> np.ndarray:
        if not self.spec.tie_embeddings:
            return self._dense("logits", x)
        if self.spec.projected:
            x = x @ self.weights["projection"][0]
        return x @ self.embeddings.T + self.weights["logits"][0][:, 0]

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        kernel, bias = self.weights[name]
        return x @ kernel + bias


def _one_thread() -> AbstractContextManager:
    """The products are small: on a busy machine, threads wait ten times as long for each other as
    they compute."""
    return _linear_algebra().limit(limits=1, user_api="blas")


@cache
def _linear_algebra() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _cell_names(spec: ModelSpec, number: int) -> list[str]:
    if not spec.bidirectional:
        return [f"{spec.cell}_{number}/cell"]
    both = f"both_directions_{number}"
    return [f"{both}/{direction}_layer/cell" for direction in ("forward", "backward")]


def _unlike(wanted: Shapes, weights: Weights) -> str | None:
    """What is missing or has another shape; None if nothing does."""
    for name, shapes in wanted.items():
        found = [each.shape for each in weights.get(name, [])]
        if found != shapes:
            return f"its layer {name} has the weights {found}"
    return None


def _shapes(spec: ModelSpec, size: int, classes: int) -> Shapes:
    """The shapes of the network's weights by layer."""
    wanted: Shapes = {"embedding": [(size, spec.embedding)]}
    width, sides = spec.embedding, 2 if spec.bidirectional else 1
    for number, units in enumerate(spec.units):
        gates = GATES[spec.cell] * units
        bias = (2, gates) if spec.cell == "gru" else (gates,)
        more = [(3, units)] if spec.cell == "peephole" else []
        for name in _cell_names(spec, number):
            wanted[name] = [(width, gates), (units, gates), bias, *more]
        width = units * sides
        if spec.layer_norm:
            wanted[f"norm_{number}"] = [(width,), (width,)]
    return wanted | _head(spec, size, width, classes)


def _head(spec: ModelSpec, size: int, width: int, classes: int) -> Shapes:
    head: Shapes = {}
    if spec.kind == "classifier":
        read, logits = width * (3 if spec.pool == "all" else 1), classes if classes > 2 else 1
        if spec.dense:
            head["dense"] = [(read, spec.dense), (spec.dense,)]
        return head | {"logit": [(spec.dense or read, logits), (logits,)]}
    if not spec.tie_embeddings:
        return {"logits": [(width, size), (size,)]}
    if spec.projected:
        head["projection"] = [(width, spec.embedding)]
    return head | {"logits": [(size, 1)]}
