"""Document lengths in a tokens artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact


def documents_by_length(tokens: Artifact, split: str) -> np.ndarray:
    """How many documents of a split have n tokens before truncation, at index n: (longest + 1,)."""
    total = np.zeros(1, np.int64)
    for shard in tokens.files(f"tokens/{split}-"):
        table = pq.read_table(shard, columns=["length", "truncated"])
        more = np.bincount(table["length"].to_numpy() + table["truncated"].to_numpy())
        total, more = sorted((total, more.astype(np.int64)), key=len)
        more[: len(total)] += total
        total = more
    return total
