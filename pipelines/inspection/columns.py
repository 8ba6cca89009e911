"""The columns of a table: which holds the texts, which may be the labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from pipelines.declaration.section_base import MOST_LABELS
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.inspection.material import Material
from pipelines.readers.documents import Notes
from pipelines.readers.read import READERS
from pipelines.readers.tables import Row, csv_rows, json_rows, parquet_rows

ROWS, CELLS, CHARACTERS = 20_000, 2_000_000, 32 * 2**20  # that are read to choose the columns
LONGEST_LABEL = 60  # characters
ROWS_PER_LABEL = 3  # at least, on average: else the column names things, not kinds
# Names that say so; columns with another name follow in their order.
NAMES = ("label", "labels", "class", "category", "sentiment", "target", "kind", "topic", "rating")
PARTS = ("split", "set", "fold", "subset", "partition")


@dataclass
class Column:
    name: str
    filled: int = 0
    characters: int = 0
    values: Counter[str] | None = field(default_factory=Counter)  # None if too many, or too long

    def add(self, cell: str) -> None:
        text = cell.strip()
        if not text:
            return
        self.filled += 1
        self.characters += len(text)
        if self.values is not None:
            self.values[text] += 1
            if len(text) > LONGEST_LABEL or len(self.values) > MOST_LABELS:
                self.values = None

    @property
    def mean(self) -> float:
        """Characters of a filled cell."""
        return self.characters / max(self.filled, 1)

    def as_json(self) -> dict[str, object]:
        distinct = None if self.values is None else len(self.values)
        found = {"name": self.name, "filled": self.filled, "mean_characters": round(self.mean, 1)}
        return found | {"distinct": distinct}


@dataclass(frozen=True)
class Columns:
    every: list[Column]
    text: str
    labels: list[str]  # the columns that may be the label, the likeliest first
    rows: int  # that were read

    @classmethod
    def of(cls, material: Material) -> Columns:
        """Raises FolioError if the table has no column with texts, or no column names."""
        every, rows = _read(material)
        name = material.names[0]
        if not rows:
            raise FolioError(f"{name}: no rows below the column names")
        _refuse_data_as_names(every, name)
        text = max(every, key=lambda column: column.mean if column.filled else 0.0)
        if not text.filled:
            raise FolioError(f"{name}: all {len(every)} columns are empty")
        labels = [one.name for one in every if one is not text and _may_be_label(one, rows)]
        labels.sort(key=_likeliness)
        return cls(every, text.name, labels, rows)


def _read(material: Material) -> tuple[list[Column], int]:
    columns: dict[str, Column] = {}
    number = cells = characters = 0
    for row in islice(_rows(material), ROWS):
        for name, cell in zip(row.header, row.cells, strict=True):
            columns.setdefault(name.strip(), Column(name.strip())).add(cell)
            characters += len(cell)
        number += 1
        cells += len(row.cells)
        if cells > CELLS or characters > CHARACTERS:
            break
    return list(columns.values()), number


def _rows(material: Material) -> Iterator[Row]:
    """All columns of all rows; malformed rows are for `folio check`."""
    notes = Notes(on_error=lambda error: None)
    given = {"split": "hash", "encoding": material.encoding, "delimiter": material.delimiter}
    spec = CorpusSpec(reader=material.reader, **given)
    files = READERS[material.reader].files(material.source, spec, notes)
    if material.reader == "parquet":
        return parquet_rows(files, spec, notes, every_column=True)
    return (csv_rows if material.reader == "csv" else json_rows)(files, spec, notes)


def _may_be_label(column: Column, rows: int) -> bool:
    """Few distinct values that come again and again."""
    if column.values is None or column.filled < 0.5 * rows:
        return False
    return 2 <= len(column.values) <= column.filled / ROWS_PER_LABEL


def _likeliness(name: str) -> int:
    """A column whose name says that it holds labels comes first, one of splits last."""
    name = name.lower()
    if name in PARTS:
        return 2
    return 0 if name in NAMES else 1


def _refuse_data_as_names(columns: list[Column], name: str) -> None:
    """Raises FolioError if the first row looks like data: its cells come again below."""
    again = [
        column.name
        for column in columns
        if column.values and len(column.values) < MOST_LABELS / 10 and column.values[column.name]
    ]
    if again:
        raise FolioError(
            f"{name}: the first row has {again[0]!r}, which other rows have too: it is no column "
            "name; add a first row with names, such as label and text"
        )
