"""What to score, and where to write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from pipelines.scoring.score_input import CSV, PARQUET


@dataclass(frozen=True)
class Order:
    """What to score, and where to write. `prefix` is put before the added columns' names; `force`
    replaces an existing `out`; `spreadsheet_safe` prevents formulas in a .csv output; `every` adds
    a column for each label; `delimiter` and `encoding` of a .csv file are found if not given."""

    file: Path
    out: Path
    column: str | None = None
    prefix: str = ""
    force: bool = False
    spreadsheet_safe: bool = False
    every: bool = False
    delimiter: str | None = None
    encoding: str | None = None

    @property
    def summary(self) -> Path:
        return self.out.with_name(f"{self.out.name}.json")

    @property
    def asked(self) -> dict[str, Any]:
        """The part of a summary that describes the request."""
        return {
            "asked_column": self.column,
            "prefix": self.prefix,
            "spreadsheet_safe": self.spreadsheet_safe,
            **({"every": True} if self.every else {}),
            **({"delimiter": self.delimiter} if self.delimiter else {}),
            **({"encoding": self.encoding} if self.encoding else {}),
        }

    def check_target(self) -> None:
        """Raises UsageError if `out` cannot be written as requested."""
        out = self.out
        if out.suffix.lower() not in CSV + PARQUET:
            raise UsageError(f"{out}: neither .csv nor .parquet; use one of these endings")
        if self.spreadsheet_safe and out.suffix.lower() not in CSV:
            raise UsageError(
                f"{out}: --spreadsheet-safe needs a .csv file; a .parquet file has no formulas"
            )
        if not out.parent.is_dir():
            raise UsageError(f"{out.parent}: no such folder; create it, or give another --out")
        if out.is_dir() or (out.exists() and self.file.exists() and out.samefile(self.file)):
            raise UsageError(
                f"{out}: {'a folder' if out.is_dir() else 'the file that is scored'}; give "
                "another file as --out"
            )
        taken = next((path for path in (out, self.summary) if path.exists()), None)
        if taken is not None and not self.force:
            raise UsageError(
                f"{taken} already exists; give another file as --out, or --force to replace it"
            )
