"""How long the documents of a tokens artifact are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq


def documents_by_length(tokens: Path, split: str) -> np.ndarray:
    """How many documents of a split have n tokens before any cut, at place n: (longest + 1,).

    `tokens` is the folder of an artifact's shards.
    """
    total = np.zeros(1, np.int64)
    for shard in sorted(tokens.glob(f"{split}-*.parquet")):
        table = pq.read_table(shard, columns=["length", "truncated"])
        more = np.bincount(table["length"].to_numpy() + table["truncated"].to_numpy())
        total, more = sorted((total, more.astype(np.int64)), key=len)
        more[: len(total)] += total
        total = more
    return total
