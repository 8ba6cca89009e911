"""Locks on files. The kernel frees them when their holder dies, for whatever reason."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def try_lock(path: Path) -> IO[str] | None:
    """The file, created if missing and locked exclusively; None while another process has it.

    The holder of the lock may delete the file, and the next one creates a new one, so only a lock
    on the file that is now at `path` counts.
    """
    while True:
        file = path.open("a+")
        if not _locked(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB):
            file.close()
            return None
        if _stands_at(file.fileno(), path):
            return file
        file.close()


@contextmanager
def locked(path: Path) -> Iterator[IO[str]]:
    """The file, created if missing and locked exclusively; waits until no other process has it.

    For files that are never deleted.
    """
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def share(path: Path) -> int | None:
    """A descriptor that keeps `path` from being locked until it is closed; None: no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if _locked(descriptor, fcntl.LOCK_SH) and _stands_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def is_locked(path: Path | str, alone: bool = False) -> bool:
    """Whether a process holds the file, shared or exclusively, or this cannot be checked. Creates
    no file.

    With `alone`, shared locks do not count; then two processes that check at the same time never
    take each other for a holder.
    """
    how = fcntl.LOCK_SH if alone else fcntl.LOCK_EX
    try:
        descriptor = _opened(path)
        try:
            return not _locked(descriptor, how | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    except PermissionError:
        return True
    except OSError as error:
        if error.errno == errno.EBADF:  # NFS locks only files that are open for writing
            return True
        if error.errno == errno.ELOOP:  # a link to itself
            return False
        raise


def _opened(path: Path | str) -> int:
    """For writing, if that is allowed."""
    try:
        return os.open(path, os.O_RDWR)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY)


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
        return True
    except BlockingIOError:
        return False


def _stands_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
