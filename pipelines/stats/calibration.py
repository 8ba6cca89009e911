"""Calibrated probabilities: temperature scaling, and the threshold between the labels.

Both are fitted on the validation split, which the model was not trained on; test only measures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

COLDEST, HOTTEST = 0.05, 20.0  # temperatures beyond these mean that validation says little
HALVINGS, FEWER_HALVINGS = 60, 30  # the second for many logits: to 8 digits


@dataclass(frozen=True)
class Calibration:
    """`temperature` divides the logits: above 1, the model was overconfident. Class 1 is predicted
    if its probability exceeds `threshold`.

    Logits are those of class 1 (documents,), or, of more than two classes, (documents, classes):
    then the class with the highest is predicted.
    """

    temperature: float = 1.0
    threshold: float = 0.5

    @classmethod
    def fitted(
        cls, logit: np.ndarray, label: np.ndarray, scaled: bool, threshold: float | Literal["best"]
    ) -> Calibration:
        """Fitted on the validation split's logits and labels (documents,), as far as requested."""
        temperature = best_temperature(logit, label) if scaled else 1.0
        if threshold == "best":
            threshold = best_threshold(cls(temperature).probability(logit), label)
        return cls(temperature, threshold)

    def probability(self, logit: np.ndarray) -> np.ndarray:
        """Of class 1 (documents,), or of each of more than two classes (documents, classes)."""
        if logit.ndim == 2:
            return _softmax(logit / self.temperature)
        with np.errstate(over="ignore"):  # exp of a large number is inf, and 1 / inf is right
            return 1 / (1 + np.exp(-logit / self.temperature))

    def nats(self, logit: np.ndarray, label: np.ndarray) -> np.ndarray:
        """The negative log probability of the true label."""
        if logit.ndim == 2:
            scaled = logit.astype(np.float64) / self.temperature
            return np.logaddexp.reduce(scaled, axis=1) - _of_true(scaled, label)
        return np.logaddexp(0, np.where(label > 0.5, -logit, logit) / self.temperature)

    def predicted(self, logit: np.ndarray) -> np.ndarray:
        """The class (documents,) of each."""
        if logit.ndim == 2:
            return logit.argmax(axis=1)
        return (self.probability(logit) > self.threshold).astype(np.int64)

    def correct(self, logit: np.ndarray, label: np.ndarray) -> np.ndarray:
        return self.predicted(logit) == label


def best_temperature(logit: np.ndarray, label: np.ndarray) -> float:
    """The temperature with the smallest log loss (Guo et al. 2017), by bisection, as the loss is
    convex in its inverse."""
    gain = _gain_of_several(logit, label) if logit.ndim == 2 else _gain(logit, label)
    low, high = 1 / HOTTEST, 1 / COLDEST
    for _ in range(HALVINGS if logit.ndim == 1 else FEWER_HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if gain(middle) > 0 else (low, middle)
    return 1 / (low * high) ** 0.5


def _gain(logit: np.ndarray, label: np.ndarray) -> Callable[[float], float]:
    """How fast the log loss still falls as the inverse temperature grows."""
    signed = np.where(label > 0.5, logit, -logit).astype(np.float64)

    def gain(inverse: float) -> float:
        with np.errstate(over="ignore"):
            return float((signed / (1 + np.exp(inverse * signed))).sum())

    return gain


def _gain_of_several(logit: np.ndarray, label: np.ndarray) -> Callable[[float], float]:
    """The same for more than two classes: the true logits less the expected ones."""
    below = logit.astype(np.float64) - logit.max(axis=1, keepdims=True)
    true = _of_true(below, label)

    def gain(inverse: float) -> float:
        shares = np.exp(inverse * below)
        expected = np.einsum("ij,ij->i", shares, below) / shares.sum(axis=1)
        return float((true - expected).sum())

    return gain


def _softmax(logit: np.ndarray) -> np.ndarray:
    shares = np.exp(logit - logit.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def _of_true(values: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Of (documents, classes) those of the true classes (documents,)."""
    return values[np.arange(len(values)), label.astype(np.int64)]


def best_threshold(probability: np.ndarray, label: np.ndarray) -> float:
    """The threshold with the highest accuracy; of equally good ones the closest to 0.5."""
    negative, positive = (np.sort(probability[(label > 0.5) == which]) for which in (False, True))
    values = np.unique(probability)
    candidates = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, [0.5, 1.0]])
    right = (
        np.searchsorted(negative, candidates, "right")
        + len(positive)
        - np.searchsorted(positive, candidates, "right")
    )
    good = candidates[right == right.max()]
    return float(good[np.argmin(np.abs(good - 0.5))])
