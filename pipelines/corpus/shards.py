"""Writes documents to Parquet: the shards of each split, the quarantine, the near-duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.corpus.near_duplicates import Pair
from pipelines.corpus.splits import CUT, OFFICIAL_TEST, Assignment, Listing
from pipelines.corpus.text_cache import names, spooled
from pipelines.declaration.data_sections import ALL_SPLITS, SPLITS, UNLABELLED
from pipelines.parallel import mapped
from pipelines.store.artifacts import Workspace

DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("text", pa.string()),
        ("label", pa.float32()),
        ("group", pa.string()),
    ]
)
QUARANTINE = pa.schema([("id", pa.string()), ("reason", pa.string()), ("excerpt", pa.string())])
LEAKS = pa.schema(
    [
        ("id", pa.string()),
        ("split", pa.string()),
        ("test_id", pa.string()),
        ("similarity", pa.float64()),
    ]
)
SHARD_DOCUMENTS, SHARD_CHARACTERS = 10_000, 16 * 2**20
EXCERPT_CHARACTERS = 200
PARQUET = {"compression": "zstd", "use_dictionary": ["split", "reason"]}
Row = tuple[Any, ...]
Leak = tuple[Pair, str]  # near-duplicates of test documents, and the split they were in


def write(
    spool: Path,
    listing: Listing,
    assignment: Assignment,
    leaks: list[Leak],
    classes: int,
    work: Workspace,
) -> dict[str, dict[str, Any]]:
    """Writes the spooled texts to their split's shards or to the quarantine.

    Returns documents, characters and positives (label 1) of each split; of more than two classes
    `by_label`, the documents of each.
    """
    (work.out / "documents").mkdir()
    more = [UNLABELLED] if UNLABELLED in assignment.fates else []
    buffers = {split: Shards(split, classes) for split in (*SPLITS, *more)}
    with pq.ParquetWriter(work.out / "quarantine.parquet", QUARANTINE, **PARQUET) as quarantine:
        rows = _rows(spool, listing, assignment, work)
        shards = _shards(_without_quarantined(rows, quarantine), buffers)
        for _ in mapped(partial(_write_shard, work.out / "documents"), shards):
            pass
    work.progress(len(listing), len(listing), "documents written")
    pq.write_table(_leak_table(leaks, spool), work.out / "near_duplicates.parquet", **PARQUET)
    return {split: buffer.totals for split, buffer in buffers.items()}


def _rows(
    spool: Path, listing: Listing, assignment: Assignment, work: Workspace
) -> Iterator[pa.Table]:
    """DOCUMENTS of everything read; `split` may also be a reason for quarantine. One row per
    document, or several if the contiguous split cuts it."""
    at = 0
    for batch in spooled(spool):
        here = slice(at, at + batch.num_rows)
        table = _table(
            (
                batch["id"],
                assignment.fates[here],
                batch["text"],
                listing.labels[here],
                listing.groups[here],
            )
        )
        if CUT in assignment.fates[here]:
            rows = zip(*table.to_pydict().values(), strict=True)
            pieces = [
                piece
                for index, row in enumerate(rows, at)
                for piece in _pieces(row, assignment.cuts.get(index))
            ]
            table = _table(zip(*pieces, strict=True))
        yield table
        at += batch.num_rows
        work.progress(at, len(listing), "documents written")


def _table(columns: Iterable[Sequence[Any]]) -> pa.Table:
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, DOCUMENTS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=DOCUMENTS)


def _pieces(row: Row, cuts: list[tuple[str, int, int]] | None) -> Iterator[Row]:
    name, _, text, *rest = row
    if cuts is None:
        yield row
    else:
        for split, start, stop in cuts:
            yield f"{name}#{split}", split, text[start:stop], *rest


def _without_quarantined(
    rows: Iterable[pa.Table], quarantine: pq.ParquetWriter
) -> Iterator[pa.Table]:
    """Those in a split; the others go to the quarantine."""
    for table in rows:
        kept = pc.is_in(table["split"], pa.array(ALL_SPLITS))
        yield table.filter(kept)
        aside = table.filter(
            pc.invert(pc.is_in(table["split"], pa.array((*ALL_SPLITS, OFFICIAL_TEST))))
        )
        if aside.num_rows:
            excerpts = pc.utf8_slice_codeunits(aside["text"], 0, EXCERPT_CHARACTERS)
            quarantine.write_table(pa.table([aside["id"], aside["split"], excerpts], QUARANTINE))


def _shards(rows: Iterable[pa.Table], buffers: dict[str, Shards]) -> Iterator[tuple[str, pa.Table]]:
    """(name, rows) of the shards of all splits, as they fill up."""
    for table in rows:
        for split, buffer in buffers.items():
            yield from buffer.add(table.filter(pc.equal(table["split"], split)))
    for buffer in buffers.values():
        yield from buffer.rest()


def _write_shard(folder: Path, shard: tuple[str, pa.Table]) -> None:
    name, rows = shard
    pq.write_table(rows, folder / f"{name}.parquet", **PARQUET)


def _leak_table(leaks: list[Leak], spool: Path) -> pa.Table:
    wanted = {number: "" for pair, _ in leaks for number in (pair.document, pair.test)}
    for number, name in enumerate(names(spool) if wanted else ()):
        if number in wanted:
            wanted[number] = name
    rows = [
        (wanted[pair.document], split, wanted[pair.test], pair.similarity) for pair, split in leaks
    ]
    return pa.Table.from_pylist([dict(zip(LEAKS.names, row, strict=True)) for row in rows], LEAKS)


class Shards:
    """The rows of one split, until there are enough for a shard."""

    def __init__(self, split: str, classes: int) -> None:
        self.split, self.number = split, 0
        self._by_label = np.zeros(max(classes, 2), np.int64)
        self.waiting = DOCUMENTS.empty_table()
        self.characters = np.empty(0, np.int64)  # of each waiting text
        self._documents = self._characters = 0

    def add(self, rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
        """The full shards: (name, rows)."""
        characters = pc.utf8_length(rows["text"]).to_numpy()
        self._documents += rows.num_rows
        self._characters += int(characters.sum())
        numbers = rows["label"].drop_null().to_numpy().astype(np.int64)
        self._by_label += np.bincount(numbers, minlength=len(self._by_label))
        self.waiting = pa.concat_tables([self.waiting, rows])
        self.characters = np.concatenate([self.characters, characters])
        while len(self.characters) >= (size := self._size()):
            yield self._taken(size)

    @property
    def totals(self) -> dict[str, Any]:
        found = {"documents": self._documents, "characters": self._characters}
        if len(self._by_label) == 2:
            return found | {"positives": int(self._by_label[1])}
        return found | {"by_label": self._by_label.tolist()}

    def rest(self) -> Iterator[tuple[str, pa.Table]]:
        if len(self.characters):
            yield self._taken(len(self.characters))

    def _size(self) -> int:
        """Rows of the next shard."""
        enough = int(np.searchsorted(np.cumsum(self.characters), SHARD_CHARACTERS)) + 1
        return min(SHARD_DOCUMENTS, enough)

    def _taken(self, size: int) -> tuple[str, pa.Table]:
        shard, self.waiting = self.waiting.slice(0, size), self.waiting.slice(size)
        self.characters = self.characters[size:]
        self.number += 1
        return f"{self.split}-{self.number - 1:04d}", shard
