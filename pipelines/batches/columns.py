"""Padded rows of ids as numpy arrays, and as columns of a table."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def padded(ids: np.ndarray, lengths: np.ndarray, width: int, pad_id: int) -> np.ndarray:
    """Ragged, concatenated ids as rows: (rows, width), with the pad id on the right."""
    rows = np.full((len(lengths), width), pad_id, ids.dtype)
    rows[np.arange(width) < lengths[:, None]] = ids
    return rows


def column(rows: np.ndarray) -> pa.FixedSizeListArray:
    """(rows, width) as a fixed_size_list column."""
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def matrix(column: pa.ChunkedArray) -> np.ndarray:
    """A fixed_size_list column as (rows, width), with the type of the ids."""
    parts = [chunk.flatten().to_numpy() for chunk in column.chunks]
    flat = np.concatenate(parts) if parts else np.empty(0, np.int32)
    return flat.reshape(-1, column.type.list_size)
