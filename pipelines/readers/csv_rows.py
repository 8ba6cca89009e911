"""The rows of a CSV file: where they begin, and with fields of any length; errors name the line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TextIO

from pipelines.errors import FolioError
from pipelines.readers.cleaning import composed

if TYPE_CHECKING:
    from _csv import Reader

MAX_FIELD_CHARACTERS = 64 * 2**20
MAX_LINE_CHARACTERS = 2 * MAX_FIELD_CHARACTERS
DELIMITERS = (",", ";", "\t", "|")
DECLARED = "sep="  # Excel's first line, which names the delimiter


@contextmanager
def long_fields() -> Iterator[None]:
    """While inside, fields may have MAX_FIELD_CHARACTERS instead of 131,072."""
    before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _raised(error: FolioError) -> None:
    raise error


def checked_rows(
    rows: Reader,
    name: str,
    width: int | None = None,
    before: int = 0,
    wrong: Callable[[FolioError], None] = _raised,
) -> Iterator[list[str]]:
    """The rows of a strict `csv.reader` that starts after `before` lines. `wrong` gets a FolioError
    with the line of a malformed row; if it returns, a row that is too long is left out."""
    line = before + rows.line_num + 1
    try:
        for row in rows:
            if width is None or len(row) <= width:
                yield row
            else:
                advice = "put quotation marks around texts that contain commas"
                wrong(
                    FolioError(
                        f"{name}: the row at line {line} has {len(row)} fields, the first row "
                        f"{width}; {advice}"
                    )
                )
            line = before + rows.line_num + 1
    except csv.Error as error:
        wrong(
            FolioError(
                f"{name}: the row at line {line} is not valid CSV ({error}); "
                "is a quotation mark missing?"
            )
        )


class Beginning(NamedTuple):
    """The line with the column names, the delimiter, and the number of lines before that line."""

    header: str
    delimiter: str
    before: int

    def rows(self, rest: TextIO, name: str) -> Reader:
        """All rows, the column names first; `rest` is the file, read up to them."""
        lines = chain([self.header] if self.header else [], _bounded(rest, name))
        return csv.reader(lines, strict=True, delimiter=self.delimiter)


def _bounded(file: TextIO, name: str) -> Iterator[str]:
    """The lines. Raises FolioError for one that would not fit into memory."""
    while line := file.readline(MAX_LINE_CHARACTERS + 1):
        if len(line) > MAX_LINE_CHARACTERS:
            raise FolioError(f"{name}: has a line of more than {MAX_LINE_CHARACTERS:,} characters")
        yield line


def beginning(
    file: TextIO,
    name: str,
    wanted: Sequence[Sequence[str]],
    delimiter: str | None,
    ignored: Counter[str],
) -> Beginning:
    """Skips blank lines, comments, and a line that declares the delimiter. If none is given, it is
    the one that gives all columns of the first of `wanted`, or else of the next."""
    declared, before = delimiter, 0
    marks = (delimiter,) if delimiter else DELIMITERS
    while line := file.readline(MAX_FIELD_CHARACTERS):
        found = _found(line, wanted, marks)
        if line.strip().lower().startswith(DECLARED) and not found:
            declared = declared or line.strip()[len(DECLARED) :][:1]
        elif not line.strip() or (line.startswith("#") and not found):
            ignored["comments before the header" if line.strip() else "blank lines"] += 1
        else:
            header = _as_text(line, name)
            return Beginning(header, declared or found or _most_columns(line), before)
        before += 1
    return Beginning("", DELIMITERS[0], before)


def _found(line: str, wanted: Sequence[Sequence[str]], marks: Sequence[str]) -> str | None:
    for columns in wanted:
        needed = set(map(composed, columns))
        for mark in marks:
            if needed <= {composed(cell).strip() for cell in cells_of(line, mark)}:
                return mark
    return None


def _most_columns(line: str) -> str:
    """The comma if it divides the line, else the delimiter that divides it most often."""
    comma = DELIMITERS[0]
    if len(cells_of(line, comma)) > 1:
        return comma
    return max(DELIMITERS, key=lambda mark: len(cells_of(line, mark)))


def cells_of(line: str, delimiter: str) -> list[str]:
    with suppress(csv.Error):
        return next(csv.reader([line], delimiter=delimiter), [])
    return []


def _as_text(line: str, name: str) -> str:
    """The line. Raises FolioError if it begins a file of another format."""
    if line.lstrip().startswith(("{", "[{")):
        raise FolioError(f"{name}: holds JSON, not CSV; use corpus.reader jsonl")
    if line.startswith("PAR1"):
        raise FolioError(f"{name}: a Parquet file, not CSV; use corpus.reader parquet")
    if "\0" in line:
        raise FolioError(f"{name}: not text in UTF-8, or in UTF-16 with a byte order mark")
    return line
