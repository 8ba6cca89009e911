"""Reading an epoch of IMDb's batches from Parquet, shuffled, against arrays in memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.data import artifact, epoch_batches, imdb, made
from benchmarks.harness import Conditions, Side, Turn, take_turns, timed
from benchmarks.imdb_epoch import ours
from benchmarks.results import Row
from pipelines.batches.dataset import Split


def compare(conditions: Conditions) -> Iterator[Row]:
    declared = imdb(conditions)
    batches = made(conditions, declared)["batches"]
    found = take_turns(
        {
            "parquet": Side(from_parquet, (batches,)),
            "memory": Side(from_memory, (batches,)),
            "epoch": Side(ours, (declared, batches)),
        },
        conditions.repeats,
    )
    parquet, memory, epoch = found["parquet"], found["memory"], found["epoch"]
    extra = np.median(
        [
            100 * (a - b) / whole
            for a, b, whole in zip(parquet.values, memory.values, epoch.values, strict=True)
        ]
    )
    yield Row.within(
        "read/share",
        "Reading an epoch of batches from Parquet, compared with arrays in memory",
        float(extra),
        "% of the epoch",
        3,
        len(parquet.values),
        f"Parquet {parquet.median:.2f} s, the same rows shuffled and batched from arrays "
        f"in memory {memory.median:.2f} s, the training epoch {epoch.median:.1f} s.",
    )


def from_parquet(batches: Path) -> Turn:
    """Seconds to read the epochs of the split, one per round."""
    split, epochs = Split(artifact(batches), "train"), count()
    return lambda: timed(
        lambda: [each.filled(split.batch_size) for each in split.epoch(next(epochs))]
    )


def from_memory(batches: Path) -> Turn:
    """The same rows as one array per width, shuffled and batched."""
    split = Split(artifact(batches), "train")
    widths: dict[int, list] = {}
    for batch in epoch_batches(split)[0]:
        widths.setdefault(batch.tokens.shape[1], []).append(batch)
    held = [
        [
            np.concatenate(parts)
            for parts in zip(
                *((batch.tokens, batch.length, batch.outcome, batch.weight) for batch in found),
                strict=True,
            )
        ]
        for found in widths.values()
    ]
    random, size = np.random.default_rng(1), split.batch_size

    def epoch() -> int:
        slots = 0
        for arrays in held:
            order = random.permutation(len(arrays[0]))
            for first in range(0, len(order), size):
                rows = order[first : first + size]
                tokens, *_ = (values[rows] for values in arrays)  # all of them are read
                slots += tokens.size
        return slots

    return lambda: timed(epoch)
