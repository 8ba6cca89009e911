"""The batches stage: a row group is a batch, a row is a padded sequence (docs/batches.md).

Classifiers get rows of a few widths ("buckets"), chosen to waste the least on padding.
Language models get rows of one width: `rows` cuts the running text one sequence after another;
`lanes` lays it out so that lane k of batch b+1 continues lane k of batch b.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.buckets import assign, best_widths
from pipelines.errors import FolioError
from pipelines.spec import BatchesSpec
from pipelines.stages import Inputs
from pipelines.store import Workspace
from pipelines.vocabulary import PAD_ID, Vocabulary, folder_digest

SPLITS = ("train", "validation", "test")
BATCHES_PER_FILE = 4096
# Held-out text is read with the state carried; few lanes leave hardly a token without context.
HELD_OUT_LANES = {"validation": 8, "test": 1}


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Write `batches/<split>/*.parquet`. Returns rows, slots and padding per split and width."""
    spec: BatchesSpec = config["batches"]
    tokens = inputs["tokens"].path
    vocabulary = Vocabulary.load(tokens / "vocabulary")
    common = {"pad_id": PAD_ID, "vocabulary_size": vocabulary.size,
              "vocabulary_digest": folder_digest(tokens / "vocabulary"),
              "seed": config["seed"], "kind": config["model.kind"]}
    if config["model.kind"] == "classifier":
        return _write_documents(tokens / "tokens", spec, vocabulary, common, work)
    return _write_text(tokens / "tokens", spec, vocabulary, common,
                       config["model.stateful"], work)


