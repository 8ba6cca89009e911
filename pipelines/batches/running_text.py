"""A split's ids, concatenated, and the ways to cut them into rows that predict the next token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.columns import column
from pipelines.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

WINDOW_TOKENS = 2**22  # in rows that are made at once
BATCH_TOKENS = 2**20  # in batches that are made at once


class TokenStream:
    """All documents of a split, in order. `starts` (documents + 1,) is where each starts.

    The ids are in the memory-mapped file `path`, so memory does not grow with the text.
    """

    def __init__(self, tokens: Artifact, split: str, vocabulary: Vocabulary, path: Path) -> None:
        self.names: list[str] = []
        self.pad_id = vocabulary.pad_id
        starts = [0]
        with path.open("wb") as file:
            for shard in tokens.files(f"tokens/{split}-"):
                table = pq.read_table(shard, columns=["id", "length", "tokens"])
                self.names += table["id"].to_pylist()
                starts += table["length"].to_pylist()
                for chunk in table["tokens"].chunks:
                    file.write(chunk.flatten().to_numpy().astype(vocabulary.id_type).tobytes())
        self.starts = np.cumsum(starts)
        empty = np.empty(0, vocabulary.id_type)
        self.ids = np.memmap(path, vocabulary.id_type, "r") if path.stat().st_size else empty

    def rows(self, width: int, batch_size: int) -> Iterator[pa.Table]:
        """Each token except the first is a target exactly once; only the last row is short."""
        last = len(self.ids) - 1
        step = width * batch_size * _batches_at_once(width * batch_size)
        for first in range(0, last, step):
            starts = np.arange(first, min(first + step, last), width)
            yield self._batch(starts, np.full(len(starts), last), width)

    def lanes(self, lanes: int, width: int) -> Iterator[pa.Table]:
        """Lane k reads its own part of the text from batch to batch."""
        whole, longer = divmod(len(self.ids) - 1, lanes)
        sizes = np.full(lanes, whole) + (np.arange(lanes) < longer)  # the longer lanes first,
        edges = np.concatenate([[0], np.cumsum(sizes)])  # so that rows keep their lane to the end
        first, end = edges[:-1], edges[1:]
        full, step = int(sizes.min()) // width, _batches_at_once(lanes * width)
        for number in range(0, full, step):  # several batches, in which no lane is short
            offsets = np.arange(number, min(number + step, full)) * width
            starts = (offsets[:, None] + first).ravel()
            yield self._batch(starts, starts + width, width)
        for offset in range(full * width, int(sizes.max()), width):
            is_open = first + offset < end
            yield self._batch(first[is_open] + offset, end[is_open], width)

    def windows(self, width: int) -> Iterator[pa.Table]:
        """Every `width` tokens of a document that are followed by another; each window starts one
        token later."""
        step = max(1, WINDOW_TOKENS // width)
        for first in range(0, len(self.ids) - width, step):
            starts = np.arange(first, min(first + step, len(self.ids) - width))
            document = np.searchsorted(self.starts, starts, side="right") - 1
            inside = starts + width < self.starts[document + 1]  # including the target
            part = self.ids[first : first + len(starts) + width]
            rows = np.lib.stride_tricks.sliding_window_view(part, width + 1)[inside]
            lengths = np.full(len(rows), width, np.int32)
            names = [
                self._name(*place) for place in zip(starts[inside], document[inside], strict=True)
            ]
            yield _table(rows[:, :-1], rows[:, 1:], lengths, names)

    def _batch(self, starts: np.ndarray, ends: np.ndarray, width: int) -> pa.Table:
        """A row from each of `starts`, padded if its text ends within it."""
        lengths = np.minimum(width, ends - starts).astype(np.int32)
        place = np.arange(width)
        inside = place < lengths[:, None]
        at = np.where(inside, starts[:, None] + place, 0)
        tokens, targets = (
            np.where(inside, self.ids[at + shift], self.ids.dtype.type(self.pad_id))
            for shift in (0, 1)
        )
        documents = np.searchsorted(self.starts, starts, side="right") - 1
        names = [self._name(*place) for place in zip(starts, documents, strict=True)]
        return _table(tokens, targets, lengths, names)

    def _name(self, position: int, document: int) -> str:
        return f"{self.names[document]}@{position - self.starts[document]}"


def _batches_at_once(tokens: int) -> int:
    """A power of two, so that files begin where they would if batches came one by one."""
    return 1 << min(max(1, BATCH_TOKENS // tokens).bit_length() - 1, 12)


def _table(
    tokens: np.ndarray, targets: np.ndarray, lengths: np.ndarray, names: list[str]
) -> pa.Table:
    return pa.table(
        {
            "tokens": column(tokens),
            "length": lengths,
            "targets": column(targets),
            "id": pa.array(names, pa.string()),
            "weight": np.ones(len(lengths), np.float32),
        }
    )
