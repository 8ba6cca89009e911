"""Training character models on Shakespeare: 64 rows of 100 characters per step, Adam."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.data import Declared, Training, artifact, characters, made
from benchmarks.harness import Conditions, Side, Turn, apart, rate, take_turns
from benchmarks.product import largest_product
from benchmarks.results import Row, skipped
from benchmarks.torch_models import torch_step
from pipelines.batches.dataset import Split

GATES = {"lstm": 4, "gru": 3}
CASES = (("lstm", 512), ("gru", 1024))
BATCH, TIME, EMBEDDING = 64, 100, 256
STEPS = 3  # per call of Keras's fit


def compare(conditions: Conditions) -> Iterator[Row]:
    for cell, units in CASES:
        yield from _case(conditions, cell, 16 if conditions.quick else units)


def _case(conditions: Conditions, cell: str, units: int) -> Iterator[Row]:
    declared = characters(conditions, f"model.cell={cell}", f"model.units=[{units}]")
    place = made(conditions, declared)
    size = apart(_vocabulary_size, place["batches"])
    text = next(place["source"].glob("*.txt"))
    sides = {
        "ours": Side(ours, (declared, place["batches"])),
        "keras": Side(keras_fit, (text, cell, units)),
        "limit": Side(largest_product, (operations(cell, units, size),)),
    }
    if has_torch := importlib.util.find_spec("torch") is not None:
        sides["torch"] = Side(torch_loop, (text, cell, units))
    found = take_turns(sides, conditions.repeats)
    name, title = f"char/{cell}-{units}", f"{cell.upper()} {units} training"
    yield Row.times(
        f"{name}/keras",
        title,
        "Keras fit",
        found["ours"],
        found["keras"],
        "characters/s",
        1.3,
        f"fit on {STEPS} batches of a tf.data set per call, including its start; Folio "
        "reads its batches from Parquet.",
    )
    if has_torch:
        yield Row.times(
            f"{name}/torch",
            title,
            f"PyTorch nn.{cell.upper()}",
            found["ours"],
            found["torch"],
            "characters/s",
            1.1,
            "A plain training loop, batches in memory.",
        )
    else:
        yield skipped(
            f"{name}/torch",
            title,
            f"PyTorch nn.{cell.upper()}",
            "torch is not installed (pip install 'folio[torch]')",
        )
    yield Row.times(
        f"{name}/limit",
        title,
        "the machine's limit",
        found["ours"],
        found["limit"],
        "characters/s",
        0.55,
        f"{operations(cell, units, size) / 1e6:.1f} MFLOP per character, without the "
        f"input projections of the {size} embeddings, at the rate of a 2048³ product; the "
        f"recurrent products of a step have {BATCH} rows and depend on each other, {TIME} "
        f"forward and {TIME} backward.",
    )


def operations(cell: str, units: int, vocabulary: int) -> float:
    """Floating-point operations of training per character: 2 forward, 4 backward per weight. The
    input projections of the embeddings are not included: there are few, and each can be computed
    once for all positions."""
    return 6 * (units * GATES[cell] * units + units * vocabulary)


def ours(declared: Declared, batches: Path) -> Turn:
    """Characters per second through the training stage's loop."""
    training, epochs = Training(declared, batches), count()
    endless = (
        batch
        for epoch in epochs
        for batch in training.split.epoch(epoch)
        if len(batch.length) == training.split.batch_size
    )
    return rate(lambda: training.step(next(endless)), BATCH * TIME, 2)


def coded(text: Path) -> tuple[np.ndarray, int]:
    """The text's characters as numbers, and the number of different ones."""
    letters = np.frombuffer(text.read_text(encoding="utf-8").encode("utf-32-le"), np.uint32)
    known, ids = np.unique(letters, return_inverse=True)
    return ids.astype(np.int64), len(known)


def keras_fit(text: Path, cell: str, units: int) -> Turn:
    """The tutorial's model and data set in `fit`, with Keras's defaults."""
    import keras
    import tensorflow as tf

    ids, vocabulary = coded(text)
    rows = tf.data.Dataset.from_tensor_slices(ids).batch(TIME + 1, drop_remainder=True)
    dataset = (
        rows.map(lambda row: (row[:-1], row[1:]))
        .batch(BATCH, drop_remainder=True)
        .repeat()
        .prefetch(tf.data.AUTOTUNE)
    )
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[cell]
    model = keras.Sequential(
        [
            keras.layers.Embedding(vocabulary, EMBEDDING),
            layer(units, return_sequences=True),
            keras.layers.Dense(vocabulary),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return rate(
        lambda: model.fit(dataset, steps_per_epoch=STEPS, verbose=0), STEPS * BATCH * TIME, 2
    )


def torch_loop(text: Path, cell: str, units: int) -> Turn:
    """The same model in PyTorch's plain training loop."""
    import torch

    ids, vocabulary = coded(text)
    usable = len(ids) - 1 - (len(ids) - 1) % TIME
    x, y = (torch.from_numpy(ids[shift : usable + shift].reshape(-1, TIME)) for shift in (0, 1))
    step = torch_step(cell, EMBEDDING, units, vocabulary)
    starts = (i for _ in count() for i in range(0, len(x) - BATCH + 1, BATCH))

    def next_step() -> None:
        first = next(starts)
        step(x[first : first + BATCH], y[first : first + BATCH])

    return rate(next_step, BATCH * TIME, 2)


def _vocabulary_size(batches: Path) -> int:
    return Split(artifact(batches), "train").metadata["vocabulary_size"]
