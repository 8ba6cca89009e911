"""The longest passage that occurs verbatim in two texts; the search is exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np

from pipelines.metrics.passage_hashes import code_points, passage_hashes

TABLE_BITS = 20  # of a hash: few windows pass a lookup table of the wanted ones
FIRST_TRY = 16  # characters
SEPARATORS = 0x110000, 0x110001  # not characters, and distinct, so that no match crosses them


class TrainText:
    """Text that may have been copied, four bytes per character: `reading` fills it."""

    def __init__(self) -> None:
        self.characters = 0
        self._parts: list[np.ndarray] = []

    def reading(self, texts: Iterable[str]) -> Iterator[str]:
        """The same texts, each stored as it passes."""
        for text in texts:
            self.characters += len(text)
            self._parts += [code_points(text), np.array(SEPARATORS[:1], np.uint32)]
            yield text

    @cached_property
    def _all(self) -> np.ndarray:
        return np.concatenate([np.empty(0, np.uint32), *self._parts])

    def longest_copy(self, pieces: Sequence[str]) -> str:
        """The longest passage of a piece that also occurs in one of the texts; the first of
        several. If a passage occurs, so do its halves: the length is found by bisection, and a
        match is extended as far as possible."""
        text = np.concatenate(
            [
                np.empty(0, np.uint32),
                *(
                    part
                    for piece in pieces
                    for part in (code_points(piece), np.array(SEPARATORS[1:], np.uint32))
                ),
            ]
        )
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
        """A passage of at least `length` points of `text` that occurs, or None."""
        hashes = np.concatenate([found for _, found in passage_hashes(text, length)])
        order = np.argsort(hashes, kind="stable")
        wanted = hashes[order]
        table = np.zeros(2**TABLE_BITS, bool)
        table[_head(wanted)] = True
        for first, found in passage_hashes(self._all, length):
            places = np.flatnonzero(table[_head(found)])
            near = np.searchsorted(wanted, found[places])
            alike = wanted[np.minimum(near, len(wanted) - 1)] == found[places]
            for theirs, place in zip(first + places[alike], near[alike], strict=True):
                for ours in order[place : np.searchsorted(wanted, wanted[place], side="right")]:
                    common = _common(text[ours:], self._all[theirs:])
                    if common >= length:  # equal hashes alone are no proof
                        return text[ours : ours + common]
        return None


def _common(one: np.ndarray, other: np.ndarray) -> int:
    """The number of points in the common prefix."""
    size = min(len(one), len(other))
    step = 64
    for first in range(0, size, step):
        unlike = np.flatnonzero(
            one[first : min(first + step, size)] != other[first : min(first + step, size)]
        )
        if len(unlike):
            return first + int(unlike[0])
    return size


def _head(hashes: np.ndarray) -> np.ndarray:
    return (hashes >> np.uint64(64 - TABLE_BITS)).astype(np.int64)
