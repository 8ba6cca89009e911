"""Explains what the system refused, in one line: a full disk, a read-only home, open files, memory.

Libraries wrap such an error in their own, or put it into a text, so both are searched. Code that
shows an error to a person calls this first.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import FolioError, first_line
from pipelines.files.home import called, home_folder, why_closed

FULL_BYTES = 64 << 10  # free bytes: below this, a failed write is attributed to a full disk
TIGHT_BYTES = 8 << 30  # of address space
FULL = ("no space left on device", "disk quota exceeded", "database or disk is full")
NO_TEMPORARY = "no usable temporary directory"
CLOSED = ("read-only file system", "attempt to write a readonly database")
FILES = ("too many open files",)
MEMORY = (
    "cannot allocate memory",
    "failed to map segment",
    "bad_alloc",
    "unable to allocate",
    "can't start new thread",
    "oom when allocating",
    "failed to allocate memory",
)
UNCLEAR = ("unable to open database file", "disk i/o error")  # SQLite's message for any of these


def refusal_of(error: BaseException) -> str | None:
    """What the system refused and what to do, in one line; None for every other error."""
    chain = list(_chain(error))
    paths = [path for one in chain for path in _paths(one)]
    for one in chain:
        number = one.errno if isinstance(one, OSError) else None
        # Folio's own messages may quote anything; the cause shows what it was.
        text = "" if isinstance(one, FolioError) else str(one)
        if isinstance(one, MemoryError):
            return _memory()
        if found := _known(number, text, paths):
            return found
    if isinstance(error, FolioError) and not why_closed(_home()):
        return None
    reasons = (_unmade, _forbidden, _too_long)
    return next(filter(None, (explain(one) for one in chain for explain in reasons)), None)


def refusal_in(text: str, near: Path) -> str | None:
    """The same for the output of a process that worked in the folder `near`."""
    return _known(None, text, [near])


def require_open_files(least: int = 128) -> None:
    """Raises FolioError if fewer files may be open at once than a server needs; raises the limit if
    that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 1024:
        soft = 1024 if hard == resource.RLIM_INFINITY else min(hard, 1024)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < least:
            raise FolioError(_files())


