"""Files that take long to write, in a folder of the user's: whole, and nothing else is left there.

A draft is beside its place, as `.NAME.PID.folio`. The process that writes it holds its lock, so a
draft without a holder is of a process that was killed.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO

from pipelines.files.locks import try_lock
from pipelines.files.whole_files import replacing

DRAFT = re.compile(r"\..+\.\d+\.folio")
LOCKLESS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)  # of file systems that know no locks


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """As `replacing`, with a draft that `sweep` removes if this process is killed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.folio")
    held = _held(draft)
    with closing(held) if held else nullcontext(), replacing(path, draft):
        yield draft


def sweep(folder: Path) -> None:
    """Remove the drafts of processes that were killed."""
    for path in folder.glob(".*.folio"):
        if DRAFT.fullmatch(path.name):
            with suppress(OSError):  # another user's, or a file system without locks
                if held := try_lock(path):
                    with held:
                        path.unlink()


def _held(draft: Path) -> IO[str] | None:
    try:
        return try_lock(draft)
    except OSError as error:
        if error.errno in LOCKLESS:
            return None
        raise
