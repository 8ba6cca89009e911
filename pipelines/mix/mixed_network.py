"""A language model mixed with n-grams, called as the network alone is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipelines.counting.ngrams import Sequences
from pipelines.mix.mixtures import LanguageMixture, Mixture

if TYPE_CHECKING:
    import keras

HISTORY = "history"
LEAST = np.finfo(np.float32).tiny


class MixedNetwork:
    """Its logits are logarithms of the mixed probabilities. One of its states is `history` (rows,
    tokens): the ids plus 1 that the n-grams read, the latest last, and 0 where there is none."""

    def __init__(self, model: keras.Model, mixture: LanguageMixture) -> None:
        self.model, self.mixture, self.output = model, mixture, model.output
        self.more_states = {HISTORY: mixture.history}

    def predict_on_batch(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of the network, with logits (rows, time, V) and history mixed in."""
        history, tokens = inputs[HISTORY].astype(np.int64), inputs["tokens"]
        own = {name: values for name, values in inputs.items() if name != HISTORY}
        outputs = dict(self.model.predict_on_batch(own))
        read = np.concatenate([history, tokens + 1], axis=1)
        probability = self.mixture.probability(_softmax(outputs["logits"]), self._counted(read))
        after = inputs["length"][:, None] + np.arange(history.shape[1])
        outputs["logits"] = np.log(np.maximum(probability, LEAST))
        outputs[HISTORY] = np.take_along_axis(read, after, axis=1).astype(np.float32)
        return outputs

    def _counted(self, read: np.ndarray) -> np.ndarray:
        """(rows, time, V): the n-grams' probabilities after each token of `read` (rows, history and
        time) but the history."""
        rows, width = read.shape
        steps = np.arange(width)
        begin = (read[:, : self.mixture.history] == 0).sum(axis=1, keepdims=True)
        before = np.maximum(steps - begin, 0)
        text = Sequences(np.maximum(read - 1, 0).ravel(), before.ravel())
        at = np.arange(rows)[:, None] * width + steps[self.mixture.history :]
        found = self.mixture.counting.after(text, at.ravel())
        return found.reshape(*at.shape, -1)


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return shifted


def network_of(model: keras.Model, mixture: Mixture | None) -> keras.Model | MixedNetwork:
    """What predicts the next token: the model, mixed with n-grams if it is declared."""
    return MixedNetwork(model, mixture) if isinstance(mixture, LanguageMixture) else model
