"""What the machine refused, in one line: a full disk, a closed home, open files, memory.

Libraries wrap such an error in errors of their own, or put it into a text, so both are looked
through. Whoever shows an error to a person asks here first.
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

FULL_BYTES = 64 << 10  # free: with less, what cannot be written is not written for that reason
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
UNCLEAR = ("unable to open database file", "disk i/o error")  # SQLite's, of any of these


def explained(error: BaseException) -> str | None:
    """What the machine refused and what to do, in one line; None for every other error."""
    chain = list(_chain(error))
    paths = [path for one in chain for path in _paths(one)]
    for one in chain:
        number = one.errno if isinstance(one, OSError) else None
        # What Folio says itself may quote anything; its cause tells what it was.
        text = "" if isinstance(one, FolioError) else str(one)
        if isinstance(one, MemoryError):
            return _memory()
        if found := _known(number, text, paths):
            return found
    if isinstance(error, FolioError) and not why_closed(_home()):
        return None
    return next(filter(None, (told(one) for one in chain for told in (_unmade, _forbidden))), None)


def explained_text(text: str, near: Path) -> str | None:
    """The same of what a process has printed that worked in the folder `near`."""
    return _known(None, text, [near])


def require_open_files(least: int = 128) -> None:
    """Raises FolioError when fewer files may be open at once than a server needs; has the limit
    raised where that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < 1024:
        soft = 1024 if hard == resource.RLIM_INFINITY else min(hard, 1024)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < least:
            raise FolioError(_files())


def tight_limits() -> str:
    """What an error that nobody foresaw may come from: ", perhaps …", or nothing."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < TIGHT_BYTES:
        return f"; perhaps for {_memory()}"
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it came from."""
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
            f"TMPDIR={_temporary()}: no file can be made there; name another folder in TMPDIR"
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
    if not paths and not quota and _free(folder) >= FULL_BYTES:  # somewhere else, or by now no more
        return (
            f"a disk is full, or was: that of {folder} has {_free(folder):,} bytes free; make "
            "room where this was to write, and run again"
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
        "make room there (folio gc lists what nobody needs)"
        if _is_in(folder, _home())
        else "make room there, or name another folder in TMPDIR"
        if _is_in(folder, _temporary())
        else "make room there"
    )
    return f"{what} ({place}); {remedy} and run again"


def _full_by_now(paths: list[Path]) -> str | None:
    return _full(paths, False) if _free(_fullest(paths)) < FULL_BYTES else None


def _fullest(paths: list[Path]) -> Path:
    """The folder, as near as it is there to one of the paths, that has no room: else, as what was
    written may have had no path, that of the home or of temporary files; else the fullest."""
    named, usual = list(map(_standing, paths)), [_standing(_home()), _standing(_temporary())]
    full = [
        folder
        for folder in (*sorted(named, key=_free), *sorted(usual, key=_free))
        if _free(folder) < FULL_BYTES
    ]
    return full[0] if full else min(named or usual, key=_free)


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


# What may not be written


def _closed(paths: list[Path]) -> str:
    for path in paths:
        folder = _standing(path)
        if os.statvfs(folder).f_flag & os.ST_RDONLY and not _is_in(path, _home()):
            return f"{folder}: its file system is mounted read-only; name another folder"
    return why_closed(_home()) or f"{_home()}: a file of the home is read-only; see folio doctor"


def _forbidden(error: BaseException) -> str | None:
    """Of what we have no rights to in the home, or on the way to it."""
    if not isinstance(error, PermissionError) or not (paths := list(_paths(error))):
        return None
    path, home = paths[-1], _home()
    if not _is_in(path, home) and not _is_in(home, path):
        return None
    return why_closed(home) or (
        f"{path}: {error.strerror}; another user made it: give the home {home} to one user, or "
        "have its group share it (FOLIO_SHARED_HOME=group)"
    )


def _unmade(error: BaseException) -> str | None:
    """Of a home that is not there, or of what lies above it, whatever the reason."""
    home, paths = _home(), list(_paths(error))
    if not isinstance(error, FileNotFoundError):  # which anything that is read there raises
        paths += [home for path in paths if _is_in(path, home)]
    if not isinstance(error, OSError) or os.path.exists(home):
        return None
    if not any(_is_in(home, path) for path in paths):
        return None
    return (
        f"{called(home)}: the home cannot be made ({error.strerror}); name another folder in "
        "FOLIO_HOME"
    )


# Limits of a process


def _files() -> str:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"too many open files: no more than {soft} may be; raise it: ulimit -n 1024"


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
            f"too little memory: this process may have {limit / 1e6:,.0f} MB; raise it: "
            "ulimit -v unlimited"
        )
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        f"too little memory: {free / 1e6:,.0f} MB are free on this machine; end something "
        "else, or give it more"
    )


# Paths


def _paths(error: BaseException) -> Iterator[Path]:
    """Those that the error names, the one that was to be written last."""
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
    if not isinstance(error, Exception):  # Ctrl-C, or a signal that asks to end
        return "interrupted"
    if refused := explained(error):
        return refused
    if isinstance(error, FolioError):
        return str(error)
    return f"{type(error).__name__}: {first_line(error, 'no message')}"
