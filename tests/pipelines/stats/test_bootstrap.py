"""Resampling against what is known in closed form, by hand, or by brute force."""

from __future__ import annotations

import math
import time
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stats.bootstrap import MOST_UNITS, block_bootstrap, block_length, bootstrap, interval
from pipelines.stats.paired_tests import auc_difference, mcnemar

COUNTS = st.integers(0, 60)


@settings(deadline=None)  # the first example imports SciPy
@given(COUNTS, COUNTS)
def test_mcnemar_by_hand(one: int, other: int) -> None:
    total = one + other
    tail = sum(Fraction(math.comb(total, k), 2**total) for k in range(min(one, other) + 1))
    assert mcnemar(one, other) == pytest.approx(float(min(Fraction(1), 2 * tail)), rel=1e-12)
    assert mcnemar(one, other) == mcnemar(other, one)


@pytest.mark.parametrize("count", [900, MOST_UNITS + 5000])
def test_the_bootstrap_spreads_as_the_standard_error_says(count: int) -> None:
    units = np.random.default_rng(3).gamma(2.0, size=count)
    sums = bootstrap(np.stack([units, np.ones(count)], axis=1))
    means = sums[:, 0] / sums[:, 1]
    error = units.std() / math.sqrt(count)
    assert means.mean() == pytest.approx(units.mean(), abs=error / 5)
    assert means.std() == pytest.approx(error, rel=0.08)
    low, high = interval(means, 0.95)
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.08)


def test_the_same_seed_gives_the_same_sums() -> None:
    units = np.random.default_rng(0).normal(size=(300, 2))
    for draw in (bootstrap, lambda given, **seed: block_bootstrap(given, 7, **seed)):
        assert (draw(units) == draw(units)).all()
        assert not (draw(units) == draw(units, seed=2)).all()


@given(st.integers(2, 300), st.integers(1, 400))
def test_without_any_difference_there_is_no_interval(count: int, block: int) -> None:
    units = np.zeros((count, 1))
    assert interval(bootstrap(units, 50)[:, 0], 0.95) == (0, 0)
    assert interval(block_bootstrap(units, block, 50)[:, 0], 0.95) == (0, 0)


@given(st.integers(2, 200), st.integers(1, 50))
def test_blocks_hold_neighbours_and_as_many_rows_as_there_are(count: int, block: int) -> None:
    sums = block_bootstrap(np.ones((count, 1)), block, 20)
    taken = min(block, count)
    assert (sums == -(-count // taken) * taken).all()
    one = np.zeros((count, 1))
    one[count // 2] = 1  # in as many blocks as these are long
    share = block_bootstrap(one, block, 4000, seed=5).mean()
    assert share == pytest.approx(sums[0, 0] / count, abs=0.15)


def autoregressive(count: int, memory: float, random: np.random.Generator) -> np.ndarray:
    noise, values = random.normal(size=count + 60), np.zeros(count + 60)
    for i in range(1, len(values)):
        values[i] = memory * values[i - 1] + noise[i]
    return values[60:]


def coverage(memory: float, blocks: bool) -> float:
    """How often the 95% interval of the mean holds the true one, of 200 texts."""
    random, covered = np.random.default_rng(1), 0
    for _ in range(200):
        values = autoregressive(400, memory, random)
        units = np.stack([values, np.ones(400)], axis=1)
        sums = block_bootstrap(units, block_length(values) if blocks else 1, 300)
        low, high = interval(sums[:, 0] / sums[:, 1], 0.95)
        covered += low <= 0 <= high
    return covered / 200


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.9), (0.5, 0.87), (0.8, 0.84)])
def test_blocks_cover_the_mean_of_a_text_that_remembers(memory: float, least: float) -> None:
    assert least <= coverage(memory, blocks=True) <= 0.98


@pytest.mark.slow
def test_single_values_would_not_cover_it() -> None:
    assert coverage(0.8, blocks=False) < 0.6


def test_the_longer_the_memory_the_longer_the_blocks() -> None:
    random = np.random.default_rng(2)
    lengths = [
        np.median([block_length(autoregressive(500, memory, random)) for _ in range(30)])
        for memory in (0.0, 0.5, 0.9)
    ]
    assert lengths[0] <= 3 < lengths[1] < lengths[2] <= 3 * math.sqrt(500) + 1
    assert block_length(np.ones(100)) == block_length(np.array([1.0, 2.0])) == 1


def test_two_thousand_resamples_take_less_than_a_second() -> None:
    units = np.random.default_rng(0).normal(size=(25_000, 3))
    for draw in (lambda: bootstrap(units), lambda: block_bootstrap(units, 10)):
        started = time.process_time()
        assert draw().shape == (2000, 3)
        assert time.process_time() - started < 1


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_auc_difference_by_counting_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    label = np.array([0, 1, 0, 1, *random.integers(0, 2, 40)], np.float32)
    one, other = random.integers(0, 9, (2, 44)) / 8  # many ties

    def wins(scores: np.ndarray) -> np.ndarray:  # (positives, negatives)
        gaps = scores[label == 1][:, None] - scores[label == 0][None]
        return (gaps > 0) + (gaps == 0) / 2

    gaps = wins(one) - wins(other)
    variance = sum(part.var(ddof=1) / len(part) for part in (gaps.mean(1), gaps.mean(0)))
    effect, (low, high) = auc_difference(label, one, other, 0.95)
    assert effect == pytest.approx(gaps.mean())
    half = NormalDist().inv_cdf(0.975) * math.sqrt(variance)
    assert (low, high) == pytest.approx((effect - half, effect + half))
