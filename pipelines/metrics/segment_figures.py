"""Figures of a language model from its sums over segments of the test text, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa

from pipelines.stats.bootstrap import Interval, block_bootstrap, block_length, interval
from pipelines.stats.paired_tests import Difference

CONFIDENCE = 0.95
COLUMNS = ("nats", "characters", "tokens")
Figure = Callable[[np.ndarray], np.ndarray]  # sums (…, COLUMNS) to the figure (…,)


def _per_character(sums: np.ndarray, unit: float) -> np.ndarray:
    return sums[..., 0] / sums[..., 1] / unit


def _perplexity(sums: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(sums[..., 0] / sums[..., 2], 700))


FIGURES: dict[str, Figure] = {
    "bits_per_character": partial(_per_character, unit=math.log(2)),
    "nats_per_character": partial(_per_character, unit=1.0),
    "perplexity": _perplexity,
}


def segment_sums(table: pa.Table) -> np.ndarray:
    """(segments, COLUMNS) of a table of segments (segments.py)."""
    return np.stack([table[name].to_numpy().astype(np.float64) for name in COLUMNS], axis=1)


def influence(sums: np.ndarray) -> np.ndarray:
    """(segments,): each segment's contribution to nats per character, beyond its share of
    characters."""
    nats, characters, _ = sums.sum(axis=0)
    return sums[:, 0] - sums[:, 1] * (nats / characters)


def figure_intervals(sums: np.ndarray, confidence: float) -> tuple[int, dict[str, Interval]]:
    """(segments per block, {figure: its interval}) by block bootstrap of the segments, in the
    text's order: how much the figures would vary with other text of this kind."""
    block = block_length(influence(sums))
    drawn = block_bootstrap(sums, block)
    return block, {name: interval(figure(drawn), confidence) for name, figure in FIGURES.items()}


def text_differences(
    old: np.ndarray, new: np.ndarray, confidence: float
) -> tuple[int, dict[str, Difference]]:
    """(segments per block, {figure: the difference}) of two models by block bootstrap of the same
    segments: (segments, COLUMNS) of each. Perplexity compares only models with the same tokens."""
    same_tokens = bool((old[:, 2] == new[:, 2]).all())
    block = block_length(influence(old) - influence(new))
    units = np.concatenate([old, new], axis=1)
    total, drawn = (
        (sums[..., : len(COLUMNS)], sums[..., len(COLUMNS) :])
        for sums in (units.sum(axis=0), block_bootstrap(units, block))
    )
    return block, {
        name: Difference(
            float(figure(total[0])),
            float(figure(total[1])),
            interval(figure(drawn[1]) - figure(drawn[0]), confidence),
        )
        for name, figure in FIGURES.items()
        if same_tokens or name != "perplexity"
    }
