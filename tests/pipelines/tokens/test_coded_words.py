from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tokens import coded_words
from pipelines.tokens.coded_words import CodedWords
from pipelines.tokens.words import split_words

# Long and short words, signs, digits, marks, other scripts, control characters and nothing.
LETTERS = "abcXYZ_09 .,'-\n\t\r\x00\x1c\x7féÜßİ日本ｱ\u0301\u200d’"
TEXTS = st.lists(st.text(st.sampled_from(LETTERS), max_size=40), max_size=6)


def spelled(found: CodedWords) -> list[list[str]]:
    words = found.words.to_list()
    spans = zip(found.edges[:-1].tolist(), found.edges[1:].tolist(), strict=True)
    return [[words[code] for code in found.codes[first:stop].tolist()] for first, stop in spans]


@given(TEXTS, st.booleans(), st.sampled_from(["all", "punctuation", "letters"]), st.booleans())
def test_words_are_those_of_split_words(
    texts: list[str], lower: bool, words: str, marks: bool
) -> None:
    series = pl.Series(texts, dtype=pl.String)
    found = CodedWords.of(series, lower, words, marks)
    wanted = split_words(series, lower, words, marks)
    assert spelled(found) == wanted.to_list()
    counts = {word: int(n) for word, n in found.counts().iter_rows() if n}
    every = wanted.explode(empty_as_null=False).to_list()
    assert counts == {word: every.count(word) for word in set(every)}


@pytest.mark.parametrize("length", [1, 7, 8, 9, 16, 300])
def test_words_of_any_length(length: int) -> None:
    texts = ["z" * length, "", "y" * length + " " + "z" * length, "é" + "z" * length]
    found = CodedWords.of(pl.Series(texts), lower=False, words="all")
    assert spelled(found) == [text.split() for text in texts]


def test_texts_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded_words, "BLOCK", 7)
    texts = ["one two", "", "three", "é one", "a text beyond a block", "one", ""]
    found = CodedWords.of(pl.Series(texts), lower=False, words="all")
    assert spelled(found) == [text.split() for text in texts]
    assert dict(found.counts().iter_rows())["one"] == 3


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    found = CodedWords.of(pl.Series(["one two", "", "one three-four"]), lower=True, words="all")
    found.save(tmp_path / "train-0000")
    again = CodedWords.load(tmp_path / "train-0000")
    assert spelled(again) == [["one", "two"], [], ["one", "three", "four"]]
    np.testing.assert_array_equal(again.codes, found.codes)
