"""The sides of the GPU benchmarks: PyTorch's layers, and Folio's training step through Keras.

Each function runs in a separate process, since Keras keeps the backend that it was imported with.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from benchmarks.harness import Turn, rate
from benchmarks.torch_models import torch_classifier_step, torch_step

if TYPE_CHECKING:
    from pipelines.declaration.model_sections import ModelSpec
    from pipelines.declaration.training_section import TrainingSpec
    from pipelines.model.train_step import Inputs

FILLED = 0.85  # share of a classifier's slots with real tokens, with well chosen widths


@dataclass(frozen=True)
class Sizes:
    """A model and its batches."""

    kind: str
    cell: str
    embedding: int
    units: int
    vocabulary: int
    batch: int
    time: int

    @property
    def items(self) -> int:
        """Tokens, or slots, of a batch."""
        return self.batch * self.time

    def tiny(self) -> Sizes:
        return replace(self, units=8, batch=4, time=20)


@dataclass(frozen=True)
class Way:
    """PyTorch's layers in a plain loop, or Keras on a backend."""

    backend: str
    keras: bool = True
    masked: bool = True  # as in Folio's models; without masks, to measure their cost
    device: str = "cuda"

    @property
    def label(self) -> str:
        if not self.keras:
            return "PyTorch's layers"
        return f"Keras on {self.backend}" + ("" if self.masked else " without mask")


def chip(backend: str) -> str | None:
    """The GPU that a backend finds, with the backend's version, or None."""
    if backend == "torch":
        import torch

        if not torch.cuda.is_available():
            return None
        return (
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA "
            f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        )
    import jax

    if jax.default_backend() != "gpu":
        return None
    return f"{jax.devices()[0].device_kind}, jax {jax.__version__}"


def items_a_second(way: Way, sizes: Sizes, seconds: float = 1.0) -> Turn:
    """Tokens or slots per second of whole training steps, the loss fetched after each."""
    return rate(_step(way, sizes), sizes.items, seconds)


def sweep(way: Way, sizes: Sizes, precision: str, times: tuple[int, ...]) -> dict[int, float]:
    """{batch size: items per second}, with increasing sizes until memory is full."""
    reached = {}
    for factor in times:
        larger = replace(sizes, batch=sizes.batch * factor)
        try:
            reached[larger.batch] = rate(_step(way, larger, precision), larger.items)()
        except Exception as error:
            if "memory" not in str(error).lower() and "RESOURCE_EXHAUSTED" not in str(error):
                raise
            break
    return reached


def _step(way: Way, sizes: Sizes, precision: str = "float32") -> Callable[[], float]:
    x, length, y = _batch(sizes)
    if way.keras:
        return _keras_step(way, sizes, precision, x, length, y)
    import torch

    place = (way.device, precision)
    step = (
        torch_step(sizes.cell, sizes.embedding, sizes.units, sizes.vocabulary, *place)
        if sizes.kind == "language_model"
        else torch_classifier_step(sizes.embedding, sizes.units, 64, sizes.vocabulary, *place)
    )
    ids, targets = torch.from_numpy(x).long(), torch.from_numpy(y)
    if sizes.kind == "language_model":
        targets = targets.long()
    return lambda: step(ids, targets)


def _keras_step(
    way: Way, sizes: Sizes, precision: str, x: np.ndarray, length: np.ndarray, y: np.ndarray
) -> Callable[[], float]:
    """The training stage's step, including the optimizer."""
    from pipelines.model.backend import load_keras, make_reproducible

    keras = load_keras(way.backend)
    make_reproducible(keras)
    keras.config.set_dtype_policy("float32" if precision == "float32" else f"mixed_{precision}")
    from pipelines.model.train_step import compiled

    model = _model(sizes) if way.masked else _maskless(sizes)
    training = SimpleNamespace(optimizer="adam", learning_rate=0.001, clip_norm=None, loop="fit")
    step = compiled(model, sizes.kind, cast("TrainingSpec", training))
    weight = np.ones(y.shape if sizes.kind == "language_model" else len(y), np.float32)
    named = {"tokens": x, "length": length}
    # Keras takes a bare array if a model has one input.
    inputs = named if way.masked else cast("Inputs", x)
    return lambda: step(inputs, y, weight)


def _model(sizes: Sizes) -> Any:
    """Folio's network. A ModelSpec would need pydantic, which GPU images may lack; hence the
    cast."""
    from pipelines.model.network import build_model

    spec = SimpleNamespace(
        kind=sizes.kind,
        cell=sizes.cell,
        embedding=sizes.embedding,
        units=(sizes.units,),
        bidirectional=True,
        dense=64,
        dropout=0.0,
        recurrent_initializer="orthogonal",
        stateful=False,
    )
    return build_model(cast("ModelSpec", spec), sizes.vocabulary, training_batch=sizes.batch)


def _maskless(sizes: Sizes) -> Any:
    from keras import Input, Sequential, layers

    writes = sizes.kind == "language_model"
    layer = {"lstm": layers.LSTM, "gru": layers.GRU}[sizes.cell](
        sizes.units, return_sequences=writes
    )
    tail = (
        [layer, layers.Dense(sizes.vocabulary)]
        if writes
        else [layers.Bidirectional(layer), layers.Dense(64, activation="relu"), layers.Dense(1)]
    )
    return Sequential(
        [Input((None,), dtype="int32"), layers.Embedding(sizes.vocabulary, sizes.embedding), *tail]
    )


def _batch(sizes: Sizes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """tokens, lengths, and targets or labels."""
    random = np.random.default_rng(1)
    x = random.integers(1, sizes.vocabulary, (sizes.batch, sizes.time), dtype=np.int32)
    if sizes.kind == "language_model":
        return x, np.full(sizes.batch, sizes.time, np.int32), np.roll(x, -1, 1)
    least = int((2 * FILLED - 1) * sizes.time)
    length = random.integers(least, sizes.time + 1, sizes.batch, dtype=np.int32)
    x[np.arange(sizes.time) >= length[:, None]] = 0
    return x, length, random.integers(0, 2, (sizes.batch, 1)).astype(np.float32)


def cudnn_calls(way: Way, sizes: Sizes) -> list[str]:
    """The calls of cuDNN's recurrent layers in a step, from a profile (JAX: from its programs)."""
    if way.backend == "jax":
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XLA_FLAGS"] = f"--xla_dump_to={folder} --xla_dump_hlo_as_text"
            _step(way, sizes)()
            texts = (path.read_text(errors="replace") for path in Path(folder).glob("*.txt"))
            return ["cudnn_rnn"] if any("cudnn_rnn" in text for text in texts) else []
    from torch.profiler import profile

    step = _step(way, sizes)
    step()
    with profile() as found:
        step()
    return sorted(
        {
            event.key
            for event in found.key_averages()
            if "cudnn_rnn" in event.key.lower() or "rnn_bwd" in event.key.lower()
        }
    )


def padding_error(way: Way, sizes: Sizes) -> float:
    """How much a masked logit changes when its row is read without its padding. It must be noise:
    masked cuDNN layers before 8.9.1 gave wrong results (tensorflow#60192)."""
    from pipelines.model.backend import load_keras

    keras = load_keras(way.backend)
    model, (x, length, _) = _model(sizes), _batch(sizes)
    padded = keras.ops.convert_to_numpy(model({"tokens": x, "length": length}))
    alone = [
        keras.ops.convert_to_numpy(model({"tokens": row[None, :n], "length": np.array([n])}))
        for row, n in zip(x[:8], length[:8], strict=True)
    ]
    return float(np.abs(padded[:8] - np.concatenate(alone)).max())
