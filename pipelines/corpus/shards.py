"""Writes documents to Parquet: the shards of each split, the quarantine, the near-duplicates.

Which documents make a shard follows from the lengths of the texts alone, so each shard is a step of
its own. Within a file the documents come in the batches of `text_cache.edges_of`, on which its
bytes depend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.corpus.division.listing import Categories, Listing
from pipelines.corpus.division.splits import CUT, OFFICIAL_TEST, Assignment
from pipelines.corpus.near_duplicates import Pair
from pipelines.corpus.text_cache import EXCERPT_CHARACTERS, Piece, Texts, edges_of
from pipelines.declaration.data_sections import ALL_SPLITS, SPLITS, UNLABELLED
from pipelines.steps.step import Step, move
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
DECIDED = pa.schema([("fate", pa.string()), ("label", pa.float32()), ("group", pa.string())])
SHARD_DOCUMENTS, SHARD_CHARACTERS = 10_000, 16 * 2**20
PARQUET = {"compression": "zstd", "use_dictionary": ["split", "reason"]}
Row = tuple[Any, ...]
Cuts = Mapping[int, list[tuple[str, int, int]]]  # by document: split, start, stop
Leak = tuple[Pair, str]  # near-duplicates of test documents, and the split they were in


class Shard(NamedTuple):
    """The documents of a split from number `first` to before `stop`."""

    name: str
    split: str
    first: int
    stop: int


@dataclass(frozen=True)
class Rows:
    """The rows of one split: the number of each document, and the characters of what it gives."""

    documents: np.ndarray
    characters: np.ndarray

    @classmethod
    def of(cls, split: str, listing: Listing, assignment: Assignment) -> Rows:
        own = {
            number: stop - start
            for number, cuts in assignment.cuts.items()
            for piece, start, stop in cuts
            if piece == split
        }
        wanted = assignment.fates.among(split)
        wanted[list(own)] = True
        documents = np.flatnonzero(wanted)
        characters = listing.characters[documents]
        characters[np.searchsorted(documents, list(own))] = list(own.values())
        return cls(documents, characters)

    def shards(self, split: str) -> list[Shard]:
        """Each as large as it may be, in order; their names sort so, too."""
        total = np.concatenate([[0], np.cumsum(self.characters)])
        edges, rows = [0], len(self.documents)
        while (start := edges[-1]) < rows:
            full = int(np.searchsorted(total, total[start] + SHARD_CHARACTERS))
            edges.append(min(start + SHARD_DOCUMENTS, full, rows))
        digits = max(4, len(str(len(edges) - 2)))
        return [
            Shard(
                f"{split}-{number:0{digits}}",
                split,
                int(self.documents[first]),
                int(self.documents[stop - 1]) + 1,
            )
            for number, (first, stop) in enumerate(pairwise(edges))
        ]

    def totals(self, labels: np.ndarray, classes: int) -> dict[str, Any]:
        """documents, characters and positives (label 1); of more than two classes `by_label`."""
        own = labels[self.documents]
        known = own[~np.isnan(own)].astype(np.int64)
        by_label = np.bincount(known, minlength=max(classes, 2)).tolist()
        found = {"documents": len(self.documents), "characters": int(self.characters.sum())}
        return found | ({"positives": by_label[1]} if classes <= 2 else {"by_label": by_label})


def write(
    texts: Texts,
    listing: Listing,
    assignment: Assignment,
    leaks: list[Leak],
    classes: int,
    work: Workspace,
) -> dict[str, dict[str, Any]]:
    """Writes the texts to their split's shards or to the quarantine.

    Returns documents, characters and positives (label 1) of each split; of more than two classes
    `by_label`, the documents of each.
    """
    edges = edges_of(listing.characters)
    _write_decisions(work.scratch / "decided.arrow", texts, listing, assignment)
    more = [UNLABELLED] if UNLABELLED in assignment.fates else []
    rows = {split: Rows.of(split, listing, assignment) for split in (*SPLITS, *more)}
    shards = [shard for split, some in rows.items() for shard in some.shards(split)]
    _write_shards(shards, texts, edges, assignment.cuts, work)
    _write_quarantine(texts, edges, assignment.fates, work)
    pq.write_table(_leak_table(leaks, texts), work.out / "near_duplicates.parquet", **PARQUET)
    return {split: some.totals(listing.labels, classes) for split, some in rows.items()}


def _write_decisions(path: Path, texts: Texts, listing: Listing, assignment: Assignment) -> None:
    """What is decided on each document: a record batch for each piece."""
    partial = path.with_name(f".{path.name}")  # a step of a run that died may still map the other
    with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, DECIDED) as found:
        for piece in texts.pieces:
            arrays = [
                assignment.fates.arrow(piece.first, piece.stop),
                pa.array(listing.labels[piece.first : piece.stop], from_pandas=True),
                listing.groups.arrow(piece.first, piece.stop),
            ]
            found.write_batch(pa.record_batch(arrays, schema=DECIDED))
    partial.replace(path)


def _write_shards(
    shards: Sequence[Shard], texts: Texts, edges: np.ndarray, cuts: Cuts, work: Workspace
) -> None:
    steps = []
    for shard in shards:
        first, stop = shard.first, shard.stop
        inner = edges[(edges > first) & (edges < stop)].tolist()
        arguments: dict[str, Any] = {
            "shard": shard,
            "pieces": _numbered(texts, first, stop),
            "edges": [first, *inner, stop],
            "cuts": {number: cut for number, cut in cuts.items() if first <= number < stop},
        }
        steps.append(Step(f"write-{shard.name}", write_shard, arguments))
    (work.out / "documents").mkdir()
    for done in work.steps.run(work.scratch, steps, work.progress, "shards written"):
        move(work.scratch, work.out, list(done.files))


def _numbered(texts: Texts, first: int, stop: int) -> list[tuple[int, Piece]]:
    """The pieces with these documents, and which ones of all they are."""
    return [
        (number, piece)
        for number, piece in enumerate(texts.pieces)
        if piece.first < stop and piece.stop > first
    ]


def write_shard(
    place: Path,
    out: Path,
    shard: Shard,
    pieces: list[tuple[int, Piece]],
    edges: list[int],
    cuts: Cuts,
) -> dict[str, Any]:
    """Writes documents/<shard>.parquet. `edges` are where its batches begin and end."""
    found: list[list[pa.Table]] = [[] for _ in edges[1:]]
    for number, piece in pieces:
        for table in _rows(place, number, piece, shard):
            places = np.searchsorted(edges, table["number"].to_numpy(), side="right") - 1
            for at in np.unique(places).tolist():
                found[at].append(table.filter(pa.array(places == at)))
    batches = [_batch(tables, shard.split, cuts) for tables in found if tables]
    (out / "documents").mkdir()
    path = out / "documents" / f"{shard.name}.parquet"
    pq.write_table(pa.concat_tables(batches), path, **PARQUET)
    return {}


def _rows(place: Path, number: int, piece: Piece, shard: Shard) -> Iterator[pa.Table]:
    """DOCUMENTS of a piece in the shard's split, or cut, with their numbers."""
    with pa.memory_map(str(place / "decided.arrow")) as file:
        decided = pa.ipc.open_file(file).get_batch(number)
    for at, batch in Texts(place, [piece]).numbered(first=shard.first, stop=shard.stop):
        here = decided.slice(at - piece.first, batch.num_rows)
        wanted = pc.is_in(here["fate"], pa.array([shard.split, CUT]))
        numbers = pa.array(np.arange(at, at + batch.num_rows))
        columns = (numbers, batch["id"], here["fate"], batch["text"], here["label"], here["group"])
        yield pa.table([column.filter(wanted) for column in columns], ["number", *DOCUMENTS.names])


