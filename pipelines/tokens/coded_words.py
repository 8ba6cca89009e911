"""Texts as numbers of their words, split once: the words can then be counted, and given ids.

Words of ASCII text are found in whole columns: where letters begin and end, and the eight bytes of
a word as one number.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.tokens.words import split_words

BLOCK = 2**21  # bytes of text in which words are found at a time
EIGHT = 8  # bytes of a word that are one number
FIRST_BYTES = np.array([(1 << 8 * length) - 1 for length in range(EIGHT + 1)], np.uint64)
IS_LETTER = np.array([chr(byte).isalnum() or byte == ord("_") for byte in range(128)])
NO_WORDS = pa.array([], pa.large_string())
LOWER = np.array([ord(chr(byte).lower()) for byte in range(128)], np.uint8)


class CodedWords(NamedTuple):
    """Text i has the words `words[codes[edges[i]:edges[i + 1]]]`. A word may be there twice."""

    codes: np.ndarray  # int32
    edges: np.ndarray  # (texts + 1,)
    words: pl.Series

    @classmethod
    def of(cls, texts: pl.Series, lower: bool, words: str, marks: bool = True) -> CodedWords:
        """As `split_words` splits the texts."""
        if words != "all":
            return _split(texts, lower, words, marks)
        plain = (texts.str.len_bytes() == texts.str.len_chars()).to_numpy()
        ascii_texts, others = texts.filter(plain), texts.filter(~plain)
        found = [_found(some, lower) for some in _blocks(ascii_texts)]
        return _merged(plain, _joined(found), _split(others, lower, words, marks))

    def counts(self) -> pl.DataFrame:
        """How often each word occurs: `text`, sorted, and `count`."""
        numbers = np.bincount(self.codes, minlength=len(self.words)).astype(np.uint64)
        frame = pl.DataFrame({"text": self.words, "count": numbers})
        return frame.group_by("text").agg(pl.col("count").sum()).sort("text")

    def save(self, path: Path) -> None:
        """Writes <path>.npz and <path>.arrow."""
        np.savez(path.with_suffix(".npz"), codes=self.codes, edges=self.edges)
        self.words.alias("text").to_frame().write_ipc(path.with_suffix(".arrow"))

    @classmethod
    def load(cls, path: Path) -> CodedWords:
        words = pl.read_ipc(path.with_suffix(".arrow"))["text"]
        with np.load(path.with_suffix(".npz")) as found:
            return cls(found["codes"], found["edges"], words)


def _split(texts: pl.Series, lower: bool, words: str, marks: bool) -> CodedWords:
    lists = split_words(texts, lower, words, marks)
    found = lists.explode(empty_as_null=False).to_arrow().cast(pa.large_string())
    coded = found.dictionary_encode()
    edges = np.concatenate([[0], np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)])
    return CodedWords(coded.indices.to_numpy(), edges, _series(coded.dictionary))


def _blocks(texts: pl.Series) -> Iterator[pl.Series]:
    """The texts in parts of some BLOCK bytes, so that little memory is needed at once."""
    ends = texts.str.len_bytes().cast(pl.Int64).cum_sum().to_numpy()
    first = 0
    while first < len(texts):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        yield texts[first:stop]
        first = stop


def _joined(parts: list[CodedWords]) -> CodedWords:
    codes, edges, words = [np.empty(0, np.int32)], [np.zeros(1, np.int64)], [_series(NO_WORDS)]
    for part in parts:
        codes.append(part.codes + np.int32(sum(map(len, words))))
        edges.append(part.edges[1:] + edges[-1][-1])
        words.append(part.words)
    return CodedWords(np.concatenate(codes), np.concatenate(edges), pl.concat(words))


def _found(texts: pl.Series, lower: bool) -> CodedWords:
    """The words of ASCII texts: runs of letters, digits and underscores."""
    letters, ends_of_texts = _bytes(texts, lower)
    inside = IS_LETTER[letters]
    edges = (np.flatnonzero(inside[1:] != inside[:-1]) + 1).reshape(-1, 2)
    starts, lengths = edges[:, 0], edges[:, 1] - edges[:, 0]
    short = lengths <= EIGHT
    few = _short_words(letters, starts[short], lengths[short])
    many = _long_words(letters, starts[~short], lengths[~short])
    codes = np.empty(len(starts), np.int32)
    codes[short] = few.indices.to_numpy()
    codes[~short] = many.indices.to_numpy() + len(few.dictionary)
    words = pl.concat([_series(few.dictionary), _series(many.dictionary)])
    before = np.searchsorted(starts, ends_of_texts)
    return CodedWords(codes, np.concatenate([[0], before]), words)


def _bytes(texts: pl.Series, lower: bool) -> tuple[np.ndarray, np.ndarray]:
    """All texts, with a byte that is no letter before each and some at the end; and where each one
    ends."""
    array = ("\n" + texts).rechunk().to_arrow().cast(pa.large_string())
    edges = np.frombuffer(array.buffers()[1], np.int64)[array.offset :][: len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[edges[0] : edges[-1]]
    letters = np.zeros(len(data) + EIGHT, np.uint8)
    letters[: len(data)] = LOWER[data] if lower else data
    return letters, edges[1:] - edges[0]


def _short_words(letters: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> pa.Array:
    eights = np.ndarray((len(letters) - EIGHT + 1,), "<u8", letters, strides=(1,))
    numbers = eights[starts].astype(np.uint64) & FIRST_BYTES[lengths]
    coded = pa.array(numbers).dictionary_encode()
    words = coded.dictionary.to_numpy().astype("<u8").view(f"S{EIGHT}").astype(str)
    return pa.DictionaryArray.from_arrays(coded.indices, pa.array(words, pa.large_string()))


def _long_words(letters: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> pa.Array:
    edges = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    data = letters[np.repeat(starts - edges[:-1], lengths) + np.arange(edges[-1])]
    buffers = [pa.py_buffer(edges), pa.py_buffer(data)]
    return pa.LargeStringArray.from_buffers(len(lengths), *buffers).dictionary_encode()


def _merged(first: np.ndarray, ones: CodedWords, others: CodedWords) -> CodedWords:
    """Those of all texts in their order; `first` says which ones are in `ones`."""
    lengths = np.zeros(len(first), np.int64)
    lengths[first], lengths[~first] = np.diff(ones.edges), np.diff(others.edges)
    here = np.repeat(first, lengths)
    codes = np.empty(len(here), np.int32)
    codes[here], codes[~here] = ones.codes, others.codes + len(ones.words)
    edges = np.concatenate([[0], np.cumsum(lengths)])
    return CodedWords(codes, edges, pl.concat([ones.words, others.words]))


def _series(words: pa.Array) -> pl.Series:
    return pl.Series("text", words, dtype=pl.String)