class BatchWriter:
    """Writes row groups of `batch_size` rows to `<folder>/<name>-NNNN.parquet`."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema, batch_size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.schema, self.batch_size = folder, name, schema, batch_size
        self.batches = self.rows = self.real = 0
        self._writer: pq.ParquetWriter | None = None
        self._parts = 0

    def write(self, table: pa.Table) -> None:
        """Append rows, whole batches except perhaps the last of all."""
        for start in range(0, table.num_rows, self.batch_size * BATCHES_PER_FILE):
            part = table.slice(start, self.batch_size * BATCHES_PER_FILE)
            if self._writer is None or self.batches >= self._parts * BATCHES_PER_FILE:
                self._next_file()
            self._writer.write_table(part, row_group_size=self.batch_size)
            self.batches += -(-part.num_rows // self.batch_size)
            self.rows += part.num_rows
            self.real += int(part["length"].to_numpy().sum())

    def _next_file(self) -> None:
        self.close()
        path = self.folder / f"{self.name}-{self._parts:04}.parquet"
        self._writer = pq.ParquetWriter(path, self.schema, compression="zstd",
                                        use_dictionary=False, write_statistics=False)
        self._parts += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def counts(self, width: int) -> dict[str, Any]:
        slots = self.rows * width
        return {"width": width, "batches": self.batches, "rows": self.rows, "slots": slots,
                "tokens": self.real, "padding": slots - self.real,
                "padding_share": round(1 - self.real / slots, 4) if slots else 0.0}


def _schema(width: int, id_type: pa.DataType, target: str, metadata: dict[str, Any]) -> pa.Schema:
    outcome = (pa.field("label", pa.float32()) if target == "label"
               else pa.field("targets", pa.list_(id_type, width)))
    return pa.schema(
        [pa.field("tokens", pa.list_(id_type, width)), pa.field("length", pa.int32()), outcome,
         pa.field("id", pa.string()), pa.field("weight", pa.float32())],
        metadata={key: json.dumps(value) for key, value in metadata.items()})


# Classifiers: documents into buckets


def _write_documents(tokens: Path, spec: BatchesSpec, vocabulary: Vocabulary,
                     common: dict[str, Any], work: Workspace) -> dict[str, Any]:
    lengths = {split: _lengths(tokens, split) for split in SPLITS}
    widths = _widths(spec, lengths)
    common |= {"layout": "documents", "batch_size": spec.batch_size, "buckets": widths}
    id_type = pa.from_numpy_dtype(vocabulary.id_type)
    counts: dict[str, Any] = {"widths": widths}
    for split in SPLITS:
        writers = [BatchWriter(work.out / "batches" / split, f"width-{w:05}",
                               _schema(w, id_type, "label", common | {"split": split}),
                               spec.batch_size)
                   for w in widths]
        _fill_buckets(tokens, split, writers, widths, work)
        per_width = [w.counts(width) for w, width in zip(writers, widths, strict=True) if w.rows]
        counts[split] = _sum(per_width) | {"per_width": per_width}
        if counts[split]["rows"] != len(lengths[split]):
            raise FolioError(f"batches {split}: {counts[split]['rows']} rows written for "
                             f"{len(lengths[split])} documents; this is a fault of Folio")
    return counts


def _lengths(tokens: Path, split: str) -> np.ndarray:
    shards = sorted(tokens.glob(f"{split}-*.parquet"))
    columns = [pq.read_table(shard, columns=["length"])["length"].to_numpy() for shard in shards]
    return np.concatenate(columns) if columns else np.empty(0, np.int32)


def _widths(spec: BatchesSpec, lengths: dict[str, np.ndarray]) -> list[int]:
    """Widths that suit train; the widest holds the longest document of all splits."""
    longest = max(int(values.max(initial=1)) for values in lengths.values())
    if spec.buckets == "auto":
        widths = best_widths(lengths["train"], spec.max_buckets)
        return [*widths[:-1], max(longest, widths[-1])]
    widths = sorted(set(spec.buckets))
    if widths[-1] < longest:
        raise FolioError(f"batches.buckets: the widest is {widths[-1]}, but a document has "
                         f"{longest} tokens; add a width or set tokens.max_tokens")
    return widths


def _fill_buckets(tokens: Path, split: str, writers: list[BatchWriter], widths: list[int],
                  work: Workspace) -> None:
    """Documents in order; each bucket writes whole batches and keeps the rest for later."""
    waiting: dict[int, list[pa.Table]] = {}
    for shard in sorted(tokens.glob(f"{split}-*.parquet")):
        table = pq.read_table(shard)
        buckets = assign(table["length"].to_numpy(), widths)
        for bucket in np.unique(buckets):
            rows = _pad(table.filter(pa.array(buckets == bucket)), widths[bucket],
                        writers[bucket].schema)
            rows = pa.concat_tables([*waiting.pop(bucket, []), rows])
            whole = rows.num_rows - rows.num_rows % writers[bucket].batch_size
            writers[bucket].write(rows.slice(0, whole))
            waiting[bucket] = [rows.slice(whole)]
        work.progress(sum(w.rows for w in writers), None, f"{split} rows batched")
    for bucket, rest in waiting.items():
        writers[bucket].write(rest[0])
    for writer in writers:
        writer.close()


def _pad(table: pa.Table, width: int, schema: pa.Schema) -> pa.Table:
    """Ragged ids to rows of one width: (rows, width), the pad id on the right."""
    lengths = table["length"].to_numpy()
    ids = np.concatenate([chunk.flatten().to_numpy() for chunk in table["tokens"].chunks])
    padded = np.full((len(lengths), width), PAD_ID, ids.dtype)
    padded[np.arange(width) < lengths[:, None]] = ids
    return pa.table([_rows(padded), pa.array(lengths), table["label"], table["id"],
                     pa.array(np.ones(len(lengths), np.float32))], schema=schema)


def _rows(matrix: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])


# Language models: running text into sequences


def _write_text(tokens: Path, spec: BatchesSpec, vocabulary: Vocabulary, common: dict[str, Any],
                stateful: bool, work: Workspace) -> dict[str, Any]:
    width = spec.sequence_length
    id_type = pa.from_numpy_dtype(vocabulary.id_type)
    counts: dict[str, Any] = {"widths": [width]}
    for split in SPLITS:
        stream = _Stream(tokens, split, vocabulary, work.scratch / f"{split}.ids")
        if len(stream.ids) <= (width if split == "train" else 1):
            raise FolioError(f"{split} text has {len(stream.ids)} tokens, too few for one sequence "
                             f"of {width}; give more text or a shorter batches.sequence_length")
        lanes = HELD_OUT_LANES.get(split, spec.batch_size if stateful else 0)
        lanes = min(lanes, (len(stream.ids) - 1) // width)
        metadata = common | {"layout": "lanes" if lanes else "rows", "buckets": [width],
                             "batch_size": lanes or spec.batch_size, "split": split}
        writer = BatchWriter(work.out / "batches" / split, f"width-{width:05}",
                             _schema(width, id_type, "targets", metadata), 1)
        for batch in stream.lanes(lanes, width) if lanes else stream.rows(width, spec.batch_size):
            writer.batch_size = batch.num_rows
            writer.write(batch.cast(writer.schema))
            work.progress(writer.real, len(stream.ids), f"{split} tokens batched")
        writer.close()
        counts[split] = writer.counts(width)
    return counts


class _Stream:
    """A split's ids end to end, on disk and mapped, so that memory does not grow with it."""

    def __init__(self, tokens: Path, split: str, vocabulary: Vocabulary, path: Path) -> None:
        self.names: list[str] = []
        starts = [0]
        with path.open("wb") as file:
            for shard in sorted(tokens.glob(f"{split}-*.parquet")):
                table = pq.read_table(shard, columns=["id", "length", "tokens"])
                self.names += table["id"].to_pylist()
                starts += table["length"].to_pylist()
                for chunk in table["tokens"].chunks:
                    file.write(chunk.flatten().to_numpy().astype(vocabulary.id_type).tobytes())
        self.starts = np.cumsum(starts)
        empty = np.empty(0, vocabulary.id_type)
        self.ids = (np.memmap(path, vocabulary.id_type, "r") if path.stat().st_size else empty)

    def rows(self, width: int, batch_size: int) -> Iterator[pa.Table]:
        """Each token but the first is a target exactly once; only the last row is short."""
        last = len(self.ids) - 1
        for first in range(0, last, width * batch_size):
            yield self._batch(range(first, min(first + width * batch_size, last), width), last,
                              width)

    def lanes(self, lanes: int, width: int) -> Iterator[pa.Table]:
        """Lane k reads its own stretch of the text from batch to batch."""
        whole, longer = divmod(len(self.ids) - 1, lanes)
        sizes = np.full(lanes, whole) + (np.arange(lanes) < longer)  # the longer lanes first,
        edges = np.concatenate([[0], np.cumsum(sizes)])  # so that rows keep their lane to the end
        for offset in range(0, int(np.diff(edges).max()), width):
            open_lanes = [(first + offset, end) for first, end in pairwise(edges)
                          if first + offset < end]
            yield self._batch([start for start, _ in open_lanes], [end for _, end in open_lanes],
                              width)

    def _batch(self, starts: range | list[int], ends: int | list[int], width: int) -> pa.Table:
        starts, ends = np.asarray(starts), np.broadcast_to(ends, len(starts))
        lengths = np.minimum(width, ends - starts).astype(np.int32)
        tokens = np.full((len(starts), width), PAD_ID, self.ids.dtype)
        targets = tokens.copy()
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            tokens[row, :length] = self.ids[start:start + length]
            targets[row, :length] = self.ids[start + 1:start + length + 1]
        return pa.table({"tokens": _rows(tokens), "length": lengths, "targets": _rows(targets),
                         "id": [self._name(start) for start in starts],
                         "weight": np.ones(len(starts), np.float32)})

    def _name(self, position: int) -> str:
        document = int(np.searchsorted(self.starts, position, side="right")) - 1
        return f"{self.names[document]}@{position - self.starts[document]}"


def _sum(per_width: list[dict[str, Any]]) -> dict[str, Any]:
    total = {key: sum(row[key] for row in per_width)
             for key in ("batches", "rows", "slots", "tokens", "padding")}
    share = total["padding"] / total["slots"] if total["slots"] else 0.0
    return total | {"padding_share": round(share, 4)}
