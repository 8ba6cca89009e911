"""A training epoch of the book's bi-LSTM on its 20,000 reviews, batches of 32, no truncation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import notebook
from benchmarks.data import Declared, Training, artifact, epoch_batches, imdb, made, texts
from benchmarks.harness import Conditions, Side, Turn, apart, spread, take_turns, timed
from benchmarks.results import Row
from pipelines.batches.dataset import Split

OURS, THEIRS = 48, 12  # batches per round, spread over the widths of the epoch

PROFILE = (
    "By perf, of a step's CPU time (one thread, rows 258 wide) 18% is the matrix products over all "
    "steps, 13% the recurrent ones, of 32 rows each, 28% the gates and their gradients, in loops "
    "over 2,048 values, 6% Adam, 5% copies; the rest masks, reversing and starting operations. "
    "Tried: computing the gates' gradients ahead for all steps (the scan backwards takes twice the "
    "time) and keeping the gates in one array (1.6 times)."
)


def compare(conditions: Conditions) -> Iterator[Row]:
    declared = imdb(conditions)
    place = made(conditions, declared)
    found = take_turns(
        {
            "ours": Side(ours, (declared, place["batches"])),
            "notebook": Side(notebooks_way, (place["corpus"],)),
        },
        conditions.repeats,
    )
    mine, theirs = found["ours"], found["notebook"]
    slots = apart(_slots, place["batches"], place["tokens"])
    rates = [count / side.median / 1e3 for count, side in zip(slots, (mine, theirs), strict=True)]
    yield Row.times(
        "imdb-epoch/notebook",
        "IMDb training epoch",
        "Keras fit, py_function, random batches",
        mine,
        theirs,
        "s",
        9,
        f"A round trains on {OURS} batches of Folio and {THEIRS} of the notebook, spread "
        "evenly over the widths of an epoch, and is scaled up by slots. The notebook's "
        "side encodes its reviews, as it does in each epoch; Folio reads the whole epoch "
        "from Parquet. Not included: Folio's preparation, once, in "
        f"{mine.ready_seconds:.0f} s (eight widths compiled), and the notebook's in "
        f"{theirs.ready_seconds:.0f} s (vocabulary). With padding, an epoch has "
        f"{slots[0] / 1e6:.1f} million slots in Folio and {slots[1] / 1e6:.1f} in the "
        f"notebook. Per second, Folio processes {rates[0]:.0f} thousand slots and the "
        f"notebook {rates[1]:.0f} thousand; together these explain the ratio. {PROFILE}",
    )


def ours(declared: Declared, batches: Path) -> Turn:
    """Seconds per epoch: reading all of it, and training, scaled up from some batches."""
    training = Training(declared, batches)
    all_batches, slots = epoch_batches(training.split)
    chosen = [all_batches[i] for i in spread(slots, OURS)]
    scale = slots.sum() / sum(batch.tokens.size for batch in chosen)

    def train() -> None:
        for batch in chosen:
            training.step(batch)

    train()  # compiles each width
    return lambda: scale * timed(train) + timed(lambda: epoch_batches(training.split))


def _slots(batches: Path, tokens: Path) -> tuple[int, int]:
    """Padded tokens of an epoch: in Folio, and with random batches padded to their longest."""
    import pyarrow.parquet as pq

    shards = sorted((tokens / "tokens").glob("train-*.parquet"))
    lengths = pq.read_table(shards, columns=["length"])["length"].to_numpy()
    random = lengths[np.random.default_rng(1).permutation(len(lengths))]
    ends = np.arange(0, len(random), notebook.BATCH)
    longest = np.maximum.reduceat(random, ends)
    sizes = np.diff(np.append(ends, len(random)))
    ours = epoch_batches(Split(artifact(batches), "train"))[1].sum()
    return int(ours), int((longest * sizes).sum())


def notebooks_way(corpus: Path) -> Turn:
    """Seconds per epoch of `fit`, scaled up from some of its random batches."""
    documents, labels = texts(corpus, "train")
    encoder = notebook.vocabulary(documents)
    model = notebook.model(encoder.vocab_size)
    lengths = np.array([len(encoder.encode(text)) for text in documents])
    order = np.random.default_rng(1).permutation(len(documents))
    rows = [order[i : i + notebook.BATCH] for i in range(0, len(order), notebook.BATCH)]
    slots = np.array([len(row) * lengths[row].max() for row in rows])
    chosen = spread(slots, THEIRS)
    picked = np.concatenate([rows[i] for i in chosen])
    dataset = notebook.batches([documents[i] for i in picked], [labels[i] for i in picked], encoder)
    model.fit(dataset, verbose=0)  # traces
    return lambda: slots.sum() / slots[chosen].sum() * timed(lambda: model.fit(dataset, verbose=0))
