"""Which documents of train and validation say nearly what a document of the test part says.

Two texts are as alike as the share of their strings of words that both have (Broder 1997): case,
line breaks and a few changed words matter little. Of each document a sketch is kept, the
SKETCH strings with the smallest hashes: all of a short text's, a fair sample of a long one's. So
memory holds at most 0.8 kB a test document, and a sketch of the others at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.side_by_side import mapped

ALIKE = 0.5  # share of common strings; two reviews of one film have a few hundredths
LENGTH = 5  # words in a string; of text without blanks, as Japanese is, characters
FEWEST_BLANKS = 0.05  # of the characters, in text with blanks between words
SKETCH = 100
KEYS = 8  # of the smallest hashes, by which alike documents find each other
MOST_UNDER_A_KEY = 10  # test documents: a string that more of them have tells nothing
MIX, STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
HASH_BITS, DOCUMENT_BITS = 40, 24  # of the numbers that are sorted


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
    if not index.numbers:
        return
    for numbers, sketches in _sketched(others, index.characters):
        for number, sketch in zip(numbers.tolist(), sketches, strict=True):
            best = index.best(sketch)
            if best is not None:
                yield Pair(number, *best)


def in_characters(texts: pa.Array) -> bool:
    """Whether blanks are so rare that characters, not words, are to be strung together."""
    blanks = sum(pc.sum(pc.count_substring(texts, blank)).as_py() for blank in " \n")
    return blanks < FEWEST_BLANKS * pc.sum(pc.utf8_length(texts)).as_py()


@dataclass(frozen=True)
class _Index:
    """The sketches of the test documents; `keys` (sorted) and `owners` say who has which of the
    smallest hashes."""

    numbers: list[int]
    sketches: list[np.ndarray]
    keys: np.ndarray
    owners: np.ndarray
    characters: bool

    @classmethod
    def of(cls, test: Texts) -> _Index:
        numbers: list[int] = []
        sketches: list[np.ndarray] = []
        batches = iter(test)
        first = list(islice(batches, 1))
        characters = bool(first) and in_characters(first[0][1])
        for some, found in _sketched(chain(first, batches), characters):
            numbers += some.tolist()
            sketches += found
        keys = [sketch[:KEYS] for sketch in sketches]
        flat = np.concatenate([np.empty(0, np.uint64), *keys])
        owners = np.repeat(np.arange(len(keys)), [len(key) for key in keys])
        order = np.argsort(flat, kind="stable")
        return cls(numbers, sketches, flat[order], owners[order], characters)

    def best(self, sketch: np.ndarray) -> tuple[int, float] | None:
        """The number of the test document that is most like `sketch`, and how much; None when
        none is ALIKE."""
        starts = np.searchsorted(self.keys, sketch[:KEYS], "left")
        stops = np.searchsorted(self.keys, sketch[:KEYS], "right")
        found = {int(owner) for start, stop in zip(starts, stops, strict=True) if start < stop
                 for owner in self.owners[start:min(stop, start + MOST_UNDER_A_KEY)]}
        alike = [(similarity(sketch, self.sketches[owner]), -owner) for owner in found]
        share, owner = max(alike, default=(0.0, 0))
        return (self.numbers[-owner], share) if share >= ALIKE else None


def similarity(one: np.ndarray, other: np.ndarray) -> float:
    """The share of common strings, from two sketches: exact where both are whole, else as it is
    among the smallest hashes of the two together."""
    if not (len(one) and len(other)):
        return 0.0
    places = np.minimum(np.searchsorted(other, one), len(other) - 1)
    common = one[other[places] == one]
    if max(len(one), len(other)) < SKETCH:
        return len(common) / (len(one) + len(other) - len(common))
    if len(common) < ALIKE * SKETCH:  # it can only be less: no need to look among the smallest
        return len(common) / SKETCH
    smallest = np.union1d(one, other)[:SKETCH]
    return int((common <= smallest[-1]).sum()) / SKETCH


def _sketched(batches: Texts, characters: bool) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """The numbers of each batch and the sketches of its texts."""
    return mapped(lambda batch: (batch[0], _sketches(batch[1], characters)), batches)


def _sketches(texts: pa.Array, characters: bool) -> list[np.ndarray]:
    """Per text its smallest hashes, sorted, each once; none where there is not a single word."""
    strings, documents = _strings(*_hashed(texts, characters))
    numbers = np.sort(documents << np.uint64(HASH_BITS) | strings >> np.uint64(64 - HASH_BITS))
    numbers = numbers[np.diff(numbers, prepend=np.uint64(2**64 - 1)) != 0]
    owner = (numbers >> np.uint64(HASH_BITS)).astype(np.int64)
    edges = np.searchsorted(owner, np.arange(len(texts) + 1))
    values = numbers & np.uint64(2**HASH_BITS - 1)
    return [values[a:min(a + SKETCH, b)] for a, b in pairwise(edges)]


def _hashed(texts: pa.Array, characters: bool) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (words,) of all words, or characters, in lower case, and where each text's begin:
    (texts + 1,). A text of fewer than LENGTH is filled up with zeros, but an empty one."""
    text = pl.from_arrow(texts).str.to_lowercase().str.replace_all("\n", " ", literal=True)
    split = text.str.replace_all(" ", "").str.split("") if characters else text.str.split(" ")
    edges = np.concatenate([[0], np.cumsum(split.list.len().to_numpy())]).astype(np.int64)
    words = split.explode(empty_as_null=False)
    real = (words.str.len_bytes() > 0).to_numpy()
    before = np.concatenate([[0], np.cumsum(real)])  # real words before each
    lengths, hashes = np.diff(before[edges]), words.hash().to_numpy()[real]
    missing = np.where(lengths > 0, np.maximum(LENGTH - lengths, 0), 0)
    filled = np.insert(hashes, np.repeat(np.cumsum(lengths), missing), np.uint64(0))
    return filled, np.concatenate([[0], np.cumsum(lengths + missing)])


def _strings(words: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (strings,) of all runs of LENGTH words that stand in one text, and which text."""
    count = max(len(words) - LENGTH + 1, 0)
    strings = np.zeros(count, np.uint64)
    for i in range(LENGTH):
        strings = (strings + words[i:i + count]) * STEP
    strings = (strings ^ strings >> np.uint64(31)) * MIX
    documents = np.repeat(np.arange(len(edges) - 1), np.diff(edges)).astype(np.uint64)
    within = documents[:count] == documents[LENGTH - 1:LENGTH - 1 + count]
    return strings[within], documents[:count][within]