def _batch(tables: list[pa.Table], split: str, cuts: Cuts) -> pa.Table:
    """The rows of a split among the documents of one batch, in one chunk."""
    table = pa.concat_tables(tables)
    if not cuts or not cuts.keys() & set(table["number"].to_pylist()):
        return table.drop_columns("number").combine_chunks()
    rows = [
        piece
        for number, *row in zip(*table.to_pydict().values(), strict=True)
        for piece in _pieces(tuple(row), cuts.get(number))
    ]
    chosen = [row for row in rows if row[1] == split]
    columns = zip(*chosen, strict=True) if chosen else [()] * len(DOCUMENTS)
    arrays = [pa.array(column, kind.type) for column, kind in zip(columns, DOCUMENTS, strict=True)]
    return pa.table(arrays, DOCUMENTS)


def _pieces(row: Row, cuts: list[tuple[str, int, int]] | None) -> Iterator[Row]:
    name, _, text, *rest = row
    if cuts is None:
        yield row
    else:
        for split, start, stop in cuts:
            yield f"{name}#{split}", split, text[start:stop], *rest


def _write_quarantine(texts: Texts, edges: np.ndarray, fates: Categories, work: Workspace) -> None:
    kept = (*ALL_SPLITS, OFFICIAL_TEST, CUT)
    aside = ~fates.among(*kept)
    steps = [
        Step(f"quarantine-{number:06}", set_aside, {"number": number, "piece": piece, "kept": kept})
        for number, piece in enumerate(texts.pieces)
        if aside[piece.first : piece.stop].any()
    ]
    done = work.steps.run(work.scratch, steps, work.progress, "parts of the quarantine written")
    found = (pq.read_table(work.scratch / name) for one in done for name in one.files)
    with pq.ParquetWriter(work.out / "quarantine.parquet", QUARANTINE, **PARQUET) as quarantine:
        for table in _by_batch(found, edges):
            quarantine.write_table(table)


