"""The weights against what can be known: the better model weighs more, and no other weight costs
less."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.mix.weights import classifier_weights, language_weight, mixed_nats
from pipelines.stats.calibration import Calibration, best_temperature

RANDOM = np.random.default_rng(1)
LABEL = RANDOM.random(2000) > 0.4
TRUTH = np.where(LABEL, 1.0, -1.0)


def noisy(noise: float, scale: float = 1.0) -> np.ndarray:
    """Logits that know the label but for some noise."""
    return scale * (TRUTH + noise * np.random.default_rng(int(100 * noise)).normal(size=2000))


def loss_of(logit: np.ndarray) -> float:
    return float(Calibration(best_temperature(logit, LABEL)).nats(logit, LABEL).mean())


def test_two_classifiers_that_err_elsewhere_are_better_together() -> None:
    own, counted = noisy(1.0), noisy(1.1, scale=50)
    loss, weight, factors = classifier_weights(own, counted, LABEL)
    assert 0.3 < weight < 0.6
    assert loss < min(loss_of(own), loss_of(counted)) - 0.05
    mixed = factors[0] * own + factors[1] * counted
    assert Calibration().nats(mixed, LABEL).mean() == pytest.approx(loss)  # scaled already
    shares = [factor * logit.std() for factor, logit in zip(factors, (own, counted), strict=True)]
    assert shares[1] / sum(shares) == pytest.approx(weight, abs=0.005)
    assert classifier_weights(own, 7 * counted, LABEL).weight == weight  # whatever its scale


@pytest.mark.parametrize(("good", "bad", "expected"), [(0.5, 30.0, 0.0), (30.0, 0.5, 1.0)])
def test_a_model_that_knows_nothing_weighs_nothing(
    good: float, bad: float, expected: float
) -> None:
    assert classifier_weights(noisy(good), noisy(bad), LABEL).weight == pytest.approx(
        expected, abs=0.03
    )


def test_a_model_that_always_says_the_same_breaks_nothing() -> None:
    loss, weight, factors = classifier_weights(np.zeros(2000), noisy(1.0), LABEL)
    assert loss == pytest.approx(loss_of(noisy(1.0))) and 0 <= weight <= 1
    assert 0 <= max(factors) < 100


def test_the_language_weight_is_that_of_the_smallest_loss() -> None:
    own, counted = RANDOM.gamma(1.0, 2.0, 5000), RANDOM.gamma(1.2, 2.0, 5000)
    weight = language_weight(own, counted)
    assert 0.1 < weight < 0.9
    losses = [
        mixed_nats(own, counted, other).mean()
        for other in (weight, weight - 0.01, weight + 0.01, 0.0, 1.0)
    ]
    assert losses[0] == min(losses)
    probability = (1 - weight) * np.exp(-own) + weight * np.exp(-counted)
    assert losses[0] == pytest.approx(-np.log(probability).mean())


def test_the_language_weight_at_its_ends() -> None:
    own = RANDOM.gamma(1.0, 2.0, 500)
    assert language_weight(own, own + 1) == pytest.approx(0, abs=1e-9)
    assert language_weight(own + 1, own) == pytest.approx(1, abs=1e-9)
    far = language_weight(np.array([2000.0, 0.1]), np.array([0.1, 2000.0]))  # no overflow
    assert far == pytest.approx(0.5, abs=1e-6)
