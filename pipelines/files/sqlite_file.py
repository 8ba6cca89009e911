"""Addresses of SQLite databases, and reading those that MLflow and Prefect may be using."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

PLAIN = re.compile(r"[\w/.,:@+= -]*")  # paths that SQLAlchemy and Optuna take as they are


def is_plain(path: Path) -> bool:
    return PLAIN.fullmatch(str(path)) is not None


def address_of(path: Path, driver: str = "sqlite", encoding_driver: str = "sqlite+pysqlite") -> str:
    """SQLAlchemy's address of a database. A path with other characters is percent-encoded, for
    SQLite itself to decode; for `sqlite:` alone MLflow would make folders of that name."""
    if is_plain(path):
        return f"{driver}:///{path}"
    return f"{encoding_driver}:///file:{quote(str(path))}?uri=true"


def path_of(address: str) -> Path | None:
    """The inverse; None if it is the address of something else."""
    scheme, separator, rest = address.partition(":///")
    if not separator or scheme.partition("+")[0] != "sqlite":
        return None
    path, _, options = rest.partition("?")
    encoded = path.startswith("file:") and "uri=true" in options.split("&")
    return Path(unquote(path.removeprefix("file:")) if encoded else path)


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
