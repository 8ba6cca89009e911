"""Reads SQLite databases of others: of MLflow and Prefect, which may be at work on them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote


@contextmanager
def read_only(path: Path, seconds: float) -> Iterator[sqlite3.Connection]:
    """The database at `path`; waits so many seconds while another process holds it."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not _has_log(path):
        address += "&immutable=1"  # else SQLite wants to make its shared memory beside it
    with closing(sqlite3.connect(address, uri=True, timeout=seconds)) as database:
        yield database


def _has_log(path: Path) -> bool:
    """Whether what was last written to it stands beside it still."""
    beside = (path.with_name(f"{path.name}-{end}") for end in ("wal", "journal"))
    return any(log.is_file() and log.stat().st_size for log in beside)