def set_aside(
    place: Path, out: Path, number: int, piece: Piece, kept: tuple[str, ...]
) -> dict[str, Any]:
    """Writes aside/<piece>.parquet: QUARANTINE of a piece, with the documents' numbers."""
    with pa.memory_map(str(place / "decided.arrow")) as file:
        decided = pa.ipc.open_file(file).get_batch(number)
    tables = []
    for at, batch in Texts(place, [piece]).numbered():
        fates = decided["fate"].slice(at - piece.first, batch.num_rows)
        aside = pc.invert(pc.is_in(fates, pa.array(kept)))
        excerpts = pc.utf8_slice_codeunits(batch["text"].filter(aside), 0, EXCERPT_CHARACTERS)
        numbers = pa.array(np.arange(at, at + batch.num_rows)).filter(aside)
        columns = [numbers, batch["id"].filter(aside), fates.filter(aside), excerpts]
        tables.append(pa.table(columns, ["number", *QUARANTINE.names]))
    (out / "aside").mkdir()
    pq.write_table(pa.concat_tables(tables), out / "aside" / f"{number:06}.parquet")
    return {}


def _by_batch(tables: Iterable[pa.Table], edges: np.ndarray) -> Iterator[pa.Table]:
    """Their rows, those of one batch of documents together, without numbers."""
    waiting: list[pa.Table] = []
    batch = -1
    for table in tables:
        batches = np.searchsorted(edges, table["number"].to_numpy(), side="right")
        for at in np.unique(batches).tolist():
            if waiting and at != batch:
                yield pa.concat_tables(waiting).combine_chunks()
                waiting = []
            batch = at
            waiting.append(table.filter(pa.array(batches == at)).select(QUARANTINE.names))
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _leak_table(leaks: list[Leak], texts: Texts) -> pa.Table:
    names = texts.names_of({number for pair, _ in leaks for number in (pair.document, pair.test)})
    rows = [
        (names[pair.document], split, names[pair.test], pair.similarity) for pair, split in leaks
    ]
    return pa.Table.from_pylist([dict(zip(LEAKS.names, row, strict=True)) for row in rows], LEAKS)
