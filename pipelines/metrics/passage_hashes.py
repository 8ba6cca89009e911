"""Hashes of all passages of a given length in a text, so that equal ones are found by sorting.

A polynomial of the code points modulo 2^64, equal for equal passages (Karp and Rabin 1987).
Different passages may have the same hash, so matches must be verified.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CHUNK = 2**20  # passages whose hashes are held at once
PRIME = 0x9E3779B97F4A7C15 | 1  # odd: it has an inverse modulo 2^64


def code_points(text: str) -> np.ndarray:
    """(characters,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def passage_hashes(points: np.ndarray, length: int) -> Iterator[tuple[int, np.ndarray]]:
    """(index of the first, hashes (passages,) uint64) of all passages of `length` points, at most
    CHUNK at a time; first an empty piece, so that there is always one.

    Each is the difference of two sums from the start of the chunk.
    """
    yield 0, np.empty(0, np.uint64)
    powers, inverses = (
        np.cumprod(np.full(min(CHUNK + length, len(points)), base, np.uint64))
        for base in (PRIME, pow(PRIME, -1, 2**64))
    )
    for first in range(0, len(points) - length + 1, CHUNK):
        part = points[first : first + CHUNK + length - 1].astype(np.uint64) + np.uint64(1)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(part * powers[: len(part)])])
        hashes = (sums[length:] - sums[:-length]) * inverses[: len(part) - length + 1]
        yield first, hashes ^ (hashes << np.uint64(32))  # the high bits depend on all the low ones
