"""Writes texts to Parquet shards as they come, with limited memory."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

SHARD_BYTES, BATCH_BYTES = 128 * 2**20, 4 * 2**20  # of text: in a file, and held in memory
COLUMNS = (("record", pa.int64()), ("text", pa.binary()))


class ShardWriter:
    """Writes rows to `<split>-NNNN.parquet`, a row group at a time."""

    def __init__(self, folder: Path, dataset: str, split: str, feature: str) -> None:
        folder.mkdir(exist_ok=True)
        self._path = folder / quote(split, safe="")  # a slice contains brackets
        metadata = {"dataset": dataset, "split": split, "feature": feature}
        self._schema = pa.schema(COLUMNS, metadata)
        self._texts: list[bytes] = []
        self._first = self._shard = self._bytes = self._shard_bytes = 0
        self._file: pq.ParquetWriter | None = None

    def add(self, text: bytes) -> None:
        self._texts.append(text)
        self._bytes += len(text)
        if self._bytes >= BATCH_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if self._file is not None and self._shard_bytes >= SHARD_BYTES:
            self._file.close()
            self._file, self._shard_bytes = None, 0
        if self._texts:
            if self._file is None:
                self._file = self._next_file()
            numbers = range(self._first, self._first + len(self._texts))
            self._file.write_table(
                pa.table([pa.array(numbers, pa.int64()), self._texts], schema=self._schema)
            )
        self._first += len(self._texts)
        self._shard_bytes += self._bytes
        self._texts, self._bytes = [], 0

    def _next_file(self) -> pq.ParquetWriter:
        path = self._path.with_name(f"{self._path.name}-{self._shard:04d}.parquet")
        self._shard += 1
        return pq.ParquetWriter(path, self._schema, compression="zstd")
