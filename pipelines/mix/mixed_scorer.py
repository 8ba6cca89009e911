"""Scores a split with a language model that is mixed with n-grams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.batches.dataset import Batch
from pipelines.declaration.model_sections import ModelSpec
from pipelines.mix.mixed_network import MixedNetwork
from pipelines.model.scoring import Batches, Scored, Scorer, State

if TYPE_CHECKING:
    import keras


class MixedScorer(Scorer):
    """The n-grams read on where the batches continue a text; elsewhere each row is a text."""

    def __init__(self, network: MixedNetwork, spec: ModelSpec) -> None:
        self.spec, self.model = spec, _TokenScorer(network)
        self.vocabulary = network.output["logits"].shape[-1]
        self._more, self._joined = network.more_states, False

    def _texts(self, split: Batches, ids: bool) -> Iterator[Scored]:
        self._joined = split.carries_state
        return super()._texts(split, ids)

    def _tokens(self, batch: Batch, state: State) -> tuple[np.ndarray, np.ndarray, State]:
        # A stateful network carries its state from one document to the next; n-grams do not.
        begun = state if self._joined else state | self._nothing_read(len(batch.length))
        return super()._tokens(batch, begun)

    def _zero_state(self, rows: int) -> State:
        return super()._zero_state(rows) | self._nothing_read(rows)

    def _nothing_read(self, rows: int) -> State:
        return {name: np.zeros((rows, width), np.float32) for name, width in self._more.items()}


class _TokenScorer:
    """As the model that `token_scorer` makes of a network."""

    def __init__(self, network: MixedNetwork) -> None:
        self.network = network

    def predict_on_batch(self, inputs: State) -> State:
        targets = inputs["targets"]
        given = {name: values for name, values in inputs.items() if name != "targets"}
        outputs = self.network.predict_on_batch(given)
        logits = outputs.pop("logits")  # (rows, time, V)
        outputs["gap"] = -np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        outputs["spread"] = np.zeros(targets.shape)
        outputs["correct"] = logits.argmax(axis=-1) == targets
        return outputs


def scorer_of(network: keras.Model | MixedNetwork, spec: ModelSpec) -> Scorer:
    """The scorer of what predicts the next token."""
    if isinstance(network, MixedNetwork):
        return MixedScorer(network, spec)
    return Scorer(network, spec)
