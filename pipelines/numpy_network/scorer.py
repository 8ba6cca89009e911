"""Scores text with a language model that NumPy computes."""

from __future__ import annotations

import numpy as np

from pipelines.declaration.model_sections import ModelSpec
from pipelines.model.scoring import Scorer, State
from pipelines.numpy_network.network import NumpyNetwork


class NumpyScorer(Scorer):
    """The figures of `Scorer` to about 1e-6."""

    def __init__(self, network: NumpyNetwork, spec: ModelSpec) -> None:
        self.spec, self.model = spec, _TokenScorer(network)
        self.vocabulary = network.output["logits"].shape[-1]


class _TokenScorer:
    """As the model that `token_scorer` makes of a network."""

    def __init__(self, network: NumpyNetwork) -> None:
        self.network = network

    def predict_on_batch(self, inputs: State) -> State:
        outputs = self.network.predict_on_batch(inputs)
        logits = outputs.pop("logits")  # (rows, time, vocabulary)
        top, targets = logits.max(axis=-1), inputs["targets"]
        outputs["gap"] = top - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
        outputs["correct"] = logits.argmax(axis=-1) == targets
        logits -= top[..., None]
        outputs["spread"] = np.log(np.exp(logits, out=logits).sum(axis=-1))
        return outputs
