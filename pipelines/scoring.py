"""Held-out figures of a model, as sums with their counts, divided once at the end."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.dataset import Batch, Split
from pipelines.models import state_names
from pipelines.spec import ModelSpec

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Scored:
    """A batch and what the model says of it.

    Classifier: `nats` and `probability` (rows,). Language model: `nats` (rows, width), with
    `probability` that of the true token; padding is 0 in both.
    """

    batch: Batch
    nats: np.ndarray
    probability: np.ndarray


class Scorer:
    """Runs a plain model over a split; a language model's state is carried along each lane."""

    def __init__(self, model: keras.Model, spec: ModelSpec) -> None:
        self.model, self.spec = model, spec

    def batches(self, split: Split, ids: bool = False) -> Iterator[Scored]:
        state = self._zero_state(split.batch_size)
        for batch in split.in_order(ids):
            filled = batch.filled(split.batch_size)
            rows = len(batch.length)
            if self.spec.kind == "classifier":
                logits = self._predict({"tokens": filled.tokens, "length": filled.length})
                yield _score_rows(batch, logits[:rows, 0])
            else:
                outputs = self._predict(
                    {"tokens": filled.tokens, "length": filled.length, **state})
                state = {name: outputs[name] for name in state}
                yield _score_tokens(batch, outputs["logits"][:rows])

    def summary(self, split: Split) -> dict[str, float]:
        """Mean loss in nats (a row or a token) and accuracy, over the whole split."""
        nats = hits = count = 0.0
        for scored in self.batches(split):
            batch = scored.batch
            nats += float(scored.nats.sum())
            if self.spec.kind == "classifier":
                count += len(batch.length)
                hits += float(((scored.probability > 0.5) == (batch.outcome > 0.5)).sum())
            else:
                count += float(batch.length.sum())
        if self.spec.kind == "classifier":
            return {"loss": nats / count, "accuracy": hits / count}
        return {"loss": nats / count, "perplexity": math.exp(min(nats / count, 700))}

    def _predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray] | np.ndarray:
        return self.model.predict_on_batch(inputs)

    def _zero_state(self, rows: int) -> dict[str, np.ndarray]:
        if self.spec.kind == "classifier":
            return {}
        each = len(state_names(self.spec)) // len(self.spec.units)
        return {name: np.zeros((rows, self.spec.units[i // each]), np.float32)
                for i, name in enumerate(state_names(self.spec))}


def _score_rows(batch: Batch, logits: np.ndarray) -> Scored:
    logits = logits.astype(np.float64)
    signed = np.where(batch.outcome > 0.5, logits, -logits)
    return Scored(batch, np.logaddexp(0, -signed), 1 / (1 + np.exp(-logits)))


def _score_tokens(batch: Batch, logits: np.ndarray) -> Scored:
    logits = logits.astype(np.float64)  # (rows, width, vocabulary)
    top = logits.max(axis=-1, keepdims=True)
    total = top[..., 0] + np.log(np.exp(logits - top).sum(axis=-1))
    chosen = np.take_along_axis(logits, batch.outcome[..., None], axis=-1)[..., 0]
    real = np.arange(batch.tokens.shape[1]) < batch.length[:, None]
    nats = (total - chosen) * real
    return Scored(batch, nats, np.exp(-nats) * real)
