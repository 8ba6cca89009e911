"""Finds folders and files of a home with too open permissions, and corrects them.

Links are not followed, and files of other users are not changed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipelines.files.home import DEFAULT, is_shared, wanted_mode

COMMITTED = {"samples", "README.md"}  # in the default home: part of Folio, readable by all


def open_to_others(home: Path) -> list[Path]:
    """Those with wrong permissions that others can reach: contents of a private folder count only
    in a home that a group shares."""
    return [path for path, _, _ in _wrong(home, below_closed=is_shared())]


def close_to_others(home: Path) -> int:
    """Correct the permissions of each, also in private folders. Returns how many were changed."""
    done = 0
    for _, descriptor, mode in _wrong(home, below_closed=True):
        os.fchmod(descriptor, mode)
        done += 1
    return done


def _wrong(home: Path, below_closed: bool) -> Iterator[tuple[Path, int, int]]:
    """(path, its open descriptor, the permissions that it should have); folders first."""
    if not home.is_dir():
        return  # it is still to be made
    for folder, folders, files, descriptor in os.fwalk(os.path.realpath(home)):
        at, now = Path(folder), os.fstat(descriptor)
        if at == DEFAULT:
            folders[:] = [name for name in folders if name not in COMMITTED]
            files = [name for name in files if name not in COMMITTED]
        elif mode := _to_be(now):
            yield at, descriptor, mode
        elif not below_closed and not now.st_mode & 0o077:
            folders.clear()
            continue
        for name in files:
            with suppress(FileNotFoundError):  # of a live run
                found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode) and _to_be(found):
                    yield from _opened(at / name, name, descriptor)


def _opened(path: Path, name: str, folder: int) -> Iterator[tuple[Path, int, int]]:
    """Checked again on the open file, so that it cannot be replaced in between."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return  # a link by now, or not readable even by its owner
    try:
        if mode := _to_be(os.fstat(file)):
            yield path, file, mode
    finally:
        os.close(file)


def _to_be(found: os.stat_result) -> int | None:
    """The permissions that it should have; None if it has them, or belongs to another user."""
    if found.st_uid != os.geteuid():
        return None
    wanted = wanted_mode(found.st_mode)
    return None if stat.S_IMODE(found.st_mode) == wanted else wanted
