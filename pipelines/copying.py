"""The longest passage that a text has word for word from another, found exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

CHUNK = 2**20  # characters whose hashes are held at once
PRIME = 0x9E3779B97F4A7C15 | 1  # odd: it has an inverse modulo 2^64
TABLE_BITS = 20  # of a hash: few windows pass a table of those that are looked for
FIRST_TRY = 16  # characters
SEPARATORS = 0x110000, 0x110001  # no characters, and unlike, so that nothing is shared across them


class TrainText:
    """Text that may have been copied, four bytes a character: `reading` fills it."""

    def __init__(self) -> None:
        self.characters = 0
        self._parts: list[np.ndarray] = []

    def reading(self, texts: Iterable[str]) -> Iterator[str]:
        """The same texts, each kept on its way."""
        for text in texts:
            self.characters += len(text)
            self._parts += [_points(text), np.array(SEPARATORS[:1], np.uint32)]
            yield text

    @cached_property
    def _all(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.uint32), *self._parts])

    def longest_copy(self, pieces: Sequence[str]) -> str:
        """The longest passage of a piece that stands in one of the texts too; the first found of
        several. Where a passage is shared its halves are, too: so its length is found by halving
        what it can be, and a shared one is stretched as far as it goes."""
        text = np.concatenate([np.empty(0, np.uint32), *(
            part for piece in pieces for part in (_points(piece),
                                                  np.array(SEPARATORS[1:], np.uint32)))])
        passage, beyond = np.empty(0, np.uint32), max(map(len, pieces), default=0) + 1
        while len(passage) + 1 < beyond:
            middle = min(max(2 * len(passage), FIRST_TRY), (len(passage) + beyond) // 2)
            shared = self._shared(text, middle)
            if shared is None:
                beyond = middle
            else:
                passage = shared
        return passage.astype("<u4").tobytes().decode("utf-32-le")

    def _shared(self, text: np.ndarray, length: int) -> np.ndarray | None:
        """A passage of `length` points of `text` or more that was found, or None."""
        hashes = np.concatenate([found for _, found in _windows(text, length)])
        order = np.argsort(hashes, kind="stable")
        wanted = hashes[order]
        table = np.zeros(2**TABLE_BITS, bool)
        table[_head(wanted)] = True
        for first, found in _windows(self._all, length):
            places = np.flatnonzero(table[_head(found)])
            near = np.searchsorted(wanted, found[places])
            alike = wanted[np.minimum(near, len(wanted) - 1)] == found[places]
            for theirs, place in zip(first + places[alike], near[alike], strict=True):
                for ours in order[place:np.searchsorted(wanted, wanted[place], side="right")]:
                    common = _common(text[ours:], self._all[theirs:])
                    if common >= length:  # equal hashes alone prove nothing
                        return text[ours:ours + common]
        return None


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """How many points the two begin with alike."""
    size = min(len(one), len(other))
    step = 64
    for first in range(0, size, step):
        unlike = np.flatnonzero(one[first:min(first + step, size)]
                                != other[first:min(first + step, size)])
        if len(unlike):
            return first + int(unlike[0])
    return size


def _head(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - TABLE_BITS)).astype(np.int64)


def _windows(points: np.ndarray, length: int) -> Iterator[tuple[int, np.ndarray]]:
    """(first window, hashes of CHUNK windows or fewer) of all windows of `length` points.

    A polynomial of the points modulo 2^64, equal for equal windows (Karp and Rabin 1987), as the
    difference of two sums from the chunk's beginning.
    """
    yield 0, np.empty(0, np.uint64)
    powers, inverses = (np.cumprod(np.full(min(CHUNK + length, len(points)), base, np.uint64))
                        for base in (PRIME, pow(PRIME, -1, 2**64)))
    for first in range(0, len(points) - length + 1, CHUNK):
        part = points[first:first + CHUNK + length - 1].astype(np.uint64) + np.uint64(1)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(part * powers[:len(part)])])
        hashes = (sums[length:] - sums[:-length]) * inverses[:len(part) - length + 1]
        yield first, hashes ^ (hashes << np.uint64(32))  # the high bits hang on all the low ones
