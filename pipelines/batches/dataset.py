"""Reads padded batches as numpy, in file order or shuffled, from any step of any epoch.

Memory is bounded by one window of row groups per bucket, regardless of the size of the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.columns import matrix
from pipelines.errors import DamagedError

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

WINDOW_ROW_GROUPS = 64  # batches of one bucket whose rows are shuffled together


@dataclass(frozen=True)
class Batch:
    """One padded batch. `outcome` is labels (rows,) or targets (rows, width)."""

    tokens: np.ndarray  # (rows, width) int32
    length: np.ndarray  # (rows,) int32
    outcome: np.ndarray
    weight: np.ndarray  # (rows,) float32
    ids: list[str] = field(default_factory=list)  # only on request
    pad_id: int = 0
    predicts_last: bool = False  # only the last real target of a row counts

    def filled(self, rows: int) -> Batch:
        """The same with added rows of weight 0, so that every batch has the same shape."""
        missing = rows - len(self.length)
        if missing <= 0:
            return self
        # Length 1, not 0: a row of padding alone crashes cuDNN (tensorflow#36139).
        outcome = self.pad_id if self.outcome.ndim == 2 else 0
        return replace(
            self,
            tokens=_extend(self.tokens, missing, self.pad_id),
            length=_extend(self.length, missing, 1),
            outcome=_extend(self.outcome, missing, outcome),
            weight=_extend(self.weight, missing, 0),
            ids=[],
        )

    def take(self, rows: np.ndarray) -> Batch:
        """The rows with these numbers, without ids."""
        return replace(
            self,
            tokens=self.tokens[rows],
            length=self.length[rows],
            outcome=self.outcome[rows],
            weight=self.weight[rows],
            ids=[],
        )

    @property
    def real(self) -> np.ndarray:
        """(rows, width) bool: the targets in the loss, including those of rows with weight 0."""
        place, length = np.arange(self.tokens.shape[1]), self.length[:, None]
        return place == length - 1 if self.predicts_last else place < length

    @property
    def mask(self) -> np.ndarray:
        """(rows, width) float32: the row's weight for targets in the loss, else 0."""
        return self.real * self.weight[:, None]


def _extend(values: np.ndarray, missing: int, fill: int) -> np.ndarray:
    return np.concatenate([values, np.full((missing, *values.shape[1:]), fill, values.dtype)])


