"""Files of texts to score, CSV or Parquet, read a window of rows at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.declaration.section_base import known_encoding, one_character
from pipelines.errors import FolioError, UsageError, did_you_mean, first_line
from pipelines.readers.cleaning import STRAY, text_lines_of
from pipelines.readers.csv_rows import beginning, checked_rows, long_fields
from pipelines.serving.batching import GROUP_CHARACTERS, GROUP_TEXTS, groups

TEXT = "text"  # the default column
CSV, PARQUET = (".csv",), (".parquet", ".pq")
BUFFER_BYTES = 2**20  # of a Parquet column read at a time


@dataclass(frozen=True)
class Window:
    """Some rows: all columns as they are stored, the texts to score (None if missing), and for
    the progress how much of the file has been read, the total, and the unit."""

    table: pa.Table
    texts: list[Any]
    done: int
    total: int
    unit: str


class Source(Protocol):
    """An open file: its columns, and which of them has the texts."""

    schema: pa.Schema
    column: str

    def windows(self) -> Iterator[Window]: ...


def open_source(
    path: Path,
    column: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    declared: str | None = None,
) -> Source:
    """The file and its text column: the given one, else the one that the pipeline declared, else
    `text`, else the only text column. Raises UsageError for another kind of file or column,
    FolioError for a malformed file."""
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    if path.suffix.lower() in (*CSV, ".tsv"):
        return CsvSource(path, column, delimiter, encoding, declared)
    if delimiter or encoding:
        raise UsageError(f"{path}: --delimiter and --encoding are for .csv")
    if path.suffix.lower() in PARQUET:
        return ParquetSource(path, column, declared)
    raise UsageError(f"{path}: neither .csv nor .parquet; give the file one of these endings")


class CsvSource:
    """Every column is text. Invalid UTF-8 counts as an error, and is stored with U+FFFD."""

    def __init__(
        self,
        path: Path,
        column: str | None,
        delimiter: str | None,
        encoding: str | None,
        declared: str | None,
    ) -> None:
        self._path = path
        self._named = [[name] for name in ([column] if column else [declared, TEXT]) if name]
        try:
            self._delimiter = delimiter and one_character(delimiter)
            self._encoding = encoding and known_encoding(encoding)
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from error
        with self._rows() as (rows, _):
            header = next(rows, None)
        if not header:
            raise FolioError(
                f"{path.name}: the file is empty; its first row must contain the column names"
            )
        names = [_shown(name) for name in header]
        self.column = _chosen(path.name, names, names, column, declared)
        self._at = names.index(self.column)
        self.schema = pa.schema([(name, pa.string()) for name in names])

    def windows(self) -> Iterator[Window]:
        size, width = self._path.stat().st_size, len(self.schema)
        with self._rows(width) as (rows, position):
            next(rows)
            filled = (row + [""] * (width - len(row)) for row in rows if row)
            for group in groups(filled, lambda row: sum(map(len, row))):
                columns = list(zip(*group, strict=True))
                table = pa.table([_strings(values) for values in columns], schema=self.schema)
                yield Window(table, list(columns[self._at]), position(), size, "bytes")

    @contextmanager
    def _rows(
        self, width: int | None = None
    ) -> Iterator[tuple[Iterator[list[str]], Callable[[], int]]]:
        """The rows, and a function that says how many bytes were read."""
        with (
            long_fields(),
            self._path.open("rb") as file,
            text_lines_of(file, self._path.name, "", self._encoding) as text,
        ):
            start = beginning(text, self._path.name, self._named, self._delimiter, Counter())
            yield (
                checked_rows(
                    start.rows(text, self._path.name), self._path.name, width, start.before
                ),
                file.tell,
            )


class ParquetSource:
    """Columns of any types; the text column contains strings."""

    def __init__(self, path: Path, column: str | None, declared: str | None) -> None:
        self._path = path
        with _readable(path), pq.ParquetFile(path) as file:
            self.schema, self._rows = file.schema_arrow, file.metadata.num_rows
            self._at_once = _rows_at_once(file.metadata)
        names = self.schema.names
        of_text = [field.name for field in self.schema if _is_text(field.type)]
        self.column = _chosen(path.name, names, of_text, column, declared)

    def windows(self) -> Iterator[Window]:
        done = 0
        with _readable(self._path), pq.ParquetFile(self._path, buffer_size=BUFFER_BYTES) as file:
            for batch in file.iter_batches(self._at_once):
                done += batch.num_rows
                texts = _texts(batch.column(self.schema.get_field_index(self.column)))
                yield Window(pa.Table.from_batches([batch]), texts, done, self._rows, "rows")


def _rows_at_once(metadata: pq.FileMetaData) -> int:
    """The number of rows that keeps a window small, however long the texts are."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    each = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
    return int(min(max(GROUP_CHARACTERS / max(each, 1), 1), GROUP_TEXTS))


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # reported for the rows that have it
        return [
            value if value is None else value.decode(errors="surrogateescape")
            for value in column.view(_binary(column.type)).to_pylist()
        ]


def _binary(text: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(text):
        return pa.large_binary()
    return pa.binary_view() if pa.types.is_string_view(text) else pa.binary()


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    return (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _chosen(
    name: str,
    names: Sequence[str],
    of_text: Sequence[str],
    wanted: str | None,
    declared: str | None,
) -> str:
    twice = next((one for one in names if list(names).count(one) > 1), None)
    if twice is not None:
        raise FolioError(f"{name}: two columns {twice!r}; rename one of them")
    listed = f"text columns: {', '.join(of_text)[:200] or 'none'}"
    if wanted is None and declared in of_text:
        return str(declared)
    if wanted is None and TEXT not in names:
        if len(of_text) == 1:
            return of_text[0]
        raise UsageError(
            f"{name}: no column {TEXT!r}; name the one to read with --column ({listed})"
        )
    wanted = wanted or TEXT
    if wanted not in names:
        hint = did_you_mean(wanted, names)
        raise UsageError(f"{name}: no column {wanted!r}{hint} ({listed})")
    if wanted not in of_text:
        raise UsageError(f"{name}: column {wanted!r} contains no text ({listed})")
    return wanted


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """pyarrow's message about a malformed file, in one line."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise FolioError(
            f"{path.name}: not a complete Parquet file ({first_line(error)[:200]})"
        ) from error


def _strings(values: Sequence[str]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        return pa.array(map(_shown, values), pa.string())


def _shown(text: str) -> str:
    return text if text.isascii() else STRAY.sub("\N{REPLACEMENT CHARACTER}", text)
