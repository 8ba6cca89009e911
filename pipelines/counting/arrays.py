"""Reads arrays of one dimension from `.npy` files: data only, and no more than the file holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipelines.errors import DamagedError


def read_array(path: Path, kind: str) -> np.ndarray:
    """Of this dtype. Raises DamagedError if it is anything else, OSError if it cannot be read."""
    try:
        # Mapped, so that a header that claims more than the file has is refused, not allocated.
        found = np.lib.format.open_memmap(path, mode="r")
    except (OSError, MemoryError):
        raise
    except Exception as error:  # NumPy parses the header as Python, which raises many kinds
        raise DamagedError(f"{path}: not an array ({type(error).__name__})") from error
    if found.dtype != kind or found.ndim != 1:
        raise DamagedError(f"{path}: not an array of {kind}")
    return np.array(found)