class Split:
    """The batches of one split of a batches artifact."""

    def __init__(self, batches: Artifact, split: str) -> None:
        self.paths = batches.files(f"batches/{split}/")
        if not self.paths:
            raise DamagedError(f"{batches.path}: no batches of the {split} split")
        self._files = [pq.ParquetFile(path) for path in self.paths]
        self.metadata = {
            key.decode(): json.loads(value)
            for key, value in self._files[0].schema_arrow.metadata.items()
            if not key.startswith(b"ARROW:")
        }
        self.outcome = "label" if self.metadata["kind"] == "classifier" else "targets"

    @property
    def layout(self) -> str:
        """documents, rows, lanes or windows: see docs/batches.md."""
        return self.metadata["layout"]

    @property
    def carries_state(self) -> bool:
        """Whether row k of a batch continues the text of row k of the previous batch."""
        return self.layout == "lanes"

    @property
    def predicts_last(self) -> bool:
        return self.metadata.get("predict") == "last"

    @property
    def classes(self) -> int:
        """How many labels a classifier distinguishes."""
        return self.metadata.get("classes", 2)

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
        """Every batch in file order."""
        for groups in self.buckets.values():
            for group in groups:
                yield self._batch([group], ids)

    def epoch(self, epoch: int, start: int = 0, shuffle: bool | None = None) -> Iterator[Batch]:
        """The batches of an epoch from step `start` on; depends only on seed and epoch.

        The row groups of a bucket are grouped into windows, the rows of a window are shuffled, and
        batches are drawn from the buckets at random, in proportion to their sizes. Lanes stay in
        order, and are only shuffled on request: their rows then begin at other tokens.
        """
        if self.carries_state or shuffle is False:
            groups = [group for bucket in self.buckets.values() for group in bucket]
            batches = (self._batch([group]) for group in groups[start:])
            yield from self._shifted(batches, epoch) if shuffle else batches
            return
        turns = np.repeat(np.arange(len(self.buckets)), [len(g) for g in self.buckets.values()])
        self._random(epoch, "turns").shuffle(turns)
        streams = [
            self._bucket(epoch, width, skip=int((turns[:start] == number).sum()))
            for number, width in enumerate(self.buckets)
        ]
        for number in turns[start:]:
            yield next(streams[number])

    def _shifted(self, lanes: Iterator[Batch], epoch: int) -> Iterator[Batch]:
        """Batches whose rows begin up to a row later, so that each epoch cuts the text at other
        places. The tokens before are left out."""
        offset = int(self._random(epoch, "offset").integers(next(iter(self.buckets))))
        batch = next(lanes, None)
        while batch is not None:
            following = next(lanes, None)
            rows = _joined(batch, following, offset)
            if len(rows.length):
                yield rows
            batch = following

    def _bucket(self, epoch: int, width: int, skip: int) -> Iterator[Batch]:
        """One bucket's batches; the first `skip` of them are skipped without reading them."""
        order = self._random(epoch, f"groups {width}").permutation(len(self.buckets[width]))
        groups = [self.buckets[width][i] for i in order]
        for first in range(0, len(groups), WINDOW_ROW_GROUPS):
            window = groups[first : first + WINDOW_ROW_GROUPS]
            if skip >= len(window):
                skip -= len(window)
                continue
            rows = self._batch(window)
            mixed = self._random(epoch, f"rows {width} {first}").permutation(len(rows.length))
            for picked in _deal(mixed, len(window), self.batch_size)[skip:]:
                yield rows.take(picked)
            skip = 0

    def _random(self, epoch: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng([self.metadata["seed"], epoch, *purpose.encode()])

    def _batch(self, groups: list[tuple[int, int]], ids: bool = False) -> Batch:
        table = self._read(groups, ids)
        outcome = table[self.outcome]
        return Batch(
            matrix(table["tokens"]).astype(np.int32),
            table["length"].to_numpy(),
            outcome.to_numpy() if self.outcome == "label" else matrix(outcome).astype(np.int32),
            table["weight"].to_numpy(),
            table["id"].to_pylist() if ids else [],
            self.metadata["pad_id"],
            self.predicts_last,
        )

    def _read(self, groups: list[tuple[int, int]], ids: bool = False) -> pa.Table:
        columns = ["tokens", "length", self.outcome, "weight", *(["id"] if ids else [])]
        by_file: dict[int, list[int]] = {}
        for file, group in groups:
            by_file.setdefault(file, []).append(group)
        tables = [
            self._files[file].read_row_groups(numbers, columns=columns, use_threads=False)
            for file, numbers in by_file.items()
        ]
        return pa.concat_tables(tables)


def _joined(batch: Batch, following: Batch | None, offset: int) -> Batch:
    """The rows without their first `offset` tokens, continued with as many of the following ones,
    whose last lanes may have ended; without ids."""
    rest = following or batch.take(np.arange(0))
    rows = rest.filled(len(batch.length))
    length = np.maximum(batch.length - offset, 0)
    length[: len(rest.length)] += np.minimum(rest.length, offset)
    tokens, outcome = (
        np.concatenate([own[:, offset:], after[:, :offset]], axis=1)
        for own, after in ((batch.tokens, rows.tokens), (batch.outcome, rows.outcome))
    )
    joined = replace(batch, tokens=tokens, length=length, outcome=outcome)
    return joined.take(np.flatnonzero(length))


def _deal(rows: np.ndarray, batches: int, batch_size: int) -> list[np.ndarray]:
    """Rows in exactly `batches` batches: full ones, then the bucket's last, shorter one."""
    return [rows[i * batch_size : (i + 1) * batch_size] for i in range(batches)]
