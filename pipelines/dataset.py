"""Reads padded batches as numpy, in file order or reshuffled, from any step of any epoch.

Memory is bounded by one window of row groups per bucket, whatever the corpus's size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import DamagedError

WINDOW_ROW_GROUPS = 64  # batches of one bucket whose rows are mixed with each other


@dataclass(frozen=True)
class Batch:
    """One padded batch. `outcome` is labels (rows,) or targets (rows, width)."""

    tokens: np.ndarray  # (rows, width) int32
    length: np.ndarray  # (rows,) int32
    outcome: np.ndarray
    weight: np.ndarray  # (rows,) float32
    ids: list[str] | None = None

    def filled(self, rows: int) -> Batch:
        """The same with rows of weight 0 added, so that every batch has one shape."""
        missing = rows - len(self.length)
        if missing <= 0:
            return self
        # Length 1, not 0: a row that is all padding crashes cuDNN (tensorflow#36139).
        return Batch(_extend(self.tokens, missing, 0), _extend(self.length, missing, 1),
                     _extend(self.outcome, missing, 0), _extend(self.weight, missing, 0))

    @property
    def mask(self) -> np.ndarray:
        """(rows, width) float32: the row's weight where there is a token, else 0."""
        real = np.arange(self.tokens.shape[1]) < self.length[:, None]
        return real * self.weight[:, None]


def _extend(values: np.ndarray, missing: int, fill: int) -> np.ndarray:
    return np.concatenate([values, np.full((missing, *values.shape[1:]), fill, values.dtype)])


class Split:
    """The batches of one split: `Split(artifact.path, "train")`."""

    def __init__(self, folder: Path, split: str) -> None:
        self.paths = sorted((folder / "batches" / split).glob("*.parquet"))
        if not self.paths:
            raise DamagedError(f"{folder}: no batches of the {split} split")
        self._files = [pq.ParquetFile(path) for path in self.paths]
        self.metadata = {key.decode(): json.loads(value) for key, value
                         in self._files[0].schema_arrow.metadata.items()
                         if not key.startswith(b"ARROW:")}
        self.outcome = "label" if self.metadata["kind"] == "classifier" else "targets"

    @property
    def carries_state(self) -> bool:
        return self.metadata["layout"] == "lanes"

    @property
    def batch_size(self) -> int:
        return self.metadata["batch_size"]

    @cached_property
    def buckets(self) -> dict[int, list[tuple[int, int]]]:
        """{width: its row groups as (file, row group)} in file order."""
        found: dict[int, list[tuple[int, int]]] = {}
        for number, file in enumerate(self._files):
            width = file.schema_arrow.field("tokens").type.list_size
            groups = [(number, group) for group in range(file.num_row_groups)]
            found.setdefault(width, []).extend(groups)
        return found

    @property
    def batch_count(self) -> int:
        return sum(len(groups) for groups in self.buckets.values())

    def in_order(self, ids: bool = False) -> Iterator[Batch]:
        """Every batch as written."""
        for groups in self.buckets.values():
            for group in groups:
                yield _batch(self._read([group], ids), self.outcome)

    def epoch(self, epoch: int, start: int = 0, shuffle: bool = True) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on: a pure function of seed and epoch.

        Row groups of a bucket are dealt into windows, the rows of a window are mixed, and the
        buckets take turns at random, in proportion to their batches.
        """
        if self.carries_state or not shuffle:
            groups = [group for bucket in self.buckets.values() for group in bucket]
            for group in groups[start:]:
                yield _batch(self._read([group]), self.outcome)
            return
        turns = np.repeat(np.arange(len(self.buckets)), [len(g) for g in self.buckets.values()])
        self._random(epoch, "turns").shuffle(turns)
        streams = [self._bucket(epoch, width, skip=int((turns[:start] == number).sum()))
                   for number, width in enumerate(self.buckets)]
        for number in turns[start:]:
            yield next(streams[number])

    def _bucket(self, epoch: int, width: int, skip: int) -> Iterator[Batch]:
        """One bucket's batches, the first `skip` of them left out without reading them."""
        order = self._random(epoch, f"groups {width}").permutation(len(self.buckets[width]))
        groups = [self.buckets[width][i] for i in order]
        for first in range(0, len(groups), WINDOW_ROW_GROUPS):
            window = groups[first:first + WINDOW_ROW_GROUPS]
            if skip >= len(window):
                skip -= len(window)
                continue
            rows = _batch(self._read(window), self.outcome)
            mixed = self._random(epoch, f"rows {width} {first}").permutation(len(rows.length))
            for picked in _deal(mixed, len(window), self.batch_size)[skip:]:
                yield Batch(rows.tokens[picked], rows.length[picked], rows.outcome[picked],
                            rows.weight[picked])
            skip = 0

    def _random(self, epoch: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.metadata["seed"], epoch, *purpose.encode()])

    def _read(self, groups: list[tuple[int, int]], ids: bool = False) -> pa.Table:
        columns = ["tokens", "length", self.outcome, "weight", *(["id"] if ids else [])]
        by_file: dict[int, list[int]] = {}
        for file, group in groups:
            by_file.setdefault(file, []).append(group)
        tables = [self._files[file].read_row_groups(numbers, columns=columns, use_threads=False)
                  for file, numbers in by_file.items()]
        return pa.concat_tables(tables)


def _deal(rows: np.ndarray, batches: int, batch_size: int) -> list[np.ndarray]:
    """Rows into exactly `batches` batches: full ones, and the bucket's short one last."""
    return [rows[i * batch_size:(i + 1) * batch_size] for i in range(batches)]


def _batch(table: pa.Table, outcome: str) -> Batch:
    return Batch(_matrix(table["tokens"]), table["length"].to_numpy(),
                 _matrix(table[outcome]) if outcome == "targets" else table[outcome].to_numpy(),
                 table["weight"].to_numpy(),
                 table["id"].to_pylist() if "id" in table.column_names else None)


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A fixed_size_list column as (rows, width) int32."""
    parts = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate(parts).astype(np.int32).reshape(-1, column.type.list_size)
