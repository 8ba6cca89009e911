"""Ids and texts of all documents, on disk while groups and digests decide what becomes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from pipelines.documents import Document

SPOOL = pa.schema([("id", pa.string()), ("text", pa.string())])
BATCH_DOCUMENTS, BATCH_CHARACTERS = 1000, 2 * 2**20  # spooled at a time


def batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
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


def spooled(path: Path) -> Iterator[tuple[str, str]]:
    """(id, text), in the listing's order."""
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def chosen(spool: Path, fates: Sequence[str], splits: Collection[str]
           ) -> Iterator[list[tuple[int, str]]]:
    """Batches of (number, text) of the documents that are wholly in these splits."""
    batch: list[tuple[int, str]] = []
    characters = 0
    for index, (_, text) in enumerate(spooled(spool)):
        if fates[index] in splits:
            batch.append((index, text))
            characters += len(text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
