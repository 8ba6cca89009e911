"""Reads SQLite databases of MLflow and Prefect, which may be using them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote


@contextmanager
def read_only(path: Path, seconds: float) -> Iterator[sqlite3.Connection]:
    """The database at `path`; waits this many seconds while another process locks it."""
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not _has_log(path):
        address += "&immutable=1"  # otherwise SQLite tries to create its shared memory file
    with closing(sqlite3.connect(address, uri=True, timeout=seconds)) as database:
        yield database


def _has_log(path: Path) -> bool:
    """Whether recent writes are still in a separate file."""
    beside = (path.with_name(f"{path.name}-{end}") for end in ("wal", "journal"))
    return any(log.is_file() and log.stat().st_size for log in beside)
