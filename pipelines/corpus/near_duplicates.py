"""Finds documents of train and validation that are nearly equal to a test document.

The similarity of two texts is the share of word sequences that they have in common, so letter case,
line breaks and a few changed words hardly matter. Memory holds at most 0.9 kB per test document,
its sketch, and the sketches of some of the others at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.sketches import HASH_BITS, SKETCH, Sketches, edges_of, in_characters, sketched
from pipelines.parallel import mapped

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


Texts = Iterable[tuple[np.ndarray, pa.Array]]  # batches: document numbers and texts


def near_duplicates(test: Texts, others: Texts) -> Iterator[Pair]:
    """Those of `others` that are similar to one of `test`, in the given order."""
    index = _Index.of(test)
    if not len(index.numbers):
        return

    def alike(batch: tuple[np.ndarray, pa.Array]) -> list[Pair]:
        numbers, texts = batch
        found = index.most_alike(sketched(texts, index.characters))
        return [
            Pair(int(numbers[one]), int(index.numbers[other]), float(share))
            for one, other, share in zip(*found, strict=True)
        ]

    yield from chain.from_iterable(mapped(alike, others))


@dataclass(frozen=True)
class _Index:
    """The sketches of the test documents; `keys` (sorted) and `owners` say who has which of the
    smallest hashes."""

    numbers: np.ndarray
    sketches: Sketches
    keys: np.ndarray
    owners: np.ndarray
    characters: bool

    @classmethod
    def of(cls, test: Texts) -> _Index:
        batches = iter(test)
        first = list(islice(batches, 1))
        characters = bool(first) and in_characters(first[0][1])
        numbers, sketches = [np.empty(0, np.int64)], [NO_SKETCHES]
        for some, found in mapped(
            lambda batch: (batch[0], sketched(batch[1], characters)), chain(first, batches)
        ):
            numbers.append(some)
            sketches.append(found)
        whole = Sketches(
            np.concatenate([each.hashes for each in sketches]),
            edges_of(np.concatenate([each.sizes for each in sketches])),
        )
        smallest = whole.first(KEYS)
        order = np.argsort(smallest.hashes, kind="stable")
        owners = np.repeat(np.arange(len(smallest.sizes), dtype=np.int32), smallest.sizes)
        return cls(
            np.concatenate(numbers), whole, smallest.hashes[order], owners[order], characters
        )

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
