"""Files in a folder that several users or hosts share: each is whole or not there, and has the
permissions of the user's own umask, unlike what stands in a home."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.files.home import USERS_UMASK, home_folder

NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}  # of a file system that has none


def create(path: Path, data: bytes, root: Path) -> bool:
    """Write a file below `root` if there is none, and say whether it was written. Of several that
    do so at once, one is successful."""
    with _partial(path, root) as partial:
        partial.write_bytes(data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if path.exists():
                return False
            partial.replace(path)
    return True


def write(path: Path, data: bytes, root: Path) -> None:
    """Write a file below `root`, in place of what is there."""
    with _partial(path, root) as partial:
        partial.write_bytes(data)
        partial.replace(path)


def put(path: Path, source: Path, root: Path) -> None:
    """Copy a file to below `root`, in place of what is there."""
    with _partial(path, root) as partial:
        shutil.copyfile(source, partial)
        partial.replace(path)


def listed(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All whole files in a folder and below; none if there is no folder. Raises OSError if one
    cannot be read."""
    for path in (Path(above, name) for above, _, names in os.walk(folder) for name in names):
        with suppress(FileNotFoundError):  # it was just deleted
            if not path.name.startswith("."):
                yield path, path.stat()


def remove_empty(folder: Path, root: Path) -> None:
    """Remove a folder and those above it as long as they are empty; `root` stays."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


@contextmanager
def _partial(path: Path, root: Path) -> Iterator[Path]:
    """A path to write to, next to `path`."""
    _make(path.parent, root)
    partial = path.with_name(f".{path.name}-{os.getpid()}-{time.time_ns()}")
    try:
        partial.touch()
        _open_up(partial, 0o666)
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _make(folder: Path, root: Path) -> None:
    """`root` too, but nothing above it."""
    if not folder.is_dir():
        if folder != root:
            _make(folder.parent, root)
        folder.mkdir(exist_ok=True)
        _open_up(folder, 0o777)


def _open_up(path: Path, mode: int) -> None:
    umask = os.environ.get(USERS_UMASK)
    if umask is not None and not path.absolute().is_relative_to(home_folder()):
        path.chmod(stat.S_IMODE(path.stat().st_mode) | (mode & ~int(umask, 8)))
