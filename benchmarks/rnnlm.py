"""The notebook's RNN language model of Japanese Wikipedia: truncated backpropagation, dropout."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data import Declared, Training, artifact, epoch_batches, made, paragraphs
from benchmarks.harness import Conditions, Side, Turn, apart, spread, take_turns, timed
from benchmarks.product import largest_product
from benchmarks.results import OF_LIMIT, Row, skipped
from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.training_section import TrainingSpec

TITLE = "RNN language model training, truncated backpropagation"
OURS, THEIRS = 8, 4  # batches per round, spread over the widths of an epoch

PROFILE = (
    "By perf, of a step's CPU time (one thread, rows 91 wide) 78% is matrix products, which with "
    "the 1,000 rows of a block reach 80 to 97% of that rate, 3% the recurrent scan, 15% passes "
    "over a block's logits (8,000 for each token), Adam and copies, and 4% the kernel. The output "
    "layer skips padding; the layers below it do not."
)


def compare(conditions: Conditions) -> Iterator[Row]:
    declared = paragraphs(conditions)
    batches = made(conditions, declared)["batches"]
    tokens, operations, padding = apart(_facts, declared, batches)
    sides = {"ours": Side(ours, (declared, batches)), "limit": Side(largest_product, (operations,))}
    if has_torch := importlib.util.find_spec("torch") is not None:
        sides["torch"] = Side(torch_loop, (declared, batches))
    found = take_turns(sides, conditions.repeats)
    against = "custom cell in a Python loop, PyTorch"
    shares = (
        f"{tokens:,} tokens per epoch; they fill {1 - padding[0]:.0%} of Folio's slots, "
        f"and {1 - padding[1]:.0%} with random batches padded to their longest."
    )
    if has_torch:
        most = found["limit"].median / found["torch"].median
        yield Row.times(
            "rnnlm/torch",
            TITLE,
            against,
            found["ours"],
            found["torch"],
            "tokens/s",
            None,
            f"Real tokens. A round trains on {OURS} batches of Folio and {THEIRS} of the "
            "other side, spread over the widths of an epoch and scaled up by slots. "
            f"{shares} {operations / 1e6:.1f} MFLOP per token, most of it in the output "
            "layer, where both sides use one product for all steps of a part: at this "
            f"machine's limit, a program is {most:.1f} times as fast as the other side.",
        )
    else:
        yield skipped(
            "rnnlm/torch", TITLE, against, "torch is not installed (pip install 'folio[torch]')"
        )
    yield Row.times(
        "rnnlm/limit",
        TITLE,
        "the machine's limit",
        found["ours"],
        found["limit"],
        "tokens/s",
        OF_LIMIT,
        f"Without padding. {shares} {PROFILE}",
    )


def ours(declared: Declared, batches: Path) -> Turn:
    """Real tokens per second of an epoch."""
    training = Training(declared, batches)
    found, slots = epoch_batches(training.split)
    chosen = [found[i] for i in spread(slots, OURS)]
    tokens = sum(int(batch.length.sum()) for batch in found)
    scale = slots.sum() / sum(batch.tokens.size for batch in chosen)

    def train() -> None:
        for batch in chosen:
            training.step(batch)

    train()  # compiles each width
    return lambda: tokens / (scale * timed(train))


def torch_loop(declared: Declared, batches: Path) -> Turn:
    """Real tokens per second of an epoch of random batches, each padded to its longest."""
    from pipelines.declaration.load import load_spec

    spec, split = load_spec(*declared), Split(artifact(batches), "train")
    rows, lengths = _rows(split)
    groups = _random(lengths, split.batch_size)
    slots = np.array([len(group) * lengths[group].max() for group in groups])
    chosen = spread(slots, THEIRS)
    step = _torch_step(
        spec.model, spec.training, split.metadata["vocabulary_size"], split.metadata["pad_id"]
    )
    padded = [
        _padded([rows[i] for i in groups[number]], split.metadata["pad_id"]) for number in chosen
    ]
    scale = slots.sum() / slots[chosen].sum()

    def train() -> None:
        for x, y in padded:
            step(x, y)

    step(*padded[0])
    return lambda: lengths.sum() / (scale * timed(train))


def _torch_step(
    model: ModelSpec, training: TrainingSpec, vocabulary: int, pad_id: int
) -> Callable[[Any, Any], None]:
    """One padded batch (rows, time) of ids and targets: an update per part, as in the notebook."""
    import torch
    from torch import nn

    class Cell(nn.Module):
        def __init__(self, inputs: int, units: int) -> None:
            super().__init__()
            self.inputs, self.hidden = nn.Linear(inputs, units), nn.Linear(units, units)

        def forward(self, x: Any, h: Any) -> Any:
            return torch.tanh(self.inputs(x) + self.hidden(h))

    units = model.units[0]
    embedding, cell = nn.Embedding(vocabulary, model.embedding), Cell(model.embedding, units)
    head, dropout = nn.Linear(units, vocabulary), nn.Dropout(model.dropout)
    network = nn.ModuleList([embedding, cell, head])
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate)
    criterion = nn.CrossEntropyLoss(ignore_index=pad_id)

    def step(x: Any, y: Any) -> None:
        h, stretch = torch.zeros(len(x), units), training.truncate or x.shape[1]
        for start in range(0, x.shape[1], stretch):
            part = slice(start, start + stretch)
            outputs, h = [], h.detach()
            for column in embedding(x[:, part]).unbind(1):
                h = cell(column, h)
                outputs.append(h)
            logits = head(dropout(torch.stack(outputs, 1)))  # (rows, steps, vocabulary)
            loss = criterion(logits.flatten(0, 1), y[:, part].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
            optimizer.step()

    return step


def _rows(split: Split) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """(ids, targets) of each document, unpadded, and their lengths."""
    rows = [
        (ids[:length], targets[:length])
        for batch in split.in_order()
        for ids, targets, length in zip(batch.tokens, batch.outcome, batch.length, strict=True)
    ]
    return rows, np.array([len(ids) for ids, _ in rows])


def _random(lengths: np.ndarray, size: int) -> list[np.ndarray]:
    order = np.random.default_rng(1).permutation(len(lengths))
    return [order[i : i + size] for i in range(0, len(order), size)]


def _padded(rows: list[tuple[np.ndarray, np.ndarray]], pad_id: int) -> list[Any]:
    """ids and targets (rows, longest), as PyTorch tensors."""
    import torch

    return [
        nn_pad([torch.from_numpy(values.astype(np.int64)) for values in column], pad_id)
        for column in zip(*rows, strict=True)
    ]


def nn_pad(sequences: list[Any], pad_id: int) -> Any:
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence(sequences, batch_first=True, padding_value=pad_id)


def _facts(declared: Declared, batches: Path) -> tuple[int, float, tuple[float, float]]:
    """Tokens per epoch, operations per token, padding of Folio's and of random batches."""
    from pipelines.declaration.load import load_spec

    model, split = load_spec(*declared).model, Split(artifact(batches), "train")
    _, lengths = _rows(split)
    units, vocabulary = model.units[0], split.metadata["vocabulary_size"]
    operations = 6 * ((model.embedding + units) * units + units * vocabulary)
    filled = lengths.sum() / sum(batch.tokens.size for batch in split.in_order())
    random = lengths.sum() / sum(
        len(group) * lengths[group].max() for group in _random(lengths, split.batch_size)
    )
    return int(lengths.sum()), float(operations), (1 - float(filled), 1 - float(random))
