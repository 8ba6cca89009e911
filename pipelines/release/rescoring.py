"""Scores an earlier model on a new test text, with its own tokenizer.

It needs only the model's package, not the artifacts that the model was made from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.dataset import Batch
from pipelines.metrics.segments import Segments
from pipelines.mix.mixed_scorer import scorer_of
from pipelines.serving.predictor import Predictor
from pipelines.serving.text_costs import coded, predicting
from pipelines.stats.classes import NONE

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

Answers = list[dict[str, Any]]

WIDTH = 256  # tokens of running text that are read at a time; the state is carried on


def rescored(
    package: Path, corpus: Artifact, batch_size: int, threads: int | None = None
) -> pa.Table:
    """What the metrics stage would write about this model: predictions of a classifier (id, label,
    probability or predicted, nats, correct), segments of a language model.

    `batch_size` is that of the corpus's test batches. Raises FolioError if the package is not
    intact.
    """
    predictor = Predictor.load(package, threads=threads)
    columns = ["id", "text", "label"]
    shards = [pq.read_table(shard, columns=columns) for shard in corpus.files("documents/test-")]
    if predictor.kind == "classifier":
        return pa.concat_tables(_judged(predictor, shard) for shard in shards).sort_by("id")
    return _read(predictor, pa.concat_tables(shards), batch_size)


def _judged(predictor: Predictor, documents: pa.Table) -> pa.Table:
    rows = predictor.judged(documents["text"].to_pylist())
    label = documents["label"].to_numpy()
    truth = [predictor.labels[int(value)] for value in label]
    # A text that it cannot classify counts as wrong, with the log loss of a random guess.
    judged = _of_two if len(predictor.labels) == 2 else _of_several
    return pa.table(
        {
            "id": documents["id"],
            "label": label,
            **judged(predictor.labels, rows, label),
            "correct": [row["label"] == true for row, true in zip(rows, truth, strict=True)],
        }
    )


def _of_two(labels: list[str], rows: Answers, label: np.ndarray) -> dict[str, np.ndarray]:
    chance = np.array(
        [0.5 if row["label"] is None else row["positive_probability"] for row in rows]
    )
    # Two formulas for the same figure: one is exact near 0, the other near 1.
    nats = -np.where(
        label > 0.5, np.log(np.maximum(chance, 1e-300)), np.log1p(-np.minimum(chance, 1 - 1e-16))
    )
    return {"probability": chance, "nats": nats}


def _of_several(labels: list[str], rows: Answers, label: np.ndarray) -> dict[str, np.ndarray]:
    numbers = {name: number for number, name in enumerate(labels)} | {None: NONE}
    chance = [
        1 / len(labels) if row["label"] is None else row["probabilities"][int(true)]
        for row, true in zip(rows, label, strict=True)
    ]
    return {
        "predicted": np.array([numbers[row["label"]] for row in rows], np.int32),
        "nats": -np.log(np.maximum(chance, 1e-300)),
    }


def _read(predictor: Predictor, documents: pa.Table, batch_size: int) -> pa.Table:
    vocabulary = predictor.vocabulary
    names, texts = documents["id"].to_pylist(), documents["text"].to_pylist()
    ids, first, _ = coded(texts, vocabulary, predictor.tokens)
    lengths = np.array([len(row) for row in ids])
    text = InMemoryBatches(
        names, ids, vocabulary.pad_id, batch_size, predictor.layout, predictor.window
    )
    segments = Segments(names, texts, vocabulary, first, lengths, text.layout != "documents")
    for scored in scorer_of(predictor.network, predictor.spec).batches(text, ids=True):
        segments.add(scored)
    return segments.table()


@dataclass(frozen=True)
class InMemoryBatches:
    """Test documents in the layout of the batches stage, in memory: one lane of running text, a
    document per row, or windows (docs/batches.md)."""

    names: list[str]
    ids: list[np.ndarray]  # a document's tokens
    pad_id: int
    rows: int  # documents or windows at a time
    layout: str
    window: int | None

    @property
    def carries_state(self) -> bool:
        return self.layout == "lanes"

    @property
    def batch_size(self) -> int:
        return 1 if self.layout == "lanes" else self.rows

    def in_order(self, ids: bool = False) -> Iterator[Batch]:
        return {"lanes": self._lane, "windows": self._windows}.get(self.layout, self._documents)()

    def _lane(self) -> Iterator[Batch]:
        stream = np.concatenate(self.ids)
        starts = np.cumsum([0, *map(len, self.ids)])
        for at in range(0, len(stream) - 1, WIDTH):
            document = int(np.searchsorted(starts, at, side="right")) - 1
            name = f"{self.names[document]}@{at - starts[document]}"
            yield self._batch([stream[at : at + WIDTH + 1]], [name], WIDTH)

    def _documents(self) -> Iterator[Batch]:
        long = [(name, row) for name, row in zip(self.names, self.ids, strict=True) if len(row) > 1]
        for first in range(0, len(long), self.rows):
            part = long[first : first + self.rows]
            width = max(len(row) for _, row in part) - 1
            yield self._batch(
                [row for _, row in part], [name for name, _ in part], -(-width // 32) * 32
            )  # few widths, so that few are compiled

    def _windows(self) -> Iterator[Batch]:
        window = self.window
        assert window is not None, "a model that reads windows has their length"
        for name, row in zip(self.names, self.ids, strict=True):
            places = range(len(row) - window)
            for first in range(0, len(places), self.rows):
                part = places[first : first + self.rows]
                yield self._batch(
                    [row[at : at + window + 1] for at in part],
                    [f"{name}@{at}" for at in part],
                    window,
                )

    def _batch(self, rows: list[np.ndarray], names: list[str], width: int) -> Batch:
        return predicting(rows, width, self.pad_id, self.layout == "windows", names)
