"""Tables with a column for the text and one for the label: CSV, JSON lines, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from pipelines.declaration.data_sections import UNLABELLED
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError, did_you_mean, first_line
from pipelines.readers.cleaning import (
    STRAY,
    composed,
    excerpt,
    text_lines_of,
    unix_lines,
    without_tags,
)
from pipelines.readers.csv_rows import MAX_FIELD_CHARACTERS, beginning, checked_rows, long_fields
from pipelines.readers.documents import EMPTY, NO_LABEL, Document, Notes, source_files, undecodable
from pipelines.readers.labels import value_of
from pipelines.readers.packed import File
from pipelines.store.artifacts import Artifact

CSV, JSON_LINES, PARQUET = (".csv", ".tsv"), (".jsonl", ".ndjson", ".json"), (".parquet", ".pq")
OTHER_LABELS = 10  # number of distinct invalid labels to remember
MAX_PARQUET_BYTES = 512 * 2**20  # of a packed one, which is held in memory
ROWS_AT_A_TIME = 1000


class Row(NamedTuple):
    """`header` is one object for all rows that have it; `place` is where it is."""

    id: str
    place: str
    header: list[str]
    cells: Sequence[str]


def read_csv(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    return _documents(csv_rows(files, spec, notes), spec, notes)


def read_jsonl(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    return _documents(json_rows(files, spec, notes), spec, notes)


def read_parquet(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    return _documents(parquet_rows(files, spec, notes), spec, notes)


def csv_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return _tables(source, CSV, notes)


def json_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return _tables(source, JSON_LINES, notes)


def parquet_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return _tables(source, PARQUET, notes)


def _documents(rows: Iterator[Row], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    header, columns = None, None
    for row in rows:
        if row.header is not header:
            header, columns = row.header, _columns(row, spec, notes)
        if columns is not None:
            yield _document(row.id, *columns.of(row.cells), spec, notes)


def _columns(row: Row, spec: CorpusSpec, notes: Notes) -> Columns | None:
    try:
        return Columns(row.header, spec, row.place)
    except FolioError as error:
        notes.wrong(error)
        return None


def _tables(source: Artifact, endings: Sequence[str], notes: Notes) -> list[File]:
    """The files with these endings, or all if none has one."""
    files = source_files(source, notes)
    tables = [file for file in files if file.name.lower().endswith(tuple(endings))] or files
    notes.ignored["other files"] += len(files) - len(tables)
    return tables


# CSV


def csv_rows(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Row]:
    with long_fields():
        for file in files:
            with text_lines_of(file.open(), file.name, "", spec.encoding) as text:
                yield from _csv_rows(text, file.name, spec, notes)


def _csv_rows(file: TextIO, name: str, spec: CorpusSpec, notes: Notes) -> Iterator[Row]:
    named = [one for one in (spec.text_column, spec.label_column, spec.group) if one]
    start = beginning(file, name, [named, [spec.text_column]], spec.delimiter, notes.ignored)
    rows, before = start.rows(file, name), start.before
    header = next(checked_rows(rows, name, before=before), None)
    if not header:
        raise FolioError(f"{name}: the file is empty; its first row must contain the column names")
    number = 0
    for row in checked_rows(rows, name, len(header), before, notes.wrong):
        if not row:
            notes.ignored["blank lines"] += 1
            continue
        number += 1
        notes.short_rows += len(row) < len(header)
        yield Row(f"{name}:{number}", name, header, row + [""] * (len(header) - len(row)))


# JSON lines


def json_rows(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Row]:
    for file in files:
        with text_lines_of(file.open(), file.name, encoding=spec.encoding) as text:
            yield from _json_rows(text, file.name, notes)


def _json_rows(file: TextIO, name: str, notes: Notes) -> Iterator[Row]:
    number, header = 0, list[str]()
    while line := file.readline(MAX_FIELD_CHARACTERS + 1):
        number += 1
        if not line.strip():
            notes.ignored["blank lines"] += 1
            continue
        if len(line) > MAX_FIELD_CHARACTERS:
            raise FolioError(
                f"{name}: line {number} has more than {MAX_FIELD_CHARACTERS:,} characters"
            )
        try:
            row = _object(line, f"{name}: line {number}")
        except FolioError as error:
            notes.wrong(error)
            continue
        if list(row) != header:
            header = list(row)
        cells = [_cell(value) for value in row.values()]
        yield Row(f"{name}:{number}", f"{name}: line {number}", header, cells)


def _object(line: str, place: str) -> dict[str, Any]:
    """Numbers stay as they are written: a label 1.0 is not 1."""
    try:
        row = json.loads(line, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise FolioError(
            f"{place} is not valid JSON ({first_line(error)[:100]}); write one object a line"
        ) from error
    if not isinstance(row, dict):
        raise FolioError(f"{place} is no JSON object; write one object a line")
    return row


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape")
    return json.dumps(value, default=str) if isinstance(value, bool | list | dict) else str(value)


# Parquet


def parquet_rows(
    files: Iterable[File], spec: CorpusSpec, notes: Notes, every_column: bool = False
) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in files:
        try:
            with _seekable(file) as stream, pq.ParquetFile(stream) as table:
                header = table.schema_arrow.names
                wanted = (
                    list(dict.fromkeys(header))
                    if every_column
                    else Columns(header, spec, file.name).names
                )
                yield from _parquet_rows(table, file.name, wanted)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise FolioError(
                f"{file.name}: not a complete Parquet file ({first_line(error)[:200]})"
            ) from error


def _seekable(file: File) -> Any:
    import pyarrow as pa

    if file.packing is None:
        return pa.OSFile(str(file.path), "rb")
    with file.open() as stream:
        data = stream.read(MAX_PARQUET_BYTES + 1)
    if len(data) > MAX_PARQUET_BYTES:
        raise FolioError(
            f"{file.name}: more than {MAX_PARQUET_BYTES:,} bytes; unpack it, Parquet is compressed"
        )
    return pa.BufferReader(data)


def _parquet_rows(table: Any, name: str, wanted: list[str]) -> Iterator[Row]:
    number = 0
    for batch in table.iter_batches(ROWS_AT_A_TIME, columns=wanted):
        cells = [map(_cell, batch.column(column).to_pylist()) for column in wanted]
        for row in zip(*cells, strict=True):
            number += 1
            yield Row(f"{name}:{number}", name, wanted, row)


# All of them


class Columns:
    """Where the columns of the declaration are: of the text, the label, the group."""

    def __init__(self, header: Sequence[str], spec: CorpusSpec, name: str) -> None:
        label, group = spec.label_column, spec.group
        self.text = _column(header, spec.text_column, name, "corpus.text_column")
        self.label = _column(header, label, name, "corpus.label_column") if label else None
        self.group = _column(header, group, name, "corpus.group") if group else None
        read = (self.text, self.label, self.group)
        self.names = list(dict.fromkeys(header[at] for at in read if at is not None))

    def of(self, row: Sequence[str]) -> tuple[str, str | None, str | None]:
        """Text, label and group of a row; None for a column that is not declared."""
        label = None if self.label is None else row[self.label].strip()
        return row[self.text], label, None if self.group is None else row[self.group].strip()


def _column(header: Sequence[str], wanted: str, name: str, key: str) -> int:
    columns = [
        composed(STRAY.sub("\N{REPLACEMENT CHARACTER}", column)).strip() for column in header
    ]
    wanted = composed(wanted)
    if columns.count(wanted) == 1:
        return columns.index(wanted)
    hint = did_you_mean(wanted, columns)
    count = "two columns" if wanted in columns else "no column"
    raise FolioError(f"{name}: {count} {wanted!r} ({key}) among {', '.join(columns)[:200]}{hint}")


def _document(
    name: str, text: str, label: str | None, group: str | None, spec: CorpusSpec, notes: Notes
) -> Document:
    if any(STRAY.search(part) for part in (text, label or "", group or "") if not part.isascii()):
        return Document(name, _shown(text[:200]), None, None, None, undecodable(spec))
    text, group = without_tags(unix_lines(text)), composed(group) if group else None
    if label is None:
        return Document(name, text, None, group, None, None if text.strip() else EMPTY)
    named = composed(label)
    value = value_of(named, spec.labels) if spec.labels else notes.labels.value_of(named, name)
    if value is None and spec.unlabelled and not label:
        return Document(name, text, None, None, UNLABELLED, None if text.strip() else EMPTY)
    if value is None:
        if label and (label in notes.other_labels or len(notes.other_labels) < OTHER_LABELS):
            notes.other_labels[label] += 1
        return Document(name, text, None, group, None, NO_LABEL)
    return Document(name, text, value, group, None, None if text.strip() else EMPTY)


def _shown(text: str) -> str:
    try:
        return excerpt(text.encode(errors="surrogateescape"))
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        return STRAY.sub("\N{REPLACEMENT CHARACTER}", text)
