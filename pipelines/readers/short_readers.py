"""Readers of many short documents: one per line, one per paragraph, records of a TFDS dataset.

Texts can have any size: they are read line by line, and only one document is held at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

import pyarrow.parquet as pq

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import STRAY, decoded, excerpt, text_lines_of
from pipelines.readers.documents import (
    EMPTY,
    NOT_UTF8,
    Document,
    Notes,
    matching_files,
    source_files,
    undecodable,
)
from pipelines.readers.frames import note_cut, text_lines
from pipelines.readers.packed import File
from pipelines.store.artifacts import Artifact

MAX_CHARACTERS = 16 * 2**20  # of one document, all of which is held in memory
RECORDS_AT_A_TIME = 64  # Wikipedia articles may have some 100 kB
SHARDS = "tfds/"  # as written by the source stage, with columns record and text
MARK = re.compile(r"_START_(ARTICLE|SECTION|PARAGRAPH)_")
HEADINGS = {"ARTICLE": "title", "SECTION": "section heading"}
LINE_END = re.compile(r"_NEWLINE_|\n")


def read_lines(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """Each non-blank line, named `file:line`, without its line end."""
    for file in files:
        for number, line in _body_lines(file, spec, notes):
            if line.isspace():
                notes.ignored["blank lines"] += 1
            else:
                yield _document(file.name, number, line, spec)


def read_paragraphs(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """Each paragraph between blank lines, named `file:its first line`, with its line breaks."""
    for file in files:
        first, characters, lines = 0, 0, list[str]()
        for number, line in _body_lines(file, spec, notes):
            if lines and (line.isspace() or number != first + len(lines)):  # or after a frame
                yield _document(file.name, first, "".join(lines), spec)
                characters, lines = 0, []
            if not line.isspace():
                first = first if lines else number
                lines.append(line)
                characters += len(line)
                _check_size(
                    characters,
                    f"{file.name}: the paragraph at line {first}",
                    "add blank lines, or use reader lines",
                )
        if lines:
            yield _document(file.name, first, "".join(lines), spec)


def text_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    """The source's only file, whatever its name, or the files of a folder that match the glob."""
    files = source_files(source, notes)
    return files if len(files) == 1 else matching_files(files, spec, notes)


def _body_lines(file: File, spec: CorpusSpec, notes: Notes) -> Iterator[tuple[int, str]]:
    """(number from 1, line with its end) inside the licence frames, corpus.start and end."""
    kept = text_lines(lambda: _lines(file, spec.encoding), spec, file.name, notes)
    lines, at, cut = enumerate(_lines(file, spec.encoding), 1), 0, kept.characters
    for first, last in kept.parts:
        for number, line in islice(lines, first - at, last - at):
            cut -= len(line)
            yield number, line
        at = last
    note_cut(cut, spec, notes)


def _lines(file: File, encoding: str | None) -> Iterator[str]:
    with text_lines_of(file.open(), file.name, encoding=encoding) as text:
        for number, line in enumerate(iter(partial(text.readline, MAX_CHARACTERS + 1), ""), 1):
            _check_size(len(line), f"{file.name}: line {number}", "is it a text with lines?")
            yield line


def _check_size(characters: int, what: str, advice: str) -> None:
    if characters > MAX_CHARACTERS:
        raise FolioError(
            f"{what} has more than {MAX_CHARACTERS:,} characters, too many for one "
            f"document; {advice}"
        )


def _document(name: str, number: int, text: str, spec: CorpusSpec) -> Document:
    text = text.removesuffix("\n")
    if not text.isascii() and STRAY.search(text):
        beginning = excerpt(text[:200].encode(errors="surrogateescape"))
        return Document(f"{name}:{number}", beginning, reason=undecodable(spec))
    return Document(f"{name}:{number}", text)


def record_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return [File(path.name, path) for path in source.files(SHARDS)]


def read_records(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """The records of the source's Parquet shards, named `split/record` (from 0, as in TFDS).

    With markup, each record is an article whose paragraphs are documents, named
    `split/record#paragraph` (from 1); titles, headings and empty paragraphs are left out.
    """
    for file in files:
        with pq.ParquetFile(file.path) as shard:
            split = shard.schema_arrow.metadata[b"split"].decode()
            for batch in shard.iter_batches(RECORDS_AT_A_TIME):
                rows = batch.to_pydict()
                for record, data in zip(rows["record"], rows["text"], strict=True):
                    yield from _record(f"{split}/{record}", data, spec, notes)


def _record(name: str, data: bytes, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    text = decoded(data)
    if text is None:
        yield Document(name, excerpt(data), reason=NOT_UTF8)
    elif spec.markup is None:
        yield Document(name, text, reason=None if text.strip() else EMPTY)
    else:
        paragraphs = 0
        for kind, piece in wiki40b(text):
            if kind == "paragraph" and piece:
                paragraphs += 1
                yield Document(f"{name}#{paragraphs}", piece)
            else:
                notes.left_out[kind if piece else f"empty {kind}"] += 1


def wiki40b(text: str) -> Iterator[tuple[str, str]]:
    """("title" | "section heading" | "paragraph", its text) of an article in wiki40b's markup.

    A mark `_START_…_` says what follows it; `_NEWLINE_` ends a paragraph, like a line end. A title
    or heading is a single line: any further lines are paragraphs.
    """
    before, *marked = MARK.split(text)
    if before.strip():
        marked = ["PARAGRAPH", before, *marked]
    for mark, content in zip(marked[::2], marked[1::2], strict=True):
        lines = [line.strip() for line in LINE_END.split(content.strip())]
        if mark in HEADINGS:
            yield HEADINGS[mark], lines.pop(0)
        for line in lines:
            yield "paragraph", line
