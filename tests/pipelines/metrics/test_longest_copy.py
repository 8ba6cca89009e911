"""The longest shared passage, against a search that tries everything."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.metrics import passage_hashes
from pipelines.metrics.longest_copy import TrainText
from pipelines.metrics.passage_hashes import code_points
from tests.conftest import MIRROR, needs_mirror


def train_text(texts: Sequence[str]) -> TrainText:
    known = TrainText()
    assert list(known.reading(texts)) == list(texts)
    assert known.characters == sum(map(len, texts))
    return known


def longest(pieces: Sequence[str], texts: Sequence[str]) -> int:
    return max(
        (
            stop - start
            for piece in pieces
            for start in range(len(piece))
            for stop in range(start + 1, len(piece) + 1)
            if any(piece[start:stop] in text for text in texts)
        ),
        default=0,
    )


TEXTS = st.lists(st.text("ab 春\0", max_size=40), max_size=4)


@given(TEXTS, TEXTS, st.sampled_from([5, 64, 2**20]))
def test_none_is_longer(pieces: list[str], texts: list[str], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Passages that begin in one chunk end in the next.
        patch.setattr(passage_hashes, "CHUNK", chunk)
        passage = train_text(texts).longest_copy(pieces)
    assert len(passage) == longest(pieces, texts)
    assert not passage or (
        any(passage in piece for piece in pieces) and any(passage in text for text in texts)
    )


def test_equal_hashes_alone_prove_nothing() -> None:
    """Modulo 2^64 the Thue-Morse word and its inverse have one hash, whatever the prime."""
    word = "".join("ab"[number.bit_count() % 2] for number in range(2**11))
    other = word.translate(str.maketrans("ab", "ba"))
    hashes = [
        list(passage_hashes.passage_hashes(code_points(text), 2**11))[1][1]
        for text in (word, other)
    ]
    assert hashes[0] == hashes[1]
    passage = train_text([word]).longest_copy([other])
    assert 2**10 <= len(passage) < 2**11 and passage in word and passage in other


def test_documents_are_not_read_across() -> None:
    assert train_text(["to be or", " not to be"]).longest_copy(["or not to"]) == " not to"
    assert train_text(["or not to"]).longest_copy(["to be or", " not to be"]) == " not to"
    assert train_text([]).longest_copy(["or"]) == train_text(["or"]).longest_copy([]) == ""


@needs_mirror
def test_a_planted_passage_is_found_in_a_whole_text() -> None:
    text = (MIRROR / "shakespeare.txt").read_text(encoding="utf-8")
    planted = text[700_003:700_203]
    passage = train_text([text]).longest_copy(["X" * 50 + planted + "YY", text[5:120]])
    assert passage == planted
