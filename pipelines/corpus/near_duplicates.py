"""Finds documents of train and validation that are nearly equal to a test document.

The similarity of two texts is the share of word sequences that they have in common, so letter case,
line breaks and a few changed words hardly matter. Memory holds at most 0.9 kB per test document,
its sketch, and the sketches of some of the others at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.sketches import HASH_BITS, SKETCH, Sketches, edges_of, sketched

ALIKE = 0.5  # share of common sequences; two reviews of the same film share a few percent
KEYS = 8  # number of smallest hashes by which similar documents are found
MOST_UNDER_A_KEY = 10  # test documents; a sequence that occurs in more of them is not distinctive
PAIRS_AT_ONCE = 2**11  # compared at a time, to fit into the cache
NO_SKETCHES = Sketches(np.empty(0, np.uint64), np.zeros(1, np.int64))


class Pair(NamedTuple):
    """A document outside the test part, by number, the most similar test document, and the
    similarity: the share of common sequences."""

    document: int
    test: int
    similarity: float


@dataclass(frozen=True)
class Index:
    """The sketches of the test documents; `keys` (sorted) and `owners` say who has which of the
    smallest hashes."""

    numbers: np.ndarray
    sketches: Sketches
    keys: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, numbers: Sequence[np.ndarray], sketches: Sequence[Sketches]) -> Index:
        """Of batches of documents: their numbers and sketches."""
        whole = joined(sketches)
        smallest = whole.first(KEYS)
        order = np.argsort(smallest.hashes, kind="stable")
        owners = np.repeat(np.arange(len(smallest.sizes), dtype=np.int32), smallest.sizes)
        every = np.concatenate([np.empty(0, np.int64), *numbers])
        return cls(every, whole, smallest.hashes[order], owners[order])

    def save(self, folder: Path) -> None:
        for name, values in self._arrays.items():
            np.save(folder / f"{name}.npy", values)

    @classmethod
    def load(cls, folder: Path) -> Index:
        """Its arrays are mapped."""
        numbers, hashes, edges, keys, owners = (
            _mapped(folder / f"{name}.npy")
            for name in ("numbers", "hashes", "edges", "keys", "owners")
        )
        return cls(numbers, Sketches(hashes, edges), keys, owners)

    @property
    def _arrays(self) -> dict[str, np.ndarray]:
        return {
            "numbers": self.numbers,
            "hashes": self.sketches.hashes,
            "edges": self.sketches.edges,
            "keys": self.keys,
            "owners": self.owners,
        }

    def pairs(
        self, numbers: np.ndarray, texts: pa.Array, characters: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The fields of the Pairs of those documents that are similar to one of test."""
        ones, others, shares = self.most_alike(sketched(texts, characters))
        return numbers[ones], self.numbers[others], shares

    def most_alike(self, sketches: Sketches) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For the sketches that are ALIKE to a test document: their positions, the test document's
        and the similarity. Of equally similar ones the first."""
        ones, others = self._candidates(sketches)
        shares = np.concatenate(
            [
                [],
                *(
                    similarities(
                        sketches.chosen(ones[at : at + PAIRS_AT_ONCE]),
                        self.sketches.chosen(others[at : at + PAIRS_AT_ONCE]),
                    )
                    for at in range(0, len(ones), PAIRS_AT_ONCE)
                ),
            ]
        )
        order = np.lexsort((others, -shares, ones))
        order = order[shares[order] >= ALIKE]
        best = order[np.diff(ones[order], prepend=-1) != 0]
        return ones[best], others[best], shares[best]

    def _candidates(self, sketches: Sketches) -> tuple[np.ndarray, np.ndarray]:
        """Pairs with a common key, each once: position in `sketches`, test document."""
        smallest = sketches.first(KEYS)
        starts = np.searchsorted(self.keys, smallest.hashes, "left")
        stops = np.searchsorted(self.keys, smallest.hashes, "right")
        counts = np.minimum(stops - starts, MOST_UNDER_A_KEY)
        edges = edges_of(counts)
        owners = self.owners[np.repeat(starts - edges[:-1], counts) + np.arange(edges[-1])]
        places = np.repeat(np.arange(len(smallest.sizes)), smallest.sizes)
        pairs = np.unique(np.repeat(places, counts) << 32 | owners)
        return pairs >> 32, pairs & (2**32 - 1)


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except ValueError:  # an empty one cannot be
        return np.load(path)


def joined(sketches: Sequence[Sketches]) -> Sketches:
    return Sketches(
        np.concatenate([NO_SKETCHES.hashes, *(each.hashes for each in sketches)]),
        edges_of(np.concatenate([NO_SKETCHES.sizes, *(each.sizes for each in sketches)])),
    )


def similarities(ones: Sketches, others: Sketches) -> np.ndarray:
    """The share of common sequences of each pair, from two sketches: exact if both are complete,
    else an estimate from the smallest hashes of both. Each of `ones` has a hash."""
    pairs = np.arange(len(ones.sizes), dtype=np.uint64) << HASH_BITS
    one, other = (np.repeat(pairs, each.sizes) | each.hashes for each in (ones, others))
    at = np.searchsorted(other, one)
    common = np.take(other, at, mode="clip") == one
    before = edges_of(common)
    # How many hashes in the pair's two sketches together are smaller than this one.
    rank = np.arange(len(one)) + at - before[:-1]
    rank -= np.repeat(rank[ones.edges[:-1]] - (at[ones.edges[:-1]] - others.edges[:-1]), ones.sizes)
    cut = np.maximum(ones.sizes, others.sizes) == SKETCH
    common &= (rank < SKETCH) | np.repeat(~cut, ones.sizes)
    found = np.add.reduceat(common, ones.edges[:-1], dtype=np.int64)
    return found / np.where(cut, SKETCH, ones.sizes + others.sizes - found)
