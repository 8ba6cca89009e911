"""Figures of a model on held-out text, as sums and counts, divided once at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipelines.batches.dataset import Batch
from pipelines.declaration.model_sections import ModelSpec
from pipelines.model.network import state_names

if TYPE_CHECKING:
    import keras

LOGITS_AT_ONCE = 2**24  # 64 MiB: wider batches are read in slices that carry the state

State = dict[str, np.ndarray]


class Batches(Protocol):
    """A Split, or anything else with batches of one size in order."""

    @property
    def batch_size(self) -> int: ...

    @property
    def carries_state(self) -> bool: ...

    def in_order(self, ids: bool = False) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Scored:
    """A batch and the model's predictions.

    Classifier: `nats`, `correct` and `logit` (of class 1) are (rows,); of more than two classes
    `logit` is (rows, classes). Language model: `nats` and
    `correct` (rows, width), 0 where nothing is predicted, and `read` (rows,): the tokens that the
    row's lane had read before. The fields of the other kind are empty.
    """

    batch: Batch
    nats: np.ndarray
    correct: np.ndarray
    logit: np.ndarray = field(default_factory=partial(np.empty, 0))
    read: np.ndarray = field(default_factory=partial(np.empty, 0))


class Scorer:
    """Runs a plain model over a split.

    A language model's state is carried along lanes, and from batch to batch if the model is
    stateful; else each row starts with the zero state.
    """

    def __init__(self, model: keras.Model, spec: ModelSpec) -> None:
        self.spec = spec
        self.model = model if spec.kind == "classifier" else token_scorer(model)
        if spec.kind == "language_model":
            self.vocabulary = model.output["logits"].shape[-1]

    def batches(self, split: Batches, ids: bool = False) -> Iterator[Scored]:
        """Every batch in order, scored; `ids` says whether the batches include document ids."""
        read_batches = self._labels if self.spec.kind == "classifier" else self._texts
        return read_batches(split, ids)

    def summary(self, split: Batches) -> dict[str, float]:
        """Mean loss in nats (per row or per predicted token) and accuracy, over the whole split."""
        nats = hits = count = 0.0
        for scored in self.batches(split):
            nats += float(scored.nats.sum())
            hits += int(scored.correct.sum())
            count += (
                len(scored.nats) if self.spec.kind == "classifier" else int(scored.batch.real.sum())
            )
        loss = nats / count
        if self.spec.kind == "classifier":
            return {"loss": loss, "accuracy": hits / count}
        return {"loss": loss, "perplexity": math.exp(min(loss, 700)), "accuracy": hits / count}

    def _labels(self, split: Batches, ids: bool) -> Iterator[Scored]:
        for batch in split.in_order(ids):
            filled = batch.filled(split.batch_size)
            logits = self.model.predict_on_batch({"tokens": filled.tokens, "length": filled.length})
            logits = logits[: len(batch.length)].astype(np.float64)
            judge = _of_two if logits.shape[1] == 1 else _of_several
            yield Scored(batch, *judge(logits, batch.outcome))

    def _texts(self, split: Batches, ids: bool) -> Iterator[Scored]:
        size = split.batch_size
        carried = split.carries_state or self.spec.stateful
        state, read = self._zero_state(size), np.zeros(size, np.int64)
        for batch in split.in_order(ids):
            rows = len(batch.length)
            nats, correct, after = self._tokens(batch.filled(size), state)
            yield Scored(
                batch,
                nats[:rows] * batch.real,
                correct[:rows] & batch.real,
                read=read[:rows].copy(),
            )
            if carried:
                state = after
            if split.carries_state:
                read[:rows] += batch.length

    def _tokens(self, batch: Batch, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        """Nats and hits at all positions (rows, width), and the state after each row's end."""
        rows, width = batch.tokens.shape
        slices = max(1, math.ceil(rows * width * self.vocabulary / LOGITS_AT_ONCE))
        steps = math.ceil(width / min(slices, width))
        nats, correct = np.zeros((rows, width)), np.zeros((rows, width), bool)
        for start in range(0, int(batch.length.max()), steps):
            here = slice(start, start + steps)
            left = batch.length - start
            outputs = self.model.predict_on_batch(
                {
                    "tokens": _columns(batch.tokens[:, here], steps),
                    "targets": _columns(batch.outcome[:, here], steps),
                    # At least 1: a row of padding alone crashes cuDNN (tensorflow#36139).
                    "length": np.clip(left, 1, steps).astype(np.int32),
                    **state,
                }
            )
            cost = outputs["gap"].astype(np.float64) + outputs["spread"]
            nats[:, here], correct[:, here] = (
                values[:, : width - start] for values in (cost, outputs["correct"])
            )
            state = {
                name: np.where(left[:, None] > 0, outputs[name], before)
                for name, before in state.items()
            }
        return nats, correct, state

    def _zero_state(self, rows: int) -> State:
        names = state_names(self.spec)
        each = len(names) // len(self.spec.units)
        return {
            name: np.zeros((rows, self.spec.units[i // each]), np.float32)
            for i, name in enumerate(names)
        }


Judged = tuple[np.ndarray, np.ndarray, np.ndarray]  # nats, correct, logit


def _of_two(logits: np.ndarray, outcome: np.ndarray) -> Judged:
    logit, positive = logits[:, 0], outcome > 0.5
    nats = np.logaddexp(0, np.where(positive, -logit, logit))
    return nats, (logit > 0) == positive, logit


def _of_several(logits: np.ndarray, outcome: np.ndarray) -> Judged:
    true = outcome.astype(np.int64)
    nats = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(true)), true]
    return nats, logits.argmax(axis=1) == true, logits


def token_scorer(model: keras.Model) -> keras.Model:
    """The plain language model with targets (batch, time) as an additional input. Instead of the
    logits it returns for each token `gap` and `spread`, whose sum is the token's nats, and
    `correct`.

    The sum is computed in float64: gap (from the most likely token) and spread (the logarithm of
    the rest of the softmax) are both small or exact, so that float32 costs about 1e-7.
    """
    from keras import Input, Model, ops

    inputs = {
        name: Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        for name, tensor in model.input.items()
    }
    targets = Input((None,), dtype="int32", name="targets")
    outputs = dict(model(inputs))
    logits = outputs.pop("logits")  # (batch, time, vocabulary)
    top = ops.max(logits, axis=-1, keepdims=True)
    chosen = ops.take_along_axis(logits, ops.expand_dims(targets, -1), axis=-1)
    outputs["gap"] = ops.squeeze(top - chosen, -1)
    outputs["spread"] = ops.log(ops.sum(ops.exp(logits - top), axis=-1))
    outputs["correct"] = ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), targets)
    return Model(inputs | {"targets": targets}, outputs, name="token_scorer")


def _columns(values: np.ndarray, count: int) -> np.ndarray:
    """(rows, up to `count`) padded on the right, so that all slices of a batch have the same
    shape."""
    return np.pad(values, ((0, 0), (0, count - values.shape[1])))
