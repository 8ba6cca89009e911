"""Writes padded rows to Parquet, one row group per batch, and counts them (docs/batches.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.columns import matrix

BATCHES_PER_FILE = 4096
SUMMED = ("batches", "rows", "slots", "tokens", "padding")


class BatchWriter:
    """Writes row groups of `batch_size` rows to `<folder>/<name>-NNNN.parquet`.

    Rows that do not fill a batch wait for the next ones; `close` writes the rest. `predicted`
    counts the targets in the loss, `predicted_text` those that are not markers.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        schema: pa.Schema,
        batch_size: int,
        markers: tuple[int, ...] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.schema, self.batch_size = folder, name, schema, batch_size
        self.markers = markers
        self.batches = self.rows = self.real = self.predicted = self.predicted_text = 0
        self._waiting: pa.Table | None = None
        self._writer: pq.ParquetWriter | None = None
        self._parts = 0

    def write(self, table: pa.Table) -> None:
        table = table.cast(self.schema)
        if "targets" in table.column_names:
            self._count_targets(table)
        if self._waiting is not None:
            table = pa.concat_tables([self._waiting, table])
        whole = table.num_rows - table.num_rows % self.batch_size
        self._write(table.slice(0, whole))
        self._waiting = table.slice(whole)

    def close(self) -> None:
        if self._waiting is not None:
            self._write(self._waiting)
        if self._writer is not None:
            self._writer.close()

    def _count_targets(self, table: pa.Table) -> None:
        targets = matrix(table["targets"])
        lengths = table["length"].to_numpy()[:, None]
        place = np.arange(targets.shape[1])
        last_only = json.loads(self.schema.metadata[b"predict"]) == "last"
        chosen = targets[place == lengths - 1 if last_only else place < lengths]
        self.predicted += len(chosen)
        self.predicted_text += len(chosen) - int(np.isin(chosen, self.markers).sum())

    def counts(self, width: int) -> dict[str, Any]:
        slots = self.rows * width
        return {
            "width": width,
            "batches": self.batches,
            "rows": self.rows,
            "slots": slots,
            "tokens": self.real,
            "padding": slots - self.real,
            "padding_share": round(1 - self.real / slots, 4) if slots else 0.0,
        }

    def _write(self, table: pa.Table) -> None:
        for start in range(0, table.num_rows, self.batch_size * BATCHES_PER_FILE):
            part = table.slice(start, self.batch_size * BATCHES_PER_FILE)
            if self._writer is None or self.batches >= self._parts * BATCHES_PER_FILE:
                self._writer = self._next_file()
            self._writer.write_table(part, row_group_size=self.batch_size)
            self.batches += -(-part.num_rows // self.batch_size)
            self.rows += part.num_rows
            self.real += int(part["length"].to_numpy().sum())

    def _next_file(self) -> pq.ParquetWriter:
        if self._writer is not None:
            self._writer.close()
        path = self.folder / f"{self.name}-{self._parts:04}.parquet"
        self._parts += 1
        return pq.ParquetWriter(
            path, self.schema, compression="zstd", use_dictionary=False, write_statistics=False
        )


def schema(
    width: int, id_type: type[np.generic], outcome: str, metadata: dict[str, Any]
) -> pa.Schema:
    """Columns of rows of one width. `outcome` is "label" or "targets"."""
    ids = pa.list_(pa.from_numpy_dtype(id_type), width)
    return pa.schema(
        [
            pa.field("tokens", ids),
            pa.field("length", pa.int32()),
            pa.field(outcome, pa.float32() if outcome == "label" else ids),
            pa.field("id", pa.string()),
            pa.field("weight", pa.float32()),
        ],
        metadata={key: json.dumps(value) for key, value in metadata.items()},
    )


def total(writers: list[BatchWriter], widths: list[int]) -> dict[str, Any]:
    """Counts over all widths, and for each that has rows."""
    per_width = [w.counts(width) for w, width in zip(writers, widths, strict=True) if w.rows]
    sums = {key: sum(row[key] for row in per_width) for key in SUMMED}
    share = sums["padding"] / sums["slots"] if sums["slots"] else 0.0
    return sums | {"padding_share": round(share, 4), "per_width": per_width}
