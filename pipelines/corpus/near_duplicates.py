"""Which documents of train and validation say nearly what a document of the test part says.

Two texts are as alike as the share of their strings of words that both have: case, line breaks and
a few changed words matter little. Memory holds at most 0.9 kB a test document, its sketch, and the
sketches of some of the others at a time.
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

ALIKE = 0.5  # share of common strings; two reviews of one film have a few hundredths
KEYS = 8  # of the smallest hashes, by which alike documents find each other
MOST_UNDER_A_KEY = 10  # test documents: a string that more of them have tells nothing
PAIRS_AT_ONCE = 2**11  # compared at a time, within the cache
NO_SKETCHES = Sketches(np.empty(0, np.uint64), np.zeros(1, np.int64))


class Pair(NamedTuple):
    """A document outside the test part, by its number, the test document that it is most like, and
    how much: the share of common strings."""

    document: int
    test: int
    similarity: float


Texts = Iterable[tuple[np.ndarray, pa.Array]]  # batches: numbers of the documents, their texts


def near_duplicates(test: Texts, others: Texts) -> Iterator[Pair]:
    """Those of `others` that are like one of `test`, in the order given."""
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
        """Of the sketches that are ALIKE to one of the test part: their places, the test
        document's, and how alike. The first of several that are equally alike."""
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
        """Pairs that have a key in common, each once: place among `sketches`, test document."""
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
    """The share of common strings of each pair, from two sketches: exact where both are whole,
    else as it is among the smallest hashes of the two together. Each of `ones` has a hash."""
    pairs = np.arange(len(ones.sizes), dtype=np.uint64) << HASH_BITS
    one, other = (np.repeat(pairs, each.sizes) | each.hashes for each in (ones, others))
    at = np.searchsorted(other, one)
    common = np.take(other, at, mode="clip") == one
    before = edges_of(common)
    # How many of the pair's two sketches together are smaller than this hash.
    rank = np.arange(len(one)) + at - before[:-1]
    rank -= np.repeat(rank[ones.edges[:-1]] - (at[ones.edges[:-1]] - others.edges[:-1]), ones.sizes)
    cut = np.maximum(ones.sizes, others.sizes) == SKETCH
    common &= (rank < SKETCH) | np.repeat(~cut, ones.sizes)
    found = np.add.reduceat(common, ones.edges[:-1], dtype=np.int64)
    return found / np.where(cut, SKETCH, ones.sizes + others.sizes - found)
