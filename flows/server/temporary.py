"""Folders for temporary files inside a home.

Prefect's workers use `runner_storage` in the system's temporary folder: a fixed name, which another
user could create first, and then no run would start.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT_SECONDS = 86_400  # a run that outlived its worker may still use newer files


def private_folder(path: Path) -> Path:
    """The folder, private to its owner, without files older than a day."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.chmod(0o700)
    for left in path.iterdir():
        with suppress(OSError):
            if left.lstat().st_mtime < time.time() - KEPT_SECONDS:
                _remove(left)
    return path


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """`private_folder`, emptied at the end."""
    try:
        yield private_folder(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()
