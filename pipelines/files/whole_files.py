"""Writes files atomically, so that a reader, or a run after a crash, never sees half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import readable


@contextmanager
def replacing(path: Path, partial: Path | None = None) -> Iterator[Path]:
    """A temporary path to write to, beside `path` unless it is given: the file replaces `path` once
    it is completely on disk, and is removed on failure."""
    partial = partial or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # for example of a full disk


def write_whole(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(readable(text), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """A file name in it that is not UTF-8 is written readably: no record fails for one."""
    write_whole(path, readable(json.dumps(value, indent=1, ensure_ascii=False), "\\\\"))


def sync_folder(path: Path) -> None:
    """Have the names in it on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
