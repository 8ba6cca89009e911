"""Sketches of texts: the smallest hashes of their word sequences (Broder 1997).

A sketch contains all sequences of a short text and a fair sample of a long one's, so two sketches
show what share of sequences two texts have in common.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.corpus.blanks import has_blanks

LENGTH = 5  # words in a sequence; characters for text without spaces, such as Japanese
SKETCH = 100
MIX, STEP = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03)
HASH_BITS, OWNER_BITS = np.uint64(40), np.uint64(24)  # share of the numbers that are sorted
HASH = (np.uint64(1) << HASH_BITS) - np.uint64(1)


class Sketches(NamedTuple):
    """Sketch i is `hashes[edges[i]:edges[i + 1]]`: sorted, distinct, at most SKETCH hashes; empty
    for a text without words."""

    hashes: np.ndarray
    edges: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return np.diff(self.edges)

    def first(self, most: int) -> Sketches:
        """At most this many hashes of each, the smallest ones."""
        places = np.arange(len(self.hashes)) - np.repeat(self.edges[:-1], self.sizes)
        return Sketches(self.hashes[places < most], edges_of(np.minimum(self.sizes, most)))

    def chosen(self, which: np.ndarray) -> Sketches:
        """Those with these numbers, in their order."""
        edges = edges_of(self.sizes[which])
        shift = np.repeat(self.edges[which] - edges[:-1], np.diff(edges))
        return Sketches(self.hashes[shift + np.arange(edges[-1])], edges)


def edges_of(sizes: np.ndarray) -> np.ndarray:
    """Where each of some concatenated pieces starts, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])


def in_characters(texts: pa.Array) -> bool:
    """Whether spaces are so rare that sequences of characters, not words, should be used."""
    blanks = sum(pc.sum(pc.count_substring(texts, blank)).as_py() for blank in " \n")
    return not has_blanks(blanks, pc.sum(pc.utf8_length(texts)).as_py())


def sketched(texts: pa.Array, characters: bool) -> Sketches:
    """The sketches of fewer than 2**24 texts, from sequences of `characters`, else of words."""
    strings, owners = _strings(*_hashed(texts, characters))
    numbers = np.sort(owners << HASH_BITS | strings >> OWNER_BITS)
    numbers = numbers[np.diff(numbers, prepend=np.uint64(2**64 - 1)) != 0]
    edges = np.searchsorted(numbers, np.arange(len(texts) + 1, dtype=np.uint64) << HASH_BITS)
    return Sketches(numbers & HASH, edges).first(SKETCH)


def _hashed(texts: pa.Array, characters: bool) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (words,) of all words or characters, in lower case, and where each text's start:
    (texts + 1,). A text with fewer than LENGTH is padded with zeros, unless it is empty."""
    text = pl.Series(texts).str.to_lowercase().str.replace_all("\n", " ", literal=True)
    split = text.str.replace_all(" ", "").str.split("") if characters else text.str.split(" ")
    edges = edges_of(split.list.len().to_numpy())
    words = split.explode(empty_as_null=False)
    real = (words.str.len_bytes() > 0).to_numpy()
    before = edges_of(real)  # real words before each
    lengths, hashes = np.diff(before[edges]), words.hash().to_numpy()[real]
    missing = np.where(lengths > 0, np.maximum(LENGTH - lengths, 0), 0)
    filled = np.insert(hashes, np.repeat(np.cumsum(lengths), missing), np.uint64(0))
    return filled, edges_of(lengths + missing)


def _strings(words: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hashes (sequences,) of all runs of LENGTH words within one text, and which text."""
    count = max(len(words) - LENGTH + 1, 0)
    strings = np.zeros(count, np.uint64)
    for i in range(LENGTH):
        strings = (strings + words[i : i + count]) * STEP
    strings = (strings ^ strings >> np.uint64(31)) * MIX
    owners = np.repeat(np.arange(len(edges) - 1), np.diff(edges)).astype(np.uint64)
    within = owners[:count] == owners[LENGTH - 1 : LENGTH - 1 + count]
    return strings[within], owners[:count][within]
