"""Folders for temporary files inside a home.

Prefect's workers keep `runner_storage` in the system's: a fixed name, which another user of the
machine could make first, and no run would start.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT_SECONDS = 86_400  # a run that outlived its keeper may still use what is younger


def private_folder(path: Path) -> Path:
    """The folder, for its owner alone, without what was left there more than a day ago."""
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
