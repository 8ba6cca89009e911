"""A split's ids, concatenated, and the ways to cut them into rows that predict the next token.

`rows`, `lanes` and `windows` each yield the rows of a range of batches, so that each file can be
written on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.columns import column

WINDOW_TOKENS = 2**22  # in rows that are made at once
BATCH_TOKENS = 2**20  # in batches that are made at once


def gather(
    place: Path, out: Path, split: str, shards: list[str], id_type: type[np.generic]
) -> dict[str, Any]:
    """Writes the split's ids, one after another, where each document starts, and its name."""
    lengths, names = [np.zeros(1, np.int64)], []
    with (out / f"{split}.ids").open("wb") as file:
        for shard in shards:
            table = pq.read_table(shard, columns=["id", "length", "tokens"])
            names += table["id"].chunks
            lengths.append(table["length"].to_numpy().astype(np.int64))
            for chunk in table["tokens"].chunks:
                file.write(chunk.flatten().to_numpy().astype(id_type).tobytes())
    np.save(out / f"{split}.starts.npy", np.cumsum(np.concatenate(lengths)))
    column = pa.chunked_array(names, pa.string()).cast(pa.large_string()).combine_chunks()
    schema = pa.schema([("id", pa.large_string())])
    path = str(out / f"{split}.names.arrow")
    with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema) as found:
        found.write_batch(pa.record_batch([_whole(column)], schema=schema))
    return {}


def _whole(column: Any) -> pa.Array:
    """One array, whichever of the two `combine_chunks` returns."""
    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column


class TokenStream:
    """All documents of a split, in order, as `gather` wrote them. `starts` (documents + 1,) is
    where each starts. The files are mapped, so memory does not grow with the text."""

    def __init__(self, place: Path, split: str, id_type: type[np.generic], pad_id: int) -> None:
        self.pad_id = pad_id
        self.starts = np.load(place / f"{split}.starts.npy", mmap_mode="r")
        path = place / f"{split}.ids"
        empty = np.empty(0, id_type)
        self.ids = np.memmap(path, id_type, "r") if path.stat().st_size else empty
        with pa.memory_map(str(place / f"{split}.names.arrow")) as file:
            self.names = pa.ipc.open_file(file).get_batch(0)["id"]

    def rows(self, width: int, batch_size: int, first: int, stop: int) -> Iterator[pa.Table]:
        """Of all rows each token except the first is a target exactly once; only the last row is
        short. Those of the batches from `first` to before `stop`."""
        last = len(self.ids) - 1
        size = width * batch_size
        step = size * _batches_at_once(size)
        for start in range(first * size, min(stop * size, last), step):
            starts = np.arange(start, min(start + step, stop * size, last), width)
            yield self._batch(starts, np.full(len(starts), last), width)

    def lanes(self, lanes: int, width: int, first: int, stop: int) -> Iterator[pa.Table]:
        """Lane k reads its own part of the text from batch to batch."""
        begins, ends = self._parts(lanes)
        sizes = ends - begins
        full, step = int(sizes.min()) // width, _batches_at_once(lanes * width)
        for number in range(first, min(full, stop), step):  # several batches without a short lane
            offsets = np.arange(number, min(number + step, full, stop)) * width
            starts = (offsets[:, None] + begins).ravel()
            yield self._batch(starts, starts + width, width)
        for number in range(max(full, first), min(stop, -(-int(sizes.max()) // width))):
            is_open = begins + number * width < ends
            yield self._batch(begins[is_open] + number * width, ends[is_open], width)

    def _parts(self, lanes: int) -> tuple[np.ndarray, np.ndarray]:
        """Where each lane begins and ends."""
        whole, longer = divmod(len(self.ids) - 1, lanes)
        sizes = np.full(lanes, whole) + (np.arange(lanes) < longer)  # the longer lanes first,
        edges = np.concatenate([[0], np.cumsum(sizes)])  # so that rows keep their lane to the end
        return edges[:-1], edges[1:]

    def windows(self, width: int, first: int, stop: int) -> Iterator[pa.Table]:
        """Every `width` tokens of a document that are followed by another; each window starts one
        token later. Those with the numbers from `first` to before `stop`."""
        begin, end = self._positions(width, first, stop)
        step = _window_step(width)
        for number in range(begin // step * step, end, step):
            starts = np.arange(max(number, begin), min(number + step, end))
            document = np.searchsorted(self.starts, starts, side="right") - 1
            inside = starts + width < self.starts[document + 1]  # including the target
            part = self.ids[starts[0] : starts[0] + len(starts) + width]
            found = np.lib.stride_tricks.sliding_window_view(part, width + 1)[inside]
            lengths = np.full(len(found), width, np.int32)
            names = self._names(starts[inside], document[inside])
            yield _table(found[:, :-1], found[:, 1:], lengths, names)

    def windows_at_once(self, width: int) -> list[int]:
        """How many windows there are in each table that `windows` yields of all."""
        last, step = len(self.ids) - width, _window_step(width)
        edges = np.minimum(np.arange(0, last + step, step), max(last, 0))
        documents = np.minimum(
            np.searchsorted(self.starts, edges, side="right") - 1, len(self.starts) - 2
        )
        windows = self._windows(width)
        inside = np.minimum(edges - self.starts[documents], np.diff(windows)[documents])
        return np.diff(windows[documents] + inside).tolist()

    def _windows(self, width: int) -> np.ndarray:
        """(documents + 1,) the windows before each document."""
        return np.concatenate([[0], np.cumsum(np.maximum(np.diff(self.starts) - width, 0))])

    def _positions(self, width: int, first: int, stop: int) -> tuple[int, int]:
        """Where the window with the number `first` starts, and after which position the last one
        before `stop` does."""
        windows = self._windows(width)
        numbers = np.array([first, stop - 1])
        documents = np.searchsorted(windows, numbers, side="right") - 1
        begin, last = self.starts[documents] + numbers - windows[documents]
        return int(begin), int(last) + 1

    def _batch(self, starts: np.ndarray, ends: np.ndarray, width: int) -> pa.Table:
        """A row from each of `starts`, padded if its text ends within it."""
        lengths = np.minimum(width, ends - starts).astype(np.int32)
        place = np.arange(width)
        inside = place < lengths[:, None]
        at = np.where(inside, starts[:, None] + place, 0)
        tokens, targets = (
            np.where(inside, self.ids[at + shift], self.ids.dtype.type(self.pad_id))
            for shift in (0, 1)
        )
        documents = np.searchsorted(self.starts, starts, side="right") - 1
        return _table(tokens, targets, lengths, self._names(starts, documents))

    def _names(self, positions: np.ndarray, documents: np.ndarray) -> list[str]:
        names = self.names.take(pa.array(documents)).to_pylist()
        places = (positions - self.starts[documents]).tolist()
        return [f"{name}@{place}" for name, place in zip(names, places, strict=True)]


def _window_step(width: int) -> int:
    """Positions at which the windows of one table start."""
    return max(1, WINDOW_TOKENS // width)


def _batches_at_once(tokens: int) -> int:
    """A power of two, so that files begin where they would if batches came one by one."""
    return 1 << min(max(1, BATCH_TOKENS // tokens).bit_length() - 1, 12)


def _table(
    tokens: np.ndarray, targets: np.ndarray, lengths: np.ndarray, names: list[str]
) -> pa.Table:
    return pa.table(
        {
            "tokens": column(tokens),
            "length": lengths,
            "targets": column(targets),
            "id": pa.array(names, pa.string()),
            "weight": np.ones(len(lengths), np.float32),
        }
    )
