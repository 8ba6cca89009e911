"""Writes padded rows to Parquet, one row group per batch, and counts them (docs/batches.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.columns import matrix

BATCHES_PER_FILE = 4096
SUMMED = ("batches", "rows", "slots", "tokens", "padding")


@dataclass
class Written:
    """Sums over rows of one width. `predicted` counts the targets in the loss, `predicted_text`
    those that are not markers."""

    batches: int = 0
    rows: int = 0
    tokens: int = 0
    predicted: int = 0
    predicted_text: int = 0

    def add(self, more: Mapping[str, int]) -> None:
        for name, value in more.items():
            setattr(self, name, getattr(self, name) + value)

    def counts(self, width: int) -> dict[str, Any]:
        slots = self.rows * width
        return {
            "width": width,
            "batches": self.batches,
            "rows": self.rows,
            "slots": slots,
            "tokens": self.tokens,
            "padding": slots - self.tokens,
            "padding_share": round(1 - self.tokens / slots, 4) if slots else 0.0,
        }


class BatchWriter:
    """Writes row groups of `batch_size` rows to a file. Rows that do not fill a batch wait for the
    next ones; the end of the `with` block writes the rest."""

    def __init__(
        self, path: Path, schema: pa.Schema, batch_size: int, markers: tuple[int, ...] = ()
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.schema, self.batch_size, self.markers = schema, batch_size, markers
        self.written = Written()
        self._waiting: pa.Table | None = None
        self._writer = pq.ParquetWriter(
            path, schema, compression="zstd", use_dictionary=False, write_statistics=False
        )

    def write(self, table: pa.Table) -> None:
        table = table.cast(self.schema)
        if "targets" in table.column_names:
            self._count_targets(table)
        if self._waiting is not None:
            table = pa.concat_tables([self._waiting, table])
        whole = table.num_rows - table.num_rows % self.batch_size
        self._write(table.slice(0, whole))
        self._waiting = table.slice(whole)

    def __enter__(self) -> BatchWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._waiting is not None and error is None:
            self._write(self._waiting)
        self._writer.close()

    def _count_targets(self, table: pa.Table) -> None:
        targets = matrix(table["targets"])
        lengths = table["length"].to_numpy()[:, None]
        place = np.arange(targets.shape[1])
        last_only = json.loads(self.schema.metadata[b"predict"]) == "last"
        chosen = targets[place == lengths - 1 if last_only else place < lengths]
        self.written.predicted += len(chosen)
        self.written.predicted_text += len(chosen) - int(np.isin(chosen, self.markers).sum())

    def _write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        self._writer.write_table(table, row_group_size=self.batch_size)
        self.written.batches += -(-table.num_rows // self.batch_size)
        self.written.rows += table.num_rows
        self.written.tokens += int(table["length"].to_numpy().sum())


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


def total(written: Mapping[int, Written]) -> dict[str, Any]:
    """Counts over all widths, and for each that has rows."""
    per_width = [sums.counts(width) for width, sums in written.items() if sums.rows]
    sums = {key: sum(row[key] for row in per_width) for key in SUMMED}
    share = sums["padding"] / sums["slots"] if sums["slots"] else 0.0
    return sums | {"padding_share": round(share, 4), "per_width": per_width}
