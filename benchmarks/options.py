"""What options of a training cost: dropout at every place, and the two ways of a large softmax."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from benchmarks import char, rnnlm
from benchmarks.data import SAMPLES, Declared, Training, characters, made, paragraphs
from benchmarks.harness import Conditions, Side, Turn, rate, take_turns
from benchmarks.results import Row

DROPOUT = "model.dropout={word: 0.1, embedding: 0.2, recurrent: 0.2, output: 0.3}"
WORDS = "imdb-lm"  # 30,000 words, of which 1,024 are drawn


def compare(conditions: Conditions) -> Iterator[Row]:
    yield _dropout(conditions)
    yield from _sampled(conditions)
    yield _blocks(conditions)


def _dropout(conditions: Conditions) -> Row:
    network = "model.cell=lstm", f"model.units=[{16 if conditions.quick else 512}]"
    plain, dropped = (characters(conditions, *network, *more) for more in ((), (DROPOUT,)))
    batches = made(conditions, plain)["batches"]
    found = take_turns(
        {
            "dropped": Side(char.ours, (dropped, batches)),
            "plain": Side(char.ours, (plain, batches)),
        },
        conditions.repeats,
    )
    return Row.times(
        "options/dropout",
        "LSTM 512 training with dropout at every place",
        "the same without dropout",
        found["dropped"],
        found["plain"],
        "characters/s",
        0.8,
        "Words, embeddings, recurrent weights and outputs. The fast layers are used in both.",
    )


def _sampled(conditions: Conditions) -> Iterator[Row]:
    """`imdb-lm` as declared, with the softmax of all words, and with hardly any."""
    drawn, every, few = (
        _words(conditions, *more)
        for more in ((), ("training.sampled_softmax=null",), ("training.sampled_softmax=64",))
    )
    batches = made(conditions, drawn)["batches"]
    sides = {"drawn": drawn, "every": every, "few": few}
    found = take_turns(
        {name: Side(words, (each, batches)) for name, each in sides.items()}, conditions.repeats
    )
    title = "Training on 30,000 words with 1,024 drawn ones"
    for name, against, other, goal, note in (
        ("all-words", "the softmax of all words", "every", 1.0, "Validation reads all in both."),
        (
            "recurrent",
            "with 64 drawn ones",
            "few",
            0.5,
            "The other side is the time of all but the softmax: embeddings, LSTM 512, Adam.",
        ),
    ):
        yield Row.times(
            f"options/{name}", title, against, found["drawn"], found[other], "words/s", goal, note
        )


def _words(conditions: Conditions, *overrides: str) -> Declared:
    if not conditions.quick:
        return WORDS, "full", overrides
    small = f"source.path={SAMPLES / 'reviews.csv'}", "training.sampled_softmax=256"
    return WORDS, "sample", (*small, *overrides)


def words(declared: Declared, batches: Path) -> Turn:
    """Words per second through the training stage's loop."""
    training = Training(declared, batches)
    endless = (batch for epoch in count() for batch in training.split.epoch(epoch))
    return rate(lambda: training.step(next(endless)), next(endless).tokens.size, 2)


def _blocks(conditions: Conditions) -> Row:
    declared = paragraphs(conditions)
    batches = made(conditions, declared)["batches"]
    found = take_turns(
        {
            "blocks": Side(rnnlm.ours, (declared, batches)),
            "whole": Side(whole_logits, (declared, batches)),
        },
        conditions.repeats,
    )
    peaks = [found[name].peak_bytes / 1e9 for name in ("blocks", "whole")]
    return Row.times(
        "options/blocks",
        "RNN language model, loss in blocks of tokens",
        "the loss of all logits by Keras",
        found["blocks"],
        found["whole"],
        "tokens/s",
        1.2,
        f"8,000 subwords. Peak memory {peaks[0]:.2f} and {peaks[1]:.2f} GB.",
    )


def whole_logits(declared: Declared, batches: Path) -> Turn:
    """The same training without blocks, as on a GPU."""
    from pipelines.model.softmax import blocks as in_blocks

    in_blocks.SMALLEST = sys.maxsize
    return rnnlm.ours(declared, batches)
