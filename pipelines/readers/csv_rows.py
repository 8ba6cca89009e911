"""The rows of a CSV file with fields of any length; errors name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.errors import FolioError

if TYPE_CHECKING:
    from _csv import Reader

MAX_FIELD_CHARACTERS = 64 * 2**20


@contextmanager
def long_fields() -> Iterator[None]:
    """While inside, fields may have MAX_FIELD_CHARACTERS instead of 131,072."""
    before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def checked_rows(
    rows: Reader, name: str, width: int | None = None, before: int = 0
) -> Iterator[list[str]]:
    """The rows of a strict `csv.reader` that starts after `before` lines; raises FolioError with
    the line of a malformed row."""
    line = before + rows.line_num + 1
    try:
        for row in rows:
            if width is not None and len(row) > width:
                raise FolioError(
                    f"{name}: the row at line {line} has {len(row)} fields, the first row "
                    f"{width}; put quotation marks around texts that contain commas"
                )
            yield row
            line = before + rows.line_num + 1
    except csv.Error as error:
        raise FolioError(
            f"{name}: the row at line {line} is not valid CSV ({error}); "
            "is a quotation mark missing?"
        ) from error