def tight_limits() -> str:
    """What may have caused an unexpected error: ", perhaps …", or nothing."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < TIGHT_BYTES:
        return f"; perhaps for {_memory()}"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all its causes."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        context = None if one.__suppress_context__ else one.__context__
        inside = getattr(one, "exceptions", ())  # of a group
        todo += [
            other
            for other in (one.__cause__, context, getattr(one, "orig", None), *inside)
            if isinstance(other, BaseException)
        ]


def _known(number: int | None, text: str, paths: list[Path]) -> str | None:
    text = text.lower()

    def is_one_of(texts: tuple[str, ...], *numbers: int) -> bool:
        return number in numbers or any(known in text for known in texts)

    if is_one_of(FULL, errno.ENOSPC, errno.EDQUOT):
        return _full(paths, number == errno.EDQUOT or FULL[1] in text)
    if NO_TEMPORARY in text:
        return _full_by_now([_temporary()]) or (
            f"TMPDIR={_temporary()}: no file can be created there; set TMPDIR to another folder"
        )
    if is_one_of(CLOSED, errno.EROFS):
        return _closed(paths)
    if is_one_of(FILES, errno.EMFILE, errno.ENFILE):
        return _files()
    if is_one_of(MEMORY, errno.ENOMEM):
        return _memory()
    if is_one_of(UNCLEAR):
        return why_closed(_home()) or _full_by_now(paths) or _files_by_now()
    return None


# A full disk


def _full(paths: list[Path], quota: bool) -> str:
    folder = _fullest(paths)
    if not paths and not quota and _free(folder) >= FULL_BYTES:  # another disk, or no longer
        return (
            f"a disk is full, or was: that of {folder} has {_free(folder):,} bytes free; "
            "free space where this was to be written, and run again"
        )
    mount = next(path for path in (folder, *folder.parents) if os.path.ismount(path))
    usage = shutil.disk_usage(folder)
    what = (
        f"the quota on the disk of {folder} is used up"
        if quota
        else (f"the disk of {folder} is full")
    )
    place = f"mounted at {mount}, {usage.free:,} of {usage.total:,} bytes free now"
    remedy = (
        "free space there (folio gc lists what can be deleted)"
        if _is_in(folder, _home())
        else "free space there, or set TMPDIR to another folder"
        if _is_in(folder, _temporary())
        else "free space there"
    )
    return f"{what} ({place}); {remedy} and run again"


def _full_by_now(paths: list[Path]) -> str | None:
    return _full(paths, False) if _free(_fullest(paths)) < FULL_BYTES else None


def _fullest(paths: list[Path]) -> Path:
    """The full folder nearest to one of the paths; if there is none, and since the error may name
    no path, the home or the temporary folder; else the fullest one."""
    named, usual = list(map(_standing, paths)), [_standing(_home()), _standing(_temporary())]
    full = [
        folder
        for folder in (*sorted(named, key=_free), *sorted(usual, key=_free))
        if _free(folder) < FULL_BYTES
    ]
    return full[0] if full else min(named or usual, key=_free)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


# Missing permissions


def _closed(paths: list[Path]) -> str:
    for path in paths:
        folder = _standing(path)
        if os.statvfs(folder).f_flag & os.ST_RDONLY and not _is_in(path, _home()):
            return f"{folder}: its file system is mounted read-only; use another folder"
    return why_closed(_home()) or f"{_home()}: a file of the home is read-only; see folio doctor"


def _forbidden(error: BaseException) -> str | None:
    """For missing permissions in the home, or on the path to it."""
    if not isinstance(error, PermissionError) or not (paths := list(_paths(error))):
        return None
    path, home = paths[-1], _home()
    if not _is_in(path, home) and not _is_in(home, path):
        return None
    return why_closed(home) or (
        f"{path}: {error.strerror}; another user created it: give the home {home} to one "
        "user, or share it with a group (FOLIO_SHARED_HOME=group)"
    )


def _too_long(error: BaseException) -> str | None:
    """For a name that no file can have."""
    path = next(_paths(error), None)
    if path is None or getattr(error, "errno", None) != errno.ENAMETOOLONG:
        return None
    return f"{str(path)[:80]}…: no file can have so long a name; use a shorter one"


def _unmade(error: BaseException) -> str | None:
    """For a home that does not exist, or the folders above it, whatever the reason."""
    home, paths = _home(), list(_paths(error))
    if not isinstance(error, FileNotFoundError):  # any read there raises it
        paths += [home for path in paths if _is_in(path, home)]
    if not isinstance(error, OSError) or os.path.exists(home):
        return None
    if not any(_is_in(home, path) for path in paths):
        return None
    return (
        f"{called(home)}: the home cannot be made ({error.strerror}); set FOLIO_HOME to "
        "another folder"
    )


# Limits of a process


def _files() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"too many open files: the limit is {soft}; raise it: ulimit -n 1024"


def _files_by_now() -> str | None:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
        return None
    except OSError:
        return _files()


def _memory() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        return (
            f"too little memory: the limit of this process is {limit / 1e6:,.0f} MB; "
            "raise it: ulimit -v unlimited"
        )
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        f"too little memory: {free / 1e6:,.0f} MB are free on this machine; stop other "
        "programs, or add memory"
    )


# Paths


def _paths(error: BaseException) -> Iterator[Path]:
    """The paths in the error; the one that was to be written comes last."""
    if isinstance(error, OSError):
        for name in (error.filename, error.filename2):
            if isinstance(name, str | os.PathLike):
                yield Path(name).absolute()


def _standing(path: Path) -> Path:
    return next(one for one in (path, *path.parents) if os.path.isdir(one))


def _home() -> Path:
    try:
        return home_folder()
    except FolioError:
        return Path("/")


def _temporary() -> Path:
    return Path(os.environ.get("TMPDIR") or "/tmp").absolute()


def _is_in(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)


def one_line(error: BaseException) -> str:
    """What the user reads of an error, without its traceback."""
    if not isinstance(error, Exception):  # Ctrl-C, or a termination signal
        return "interrupted"
    if refused := refusal_of(error):
        return refused
    if isinstance(error, FolioError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error, 'no message')}"
