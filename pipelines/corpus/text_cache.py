"""Ids and texts of all documents, in pieces on disk while groups and digests decide their splits.

A piece is an Arrow file of some record batches, which is mapped: reading a part of it costs that
part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.readers.documents import Document

SCHEMA = pa.schema([("id", pa.string()), ("text", pa.string())])
EXCERPT_CHARACTERS = 200  # that are kept of a text that is quarantined
BATCH_DOCUMENTS, BATCH_CHARACTERS = 1000, 2 * 2**20  # in a record batch
PIECE_DOCUMENTS, PIECE_CHARACTERS = 10_000, 16 * 2**20  # when a piece is full


def document_batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def edges_of(characters: np.ndarray) -> np.ndarray:
    """Where the batches begin if documents of so many `characters` are read one after another,
    and where the last one ends. Documents are written in these batches, however they were read."""
    total = np.concatenate([[0], np.cumsum(characters, dtype=np.int64)])
    edges = [0]
    while (start := edges[-1]) < len(characters):
        full = int(np.searchsorted(total, total[start] + BATCH_CHARACTERS))
        edges.append(min(start + BATCH_DOCUMENTS, full, len(characters)))
    return np.array(edges)


class Piece(NamedTuple):
    """Where a file's documents are among all: from `first` to before `stop`."""

    file: str
    first: int
    stop: int


@dataclass(frozen=True)
class Texts:
    """The pieces of all documents, in the listing's order, in the folder `place`."""

    place: Path
    pieces: Sequence[Piece]

    def between(self, first: int, stop: int) -> Texts:
        """Only the pieces that have some of these documents."""
        chosen = [one for one in self.pieces if one.first < stop and one.stop > first]
        return Texts(self.place, chosen)

    def batches(
        self, columns: Sequence[str] = SCHEMA.names, first: int = 0, stop: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """These columns of the documents from `first` to before `stop`, in order."""
        for _, batch in self.numbered(columns, first, stop):
            yield batch

    def numbered(
        self, columns: Sequence[str] = SCHEMA.names, first: int = 0, stop: int | None = None
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The same, each batch with the number of its first document."""
        options = pa.ipc.IpcReadOptions(included_fields=list(map(SCHEMA.names.index, columns)))
        for piece in self.pieces:
            with pa.memory_map(str(self.place / piece.file)) as file:
                found, at = pa.ipc.open_file(file, options=options), piece.first
                for number in range(found.num_record_batches):
                    batch = found.get_batch(number)
                    skipped = max(0, first - at)
                    count = min(at + batch.num_rows, stop or piece.stop) - at - skipped
                    if count > 0:
                        yield at + skipped, batch.slice(skipped, count)
                    at += batch.num_rows

    def names_of(self, numbers: Collection[int]) -> dict[int, str]:
        """The ids of these documents, by number."""
        wanted, found = np.unique(np.fromiter(numbers, np.int64, len(numbers))), dict[int, str]()
        for piece in self.pieces:
            here = wanted[(wanted >= piece.first) & (wanted < piece.stop)]
            if not len(here):
                continue
            for first, batch in Texts(self.place, [piece]).numbered(["id"]):
                some = here[(here >= first) & (here < first + batch.num_rows)]
                names = batch["id"].take(pa.array(some - first)).to_pylist()
                found.update(zip(some.tolist(), names, strict=True))
        return found


class PieceWriter:
    """Writes batches of documents to pieces `<folder>/<name>-NNNN.arrow`. `counts` are the
    documents of each file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.counts: dict[str, int] = {}
        self._folder, self._name = folder, name
        self._file: Any = None
        self._writer: Any = None
        self._documents = self._characters = 0

    def write(self, ids: list[str], texts: list[str]) -> None:
        if self._writer is None:
            self._open()
        self._writer.write_batch(pa.record_batch([pa.array(ids), pa.array(texts)], schema=SCHEMA))
        self._documents += len(ids)
        self._characters += sum(map(len, texts))
        if self._documents >= PIECE_DOCUMENTS or self._characters >= PIECE_CHARACTERS:
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self.counts[f"{self._name}-{len(self.counts):06}.arrow"] = self._documents
            self._file = self._writer = None
            self._documents = self._characters = 0

    def _open(self) -> None:
        path = self._folder / f"{self._name}-{len(self.counts):06}.arrow"
        self._file = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._file, SCHEMA)
