"""Removes things from the store during runs, so that no run ever finds a partial artifact."""

from __future__ import annotations

import os
import shutil
import stat
import time
from contextlib import suppress
from pathlib import Path

from pipelines.files.home import made
from pipelines.files.locks import try_lock
from pipelines.store.artifacts import MANIFEST, lock_of

REMOVED = ".removed"  # next to the stages' folders


def discard(path: Path, key: str, untaken_since: float) -> bool:
    """Remove what is at `path`: an artifact of `key`, a leftover of one, or the key's lock.

    Returns False without a change if a process works on that key, or if the artifact is used by a
    run or was used by one after `untaken_since` (seconds since 1970).
    """
    lock = lock_of(path.parent, key)
    file = try_lock(lock)
    if file is None:
        return False
    with file:
        aside = None if path == lock else _set_aside(path, untaken_since)
        remains = (key, f".tmp-{key}", f".work-{key}")
        bare = not any(os.path.lexists(path.with_name(name)) for name in remains)
        if bare:
            lock.unlink(missing_ok=True)  # while we hold it: see locks.try_lock
    if aside is not None:
        remove(aside)
    return aside is not None or (bare and path == lock)


def _set_aside(path: Path, untaken_since: float) -> Path | None:
    """The new path, or None if it must not be removed or is gone."""
    if not os.path.lexists(path):
        return None
    folder = made(path.parent.parent / REMOVED)
    aside = folder / f"{path.parent.name}-{path.name.lstrip('.')}-{time.time_ns()}"
    manifest = path / MANIFEST
    if path.is_symlink() or manifest.is_symlink() or not manifest.is_file():
        return path.rename(aside)
    file = try_lock(manifest)  # runs that use the artifact hold it shared
    if file is None:
        return None
    with file:
        return None if manifest.stat().st_mtime > untaken_since else path.rename(aside)


def remove(path: Path) -> None:
    """A file, or a folder with its contents. It is fine if it is already gone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder, as long as they exist."""
    return sum(found.st_size for found in _found(path) if stat.S_ISREG(found.st_mode))


def changed(path: Path) -> float:
    """When anything in it was last written, in seconds since 1970."""
    return max((found.st_mtime for found in _found(path)), default=0.0)


def _found(path: Path) -> list[os.stat_result]:
    """What it is, and everything below it; follows no links. An active run moves its files."""
    found: list[os.stat_result] = []
    pending: list[str] = []
    with suppress(FileNotFoundError):
        found.append(os.lstat(path))
        pending += [os.fspath(path)] * stat.S_ISDIR(found[0].st_mode)
    while pending:
        try:
            entries = os.scandir(pending.pop())
        except OSError:  # gone by now, or it may not be read
            continue
        with entries:
            for entry in entries:
                try:
                    found.append(entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
    return found
