"""Finds the files of a folder to score: new ones, and those whose scores are out of date.

reviews.csv  →  OUT/reviews.csv.scored.parquet, with its summary next to it

A file's scores are up to date if the summary says that these bytes were scored by the current
champion with the same options, and the output has not changed since.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError, UsageError
from pipelines.files.small_files import read_object
from pipelines.registry.versions import Version
from pipelines.scoring.score_file import digest_of, identity_of
from pipelines.scoring.score_input import CSV, PARQUET
from pipelines.scoring.score_order import Order

SCORED = ".scored.parquet"
INBOX, OUTBOX = "inbox", "scored"  # in the home, one folder per pipeline


def orders(
    file: Path,
    out: Path,
    column: str | None = None,
    prefix: str = "",
    spreadsheet_safe: bool = False,
) -> list[Order]:
    """What to score, of a file or of a folder's files, by name. `out` is a folder, or for a single
    file also the output file. Raises UsageError if `file` does not exist or `out` is not a
    folder."""
    if not file.exists():
        raise UsageError(
            f"{file}: no such file or folder; put the files to score there, or give another file"
        )
    if file.is_file() and out.suffix.lower() in CSV + PARQUET:
        order = Order(file, out, column, prefix, spreadsheet_safe=spreadsheet_safe)
        return [replace(order, force="out_sha256" in summary_of(order))]  # our own output
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: not a folder; give another out")
    found = [file] if file.is_file() else sorted(filter(_is_input, file.iterdir()))
    if spreadsheet_safe:
        raise UsageError(
            f"{out}: spreadsheet_safe needs a single file, with a .csv name as out; the "
            "scores of a folder are Parquet, which has no formulas"
        )
    return [Order(path, out / f"{path.name}{SCORED}", column, prefix, force=True) for path in found]


def is_up_to_date(order: Order, version: Version) -> bool:
    """Whether there are scores of these bytes by this version."""
    summary = {"spreadsheet_safe": False} | summary_of(order)
    same = summary.items() >= (identity_of(version) | order.asked).items()
    return (
        same
        and summary.get("file_sha256") == digest_of(order.file)
        and summary.get("out_sha256") == digest_of(order.out)
    )


def summary_of(order: Order) -> dict[str, Any]:
    """The summary next to the scores; {} if it cannot be read."""
    try:
        return read_object(order.summary)
    except (FileNotFoundError, UnreadableError):
        return {}


def _is_input(path: Path) -> bool:
    return (
        path.is_file()
        and path.suffix.lower() in CSV + PARQUET
        and not path.name.startswith(".")
        and not path.name.endswith(SCORED)
    )
