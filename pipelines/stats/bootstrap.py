"""How large a difference chance alone can cause: resampling and exact tests, in numpy.

Everything is seeded, so the same figures give the same verdict, and memory stays within a few
megabytes regardless of the amount of data.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

RESAMPLES = 2000
SEED = 1
MOST_UNITS = 20_000  # resampled individually; if there are more units, groups of them are
LOOKUPS = 2**20  # block sums held at once


class Interval(NamedTuple):
    """The middle `confidence` of the resampled values."""

    low: float
    high: float


def interval(values: np.ndarray, confidence: float) -> Interval:
    """Percentile interval (Efron 1979) of resampled values (resamples,)."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Interval(float(low), float(high))


def bootstrap(units: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Sums (resamples, columns) over as many rows of `units` (rows, columns) drawn with
    replacement. The values of a row stay together, which makes it paired."""
    random = np.random.default_rng(seed)
    units = _grouped(units.astype(np.float64), random)
    count = len(units)
    sums = np.empty((resamples, units.shape[1]))
    for row in sums:
        drawn = random.integers(0, count, count, dtype=np.int32)
        row[:] = np.bincount(drawn, minlength=count) @ units
    return sums


def _grouped(units: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """At most MOST_UNITS random groups of similar size: they vary like single units."""
    size = -(-len(units) // MOST_UNITS)
    if size <= 1:
        return units
    mixed = units[random.permutation(len(units))]
    return np.add.reduceat(mixed, np.arange(0, len(units), size), axis=0)


def block_bootstrap(
    units: np.ndarray, block: int, resamples: int = RESAMPLES, seed: int = SEED
) -> np.ndarray:
    """Sums (resamples, columns) over blocks of `block` consecutive rows, drawn from any position;
    the first row follows the last one (circular: Politis and Romano 1992).

    Neighbours in a text are similar, and blocks keep them together. The sums are over the original
    number of rows, or up to one block more: use them for quotients of sums.
    """
    random = np.random.default_rng(seed)
    count = len(units)
    block = min(block, count)
    around = np.concatenate([units, units[:block]]).astype(np.float64)
    ahead = np.concatenate([np.zeros((1, around.shape[1])), np.cumsum(around, axis=0)])
    sums_of_blocks = ahead[block : block + count] - ahead[:count]  # (rows, columns), by first row
    blocks = -(-count // block)
    sums = np.empty((resamples, units.shape[1]))
    step = max(1, LOOKUPS // blocks)
    for first in range(0, resamples, step):
        starts = random.integers(0, count, (min(step, resamples - first), blocks), dtype=np.int32)
        sums[first : first + step] = sums_of_blocks[starts].sum(axis=1)
    return sums


def block_length(series: np.ndarray) -> int:
    """The number of rows per block for the mean of `series` (rows,): the longer a value influences
    the next ones, the longer the blocks (Politis and White 2004, with the correction of 2009)."""
    count = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / count
    if count < 4 or variance <= 1e-300:
        return 1
    runs = max(5, math.ceil(math.sqrt(math.log10(count))))
    most_lags = min(math.ceil(math.sqrt(count)) + runs, count - 1)
    covariance = np.array(
        [float(centred[lag:] @ centred[: count - lag]) / count for lag in range(most_lags + 1)]
    )
    lags = min(2 * _last_felt(covariance / variance, runs, count), most_lags)
    places = np.arange(1, lags + 1)
    taper = np.minimum(1, 2 * (1 - places / max(lags, 1)))  # flat, then falling to 0
    spread = 2 * float((taper * places * covariance[1 : lags + 1]).sum())
    level = variance + 2 * float((taper * covariance[1 : lags + 1]).sum())
    if level <= 0:
        return 1
    best = (2 * spread**2 / (4 / 3 * level**2) * count) ** (1 / 3)
    return max(1, min(math.ceil(best), math.ceil(min(3 * math.sqrt(count), count / 3))))


def _last_felt(correlation: np.ndarray, runs: int, count: int) -> int:
    """The lag after which `runs` successive correlations are no larger than chance."""
    small = np.abs(correlation[1:]) < 2 * math.sqrt(math.log10(count) / count)
    for lag in range(len(small) - runs + 1):
        if small[lag : lag + runs].all():
            return max(lag, 1)
    felt = np.flatnonzero(~small)
    return int(felt[-1]) + 1 if len(felt) else 1
