from __future__ import annotations

import re
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers import short_readers
from pipelines.readers.documents import Document, Notes
from pipelines.readers.read import read
from pipelines.readers.short_readers import wiki40b
from tests.conftest import artifact_in

PLAY = "First Citizen:\nSpeak, speak.\n\n\nAll:\nResolved.\n resolved.\n \t\nMENENIUS:\nAy."


def documents(root: Path, reader: str, **options: Any) -> tuple[list[Document], Notes]:
    notes = Notes()
    spec = CorpusSpec(reader=reader, split="hash", **options)
    return list(read(artifact_in(root), spec, notes)), notes


def lay(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def test_each_line_is_a_document_but_blank_ones(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"poems.data": "\ufeff一行目。\r\n\r\n  \n\u3000三\u2028行目\rlast", "manifest.json": "{}"},
    )
    found, notes = documents(tmp_path, "lines")
    assert found == [
        Document("poems.data:1", "一行目。"),
        Document("poems.data:4", "\u3000三\u2028行目"),
        Document("poems.data:5", "last"),
    ]
    assert notes.ignored == {"blank lines": 2}


def test_a_line_that_is_not_utf8_is_given_with_its_reason(tmp_path: Path) -> None:
    lay(tmp_path, {"a.txt": b"fine\n" + "café".encode("latin-1") + b"\nna\xc3\xafve\n"})
    assert documents(tmp_path, "lines")[0] == [
        Document("a.txt:1", "fine"),
        Document("a.txt:2", "caf\ufffd", reason="not-utf8"),
        Document("a.txt:3", "naïve"),
    ]


@pytest.mark.parametrize("reader", ["lines", "paragraphs"])
def test_of_a_folder_those_that_the_glob_matches(tmp_path: Path, reader: str) -> None:
    lay(tmp_path, {"b.txt": "b", "a/z.txt": "z", "notes.md": "x"})
    found, notes = documents(tmp_path, reader)
    assert [d.id for d in found] == ["a/z.txt:1", "b.txt:1"]
    assert notes.ignored == {"other files": 1}
    with pytest.raises(FolioError, match=r"'\*\.rst' matches none of the source's 3 files"):
        documents(tmp_path, reader, glob="*.rst")


def test_each_paragraph_is_a_document_with_its_line_breaks(tmp_path: Path) -> None:
    assert documents(lay(tmp_path, {"play.txt": PLAY}), "paragraphs")[0] == [
        Document("play.txt:1", "First Citizen:\nSpeak, speak."),
        Document("play.txt:5", "All:\nResolved.\n resolved."),
        Document("play.txt:9", "MENENIUS:\nAy."),
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", " ", "\n", "\n\n"])).map("".join))
def test_paragraphs_are_what_stands_between_blank_lines(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found, _ = documents(lay(Path(folder), {"t.txt": text}), "paragraphs")
    wanted = [block for block in re.split(r"(?:^|\n)(?: *(?:\n|$))+", text) if block.strip()]
    assert [document.text for document in found] == wanted
    for document in found:
        first = int(document.id.split(":")[1]) - 1
        assert text.split("\n")[first] == document.text.split("\n")[0]


def test_the_licence_frame_and_what_the_declaration_cuts(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {
            "t.txt": "Licence\n\n"
            "*** START OF THIS PROJECT GUTENBERG EBOOK A LONG\nTALE ***\n\n"
            "Contents\n\nCHAPTER 1\nIt began.\n\nIt ended.\n\nTHE END\n\n"
            "*** END OF THIS PROJECT GUTENBERG EBOOK ***\n\nMore licence\n"
        },
    )
    assert [d.text for d in documents(tmp_path, "paragraphs")[0]] == [
        "Contents",
        "CHAPTER 1\nIt began.",
        "It ended.",
        "THE END",
    ]
    assert [d.text for d in documents(tmp_path, "lines")[0]] == [
        "Contents",
        "CHAPTER 1",
        "It began.",
        "It ended.",
        "THE END",
    ]
    cut = documents(tmp_path, "paragraphs", start="CHAPTER", end="THE END")[0]
    assert cut == [Document("t.txt:8", "CHAPTER 1\nIt began."), Document("t.txt:11", "It ended.")]
    with pytest.raises(FolioError, match=r"t.txt: corpus\.start: no line begins with 'PROLOGUE'"):
        documents(tmp_path, "paragraphs", start="PROLOGUE")


def test_a_document_beyond_all_bounds_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(short_readers, "MAX_CHARACTERS", 20)
    lay(tmp_path, {"a.txt": "short\n" + "x" * 21 + "\n"})
    for reader in ("lines", "paragraphs"):
        with pytest.raises(FolioError, match=r"a.txt: line 2 has more than 20 characters"):
            documents(tmp_path, reader)
    lay(tmp_path, {"a.txt": "one\n\n" + "eight ch\n" * 3})
    assert len(documents(tmp_path, "lines")[0]) == 4
    with pytest.raises(FolioError, match=r"the paragraph at line 3 has more than 20 characters"):
        documents(tmp_path, "paragraphs")


@pytest.mark.slow
@pytest.mark.parametrize(("reader", "end"), [("lines", "\n"), ("paragraphs", "\n\n")])
def test_memory_does_not_grow_with_the_text(tmp_path: Path, reader: str, end: str) -> None:
    """Large enough that what other threads allocate meanwhile makes no difference."""
    text = "a line of verse " * 40 + end
    lay(tmp_path, {"a.txt": text * 20_000})
    spec = CorpusSpec(reader=reader, split="hash")
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(artifact_in(tmp_path), spec, Notes())) == 20_000
        assert tracemalloc.get_traced_memory()[1] < len(text) * 20_000 / 8
    finally:
        tracemalloc.stop()


ARTICLE = """
_START_ARTICLE_
水車
_START_SECTION_
歴史
_START_PARAGRAPH_
川の流れで回る。_NEWLINE_粉をひく。_NEWLINE__NEWLINE_ 米もつく。
_START_PARAGRAPH_
今は少ない。
_START_SECTION_
注
"""


def test_an_article_is_taken_apart() -> None:
    assert list(wiki40b(ARTICLE)) == [
        ("title", "水車"),
        ("section heading", "歴史"),
        ("paragraph", "川の流れで回る。"),
        ("paragraph", "粉をひく。"),
        ("paragraph", ""),
        ("paragraph", "米もつく。"),
        ("paragraph", "今は少ない。"),
        ("section heading", "注"),
    ]


def test_text_without_a_mark_before_it_is_kept() -> None:
    assert list(wiki40b("前書き\n_START_ARTICLE_\n題\n本文")) == [
        ("paragraph", "前書き"),
        ("title", "題"),
        ("paragraph", "本文"),
    ]
    assert list(wiki40b("しるしのない文。")) == [("paragraph", "しるしのない文。")]
    assert list(wiki40b("")) == []


MARKS = ["_START_ARTICLE_\n", "_START_SECTION_\n", "_START_PARAGRAPH_\n", "_NEWLINE_", "\n"]


@given(st.lists(st.sampled_from([*MARKS, "雨", "雪 "])))
def test_no_word_of_an_article_is_lost(pieces: list[str]) -> None:
    text = "".join(pieces)
    words = re.sub("_START_(ARTICLE|SECTION|PARAGRAPH)_|_NEWLINE_", "", text)
    found = "".join(piece for _, piece in wiki40b(text))
    assert "".join(found.split()) == "".join(words.split())
