"""Which files of a folder are still to be scored: new ones, and those whose scores are out of date.

    reviews.csv  →  OUT/reviews.csv.scored.parquet, and its summary beside it

A file's scores are up to date when the summary says that these bytes were scored by the version
that is champion now, in the way that is asked for, and the output is as it was written.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError, UsageError
from pipelines.files.small_files import read_object
from pipelines.registry.versions import Version
from pipelines.serving.score_file import Order, digest_of, identity_of
from pipelines.serving.score_input import CSV, PARQUET

SCORED = ".scored.parquet"
INBOX, OUTBOX = "inbox", "scored"  # under the home, a folder a pipeline


def orders(
    file: Path,
    out: Path,
    column: str | None = None,
    prefix: str = "",
    spreadsheet_safe: bool = False,
) -> list[Order]:
    """What is to be scored of a file or a folder's files, by name. `out` is a folder, or of one
    file the name of its scores. Raises UsageError where `file` is not there, or `out` no folder.
    """
    if not file.exists():
        raise UsageError(
            f"{file}: no such file or folder; put there what is to be scored, or name "
            "another in file"
        )
    if file.is_file() and out.suffix.lower() in CSV + PARQUET:
        order = Order(file, out, column, prefix, spreadsheet_safe=spreadsheet_safe)
        return [replace(order, force="out_sha256" in summary_of(order))]  # our own may go
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out}: not a folder; name another in out")
    found = [file] if file.is_file() else sorted(filter(_is_input, file.iterdir()))
    if spreadsheet_safe:
        raise UsageError(
            f"{out}: spreadsheet_safe is for the scores of one file, with a name in "
            ".csv as out; a folder's are Parquet, which has no formulas"
        )
    return [Order(path, out / f"{path.name}{SCORED}", column, prefix, force=True) for path in found]


def is_up_to_date(order: Order, version: Version) -> bool:
    """Whether the scores are there, of these bytes, by this version."""
    summary = {"spreadsheet_safe": False} | summary_of(order)
    same = summary.items() >= (identity_of(version) | order.asked).items()
    return (
        same
        and summary.get("file_sha256") == digest_of(order.file)
        and summary.get("out_sha256") == digest_of(order.out)
    )


def summary_of(order: Order) -> dict[str, Any]:
    """What was written beside the scores; {} where nothing can be read."""
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
