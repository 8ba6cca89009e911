"""One row per document, each in the narrowest width that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches import writer
from pipelines.batches.buckets import assign, best_widths
from pipelines.batches.columns import column, padded
from pipelines.batches.layout import Layout, file_names, rows_of_files
from pipelines.batches.tokenized_split import TokenizedSplit
from pipelines.batches.writer import BatchWriter, Written
from pipelines.errors import FolioError
from pipelines.steps.step import Step, move
from pipelines.store.artifacts import Artifact, Workspace


class Piece(NamedTuple):
    """Rows of one width in a file of `divide`."""

    file: str
    first: int
    rows: int


def write_documents(
    tokens: Artifact, splits: Sequence[str], widths: list[int], layout: Layout, work: Workspace
) -> dict[str, dict[int, Written]]:
    """{split: {width: its sums}}. First each shard is divided by width; the numbers of rows then
    say which of them make each file."""
    pieces = _divided(tokens, splits, widths, layout, work)
    steps, places = [], []
    for split in splits:
        for at, width in enumerate(widths):
            some, size = pieces[split, width], layout.spec.batch_size
            rows = (piece.rows for piece in some)
            files = _files(some, rows_of_files(rows, size, writer.BATCHES_PER_FILE))
            for name, parts in zip(file_names(split, width, len(files)), files, strict=True):
                arguments = {"name": name, "split": split, "parts": parts, "number": at}
                how = {"widths": widths, "layout": layout}
                steps.append(Step(name.replace("/", "-"), write_file, arguments | how))
                places.append((split, width))
    done = work.steps.run(work.scratch, steps, work.progress, "files of batches written")
    written = {split: {width: Written() for width in widths} for split in splits}
    for (split, width), one in zip(places, done, strict=True):
        written[split][width].add(one.found)
        move(work.scratch, work.out, list(one.files))
    return written


def best_for(texts: Mapping[str, TokenizedSplit], layout: Layout) -> list[int]:
    """Widths for the lengths in train; the widest fits the longest document of all splits."""
    shift = int(layout.language_model)  # it predicts n - 1 tokens of a document of n tokens
    longest = max(int(np.flatnonzero(text.by_length).max()) for text in texts.values()) - shift
    if layout.spec.buckets == "auto":
        lengths = texts["train"].by_length[shift:]
        distinct = np.flatnonzero(lengths[1:]) + 1
        most, size = layout.spec.max_buckets, layout.spec.batch_size
        widths = best_widths(distinct, lengths[distinct], most, size)
        widths = [*widths[:-1], max(longest, widths[-1])]
    else:
        widths = sorted(set(layout.spec.buckets))
    if widths[-1] < longest:
        raise FolioError(
            f"batches.buckets: the widest is {widths[-1]}, but a document has "
            f"{longest} tokens; add a width or set tokens.max_tokens"
        )
    # The state is carried from row k of a batch to row k of the next, in the documents' order.
    return widths[-1:] if layout.stateful else widths


def _divided(
    tokens: Artifact, splits: Sequence[str], widths: list[int], layout: Layout, work: Workspace
) -> dict[tuple[str, int], list[Piece]]:
    """The rows of each split and width, in the documents' order."""
    shift = int(layout.language_model)
    shards = [(split, path) for split in splits for path in tokens.files(f"tokens/{split}-")]
    steps = [
        Step(f"divide-{path.stem}", divide, {"shard": str(path), "widths": widths, "shift": shift})
        for _, path in shards
    ]
    done = work.steps.run(work.scratch, steps, work.progress, "shards divided by width")
    pieces: dict[tuple[str, int], list[Piece]] = {
        (split, width): [] for split in splits for width in widths
    }
    for (split, _), one in zip(shards, done, strict=True):
        (name,) = one.files
        for width, rows in zip(widths, one.found["rows"], strict=True):
            pieces[split, width] += [Piece(name, 0, rows)] if rows else []
    return pieces


def divide(place: Path, out: Path, shard: str, widths: list[int], shift: int) -> dict[str, Any]:
    """Writes pieces/<shard>.arrow: a record batch of documents for each width, still without
    padding. `rows` are their numbers."""
    table = pq.read_table(shard, columns=["id", "tokens", "length", "label"])
    lengths = table["length"].to_numpy() - shift
    buckets = np.where(lengths > 0, assign(lengths, widths), -1)
    rows = []
    (out / "pieces").mkdir()
    path = out / "pieces" / f"{Path(shard).stem}.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as found:
        for bucket in range(len(widths)):
            some = table.filter(pa.array(buckets == bucket)).combine_chunks()
            found.write_batch(_batch(some))
            rows.append(some.num_rows)
    return {"rows": rows}


def _batch(table: pa.Table) -> pa.RecordBatch:
    """The only one of a table, which may be empty."""
    empty = pa.RecordBatch.from_arrays(
        [pa.array([], f.type) for f in table.schema], table.schema.names
    )
    return next(iter(table.to_batches()), empty)


def _files(pieces: list[Piece], sizes: list[int]) -> list[list[Piece]]:
    """The pieces of each file, of so many rows."""
    files, left = [], list(reversed(pieces))
    for room in sizes:
        files.append(list[Piece]())
        while room:
            piece = left.pop()
            rows = min(room, piece.rows)
            files[-1].append(piece._replace(rows=rows))
            if rows < piece.rows:
                left.append(Piece(piece.file, piece.first + rows, piece.rows - rows))
            room -= rows
    return files


def write_file(
    place: Path,
    out: Path,
    name: str,
    split: str,
    parts: list[Piece],
    number: int,
    widths: list[int],
    layout: Layout,
) -> dict[str, Any]:
    """Writes one file of the width with this number; returns its sums."""
    width, size = widths[number], layout.spec.batch_size
    columns = layout.columns(split, width, size, layout="documents", buckets=widths)
    with BatchWriter(out / name, columns, size, layout.markers) as rows:
        for part in parts:
            with pa.memory_map(str(place / part.file)) as file:
                batch = pa.ipc.open_file(file).get_batch(number)
                table = pa.Table.from_batches([batch.slice(part.first, part.rows)])
                rows.write(_rows(table, width, layout))
    return vars(rows.written)


def _rows(table: pa.Table, width: int, layout: Layout) -> pa.Table:
    """Documents with ragged ids as rows of one width."""
    ids = np.concatenate([chunk.flatten().to_numpy() for chunk in table["tokens"].chunks])
    lengths, pad_id = table["length"].to_numpy(), layout.pad_id
    outcome = {"label": table["label"]}
    if layout.language_model:
        ends = np.cumsum(lengths)
        targets = np.delete(ids, ends - lengths)  # all except the first of each document
        ids, lengths = np.delete(ids, ends - 1), lengths - 1
        outcome = {"targets": column(padded(targets, lengths, width, pad_id))}
    return pa.table(
        {
            "tokens": column(padded(ids, lengths, width, pad_id)),
            "length": lengths,
            **outcome,
            "id": table["id"],
            "weight": np.ones(len(lengths), np.float32),
        }
    )
