"""How much of a model is counting: the weights with the smallest log loss on validation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipelines.stats.calibration import Calibration, best_temperature

STEPS = 100  # of a classifier's weight, from 0 to 1
LEAST_SPREAD = 1e-6  # of logits: below it, a model says the same of every document
HALVINGS = 40


class ClassifierWeights(NamedTuple):
    """`weight` and `factors` are those of ClassifierMixture, `loss` is in nats per document."""

    loss: float
    weight: float
    factors: tuple[float, float]


def classifier_weights(
    own: np.ndarray, counted: np.ndarray, label: np.ndarray
) -> ClassifierWeights:
    """For the logits of the network and of NB-SVM (documents,): each weight is tried at its best
    scale."""
    spreads = [float(logit.std()) for logit in (own, counted)]
    scales = [spread if spread > LEAST_SPREAD else 1.0 for spread in spreads]
    found = []
    for weight in np.linspace(0, 1, STEPS + 1).tolist():
        shares = (1 - weight) / scales[0], weight / scales[1]
        logit = shares[0] * own + shares[1] * counted
        temperature = best_temperature(logit, label)
        loss = float(Calibration(temperature).nats(logit, label).mean())
        factors = shares[0] / temperature, shares[1] / temperature
        found.append(ClassifierWeights(loss, round(weight, 2), factors))
    return min(found)


def language_weight(own: np.ndarray, counted: np.ndarray) -> float:
    """Of the n-grams, from the nats of each token (tokens,) for the network and for them; by
    bisection, as the loss is convex."""
    # Relative to the larger of both, which may be too small for a float.
    ratio = np.exp(np.clip(own - counted, -500, 500))  # the n-grams' probability, in the network's
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        gains = float(((ratio - 1) / (1 - middle + middle * ratio)).sum()) > 0
        low, high = (middle, high) if gains else (low, middle)
    return (low + high) / 2


def mixed_nats(own: np.ndarray, counted: np.ndarray, weight: float) -> np.ndarray:
    """(tokens,): of the mixed probability."""
    with np.errstate(divide="ignore"):  # a weight of 0 or 1
        return -np.logaddexp(np.log1p(-weight) - own, np.log(weight) - counted)
