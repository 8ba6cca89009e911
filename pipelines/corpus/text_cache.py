"""Ids and texts of all documents, on disk while groups and digests decide their splits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.readers.documents import Document

SPOOL = pa.schema([("id", pa.string()), ("text", pa.string())])
BATCH_DOCUMENTS, BATCH_CHARACTERS = 1000, 2 * 2**20  # spooled at a time


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


def spooled(path: Path, columns: Sequence[str] = SPOOL.names) -> Iterator[pa.RecordBatch]:
    """These columns of all documents, in the listing's order."""
    options = pa.ipc.IpcReadOptions(included_fields=list(map(SPOOL.names.index, columns)))
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file, options=options) as found:
        yield from found


def names(path: Path) -> Iterator[str]:
    """The documents' ids, in the listing's order."""
    for batch in spooled(path, ["id"]):
        yield from batch["id"].to_pylist()


def chosen(
    spool: Path, fates: Sequence[str], splits: Collection[str]
) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Batches of numbers and texts of the documents that are entirely in these splits."""
    at = 0
    for batch in spooled(spool, ["text"]):
        wanted = np.array([fate in splits for fate in fates[at : at + batch.num_rows]])
        if wanted.any():
            yield at + np.flatnonzero(wanted), batch["text"].filter(pa.array(wanted))
        at += batch.num_rows
