"""Texts in pieces: what is read does not depend on how they were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus import reading, text_cache
from pipelines.corpus.text_cache import Piece, PieceWriter, Texts, document_batches, edges_of
from pipelines.errors import FolioError
from pipelines.readers.documents import Document
from tests.pipelines.corpus.test_stage import BOOK, Built, packed, reviews, table


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 9), st.integers(1, 60))
def test_batches_begin_where_they_would_if_all_were_read_at_once(
    lengths: list[int], documents: int, characters: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text_cache, "BATCH_DOCUMENTS", documents)
        patched.setattr(text_cache, "BATCH_CHARACTERS", characters)
        read = document_batches(Document("a", "x" * length) for length in lengths)
        wanted = np.cumsum([0, *map(len, read)])
        assert edges_of(np.array(lengths, np.int64)).tolist() == wanted.tolist()


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Texts:
    """Documents 0 to 29 in pieces of 8, each of two batches of 4."""
    monkeypatch.setattr(text_cache, "PIECE_DOCUMENTS", 8)
    writer = PieceWriter(tmp_path, "p")
    for first in range(0, 30, 4):
        some = range(first, min(first + 4, 30))
        writer.write([f"d{number}" for number in some], [str(number) for number in some])
    writer.close()
    edges = np.cumsum([0, *writer.counts.values()]).tolist()
    assert edges == [0, 8, 16, 24, 30]
    pieces = [Piece(*one) for one in zip(writer.counts, edges, edges[1:], strict=False)]
    return Texts(tmp_path, pieces)


@pytest.mark.parametrize(("first", "stop"), [(0, None), (5, 21), (8, 16), (29, 30), (3, 4)])
def test_any_range_is_read(texts: Texts, first: int, stop: int | None) -> None:
    numbers = list(range(30))[first:stop]
    assert [
        text for batch in texts.batches(["text"], first, stop) for text in batch["text"].to_pylist()
    ] == [str(number) for number in numbers]
    assert next(texts.numbered(["id"], first, stop))[0] == first


def test_names_are_found_by_number(texts: Texts) -> None:
    assert list(texts.names_of(range(30)).values()) == [f"d{number}" for number in range(30)]
    assert texts.names_of({29, 0, 8, 7}) == {0: "d0", 7: "d7", 8: "d8", 29: "d29"}
    assert texts.names_of(()) == {}


def test_parts_and_pieces_leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reviews(90)
    rows[40:44] = rows[10:14]
    files = {f"{number}.csv": table(rows[number::3]) for number in range(3)}
    how = {"split": "shuffled", "validation": 10, "test": 20, "max_quarantined": 0.5, **BOOK}
    one = Built(tmp_path / "one", files, **how)
    monkeypatch.setattr(reading, "PART_BYTES", 1)
    monkeypatch.setattr(text_cache, "PIECE_DOCUMENTS", 7)
    many = Built(tmp_path / "many", files, **how)
    assert ("parts of the source read", 3) in [(what, total) for _, total, what in many.progress]
    assert one.bytes == many.bytes and one.counts == many.counts


def test_two_parts_may_not_have_a_document_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PART_BYTES", 1)
    some = {
        f"train/{label}/{number}_1.txt": f"{label} {number}"
        for label in ("pos", "neg")
        for number in range(9)
    }
    files = {"a.tar.gz": packed(some), "b.tar.gz": packed({"train/pos/3_1.txt": "again"})}
    with pytest.raises(FolioError, match="two documents named train/pos/3_1"):
        Built(tmp_path, files, reader="labelled-folders", split="hash", validation=0.2, test=0.2)


def test_the_labels_of_parts_are_one_numbering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("c", "b", "a")
    parts = {
        f"{number}.csv": table(
            [(f"Text {number} {row}.", kinds[(row + number) % (3 - number)]) for row in range(40)]
        )
        for number in range(2)
    }
    how = {"reader": "csv", "text_column": "review", "label_column": "sentiment"}
    one = Built(tmp_path / "one", parts, split="hash", validation=0.2, test=0.2, **how)
    monkeypatch.setattr(reading, "PART_BYTES", 1)
    two = Built(tmp_path / "two", parts, split="hash", validation=0.2, test=0.2, **how)
    assert one.counts == two.counts and one.counts["labels"] == ["a", "b", "c"]
    assert one.bytes == two.bytes
