"""The home: the folder that holds everything of one Folio. What is made there is its owner's alone.

Folders get 0700 and files 0600; with FOLIO_SHARED_HOME=group 2770 and 0660, for all of its group.
What a user asks for elsewhere keeps the umask that the user set.
"""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import UsageError

PROJECT = Path(__file__).resolve().parents[2]  # the folder of the code
DEFAULT = PROJECT / "data"
SHARED = "FOLIO_SHARED_HOME"
USERS_UMASK = "_FOLIO_USERS_UMASK"  # what it was before Folio set its own: handed to what it starts


def home_folder() -> Path:
    """Where the store, the runs and the databases are: FOLIO_HOME, else the project's data/.

    Raises UsageError when FOLIO_HOME can't name a folder. It need not be there yet.
    """
    given = os.environ.get("FOLIO_HOME")
    if given is None:
        return DEFAULT
    if not given.strip():
        raise UsageError(f"FOLIO_HOME is empty; name a folder in it, or unset it to use {DEFAULT}")
    try:
        home = Path(given).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"FOLIO_HOME={given}: there is no such user; write the whole path"
        ) from error
    home = home.absolute()
    there = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not there.is_dir():
        kind = "a link that leads nowhere" if there.is_symlink() else "a file"
        raise UsageError(f"FOLIO_HOME={given}: {there} is {kind}, not a folder; name a folder")
    return home


def why_closed(home: Path) -> str | None:
    """Why nothing can be written to the home, and what to do; None when it can be."""
    there = next(path for path in (home, *home.parents) if os.path.exists(path))
    if os.access(there, os.W_OK | os.X_OK):
        return None
    if there != home:
        return (
            f"{called(home)}: the home cannot be made, as {there} cannot be written to by "
            f"{_user()}; make it yourself, or name another folder in FOLIO_HOME"
        )
    if not os.access(home, os.R_OK | os.X_OK):
        return (
            f"{called(home)}: the home can be neither read nor written by {_user()}; run "
            f"this as {_owner(home)}, or name another folder in FOLIO_HOME"
        )
    if os.statvfs(home).f_flag & os.ST_RDONLY:
        why, remedy = "its file system is mounted read-only", "have it mounted for writing"
    else:
        why = f"it belongs to {_owner(home)}, and {_user()} may not write there"
        remedy = "run this as its owner"
    return (
        f"{called(home)}: the home is read-only ({why}), so only what reads works here; "
        f"{remedy}, or name another folder in FOLIO_HOME"
    )


def called(home: Path) -> str:
    """As the user named it."""
    return f"FOLIO_HOME={home}" if os.environ.get("FOLIO_HOME") else str(home)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"user {os.getuid()}"


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "another user"


# Who may read it


def is_shared() -> bool:
    """Whether the home is its group's as well. Raises UsageError on a setting that is unknown."""
    given = os.environ.get(SHARED, "")
    if given not in ("", "group"):
        raise UsageError(
            f"{SHARED}={given}: write group, or unset it to keep the home to its owner"
        )
    return given == "group"


def made(folder: Path) -> Path:
    """A folder of a home, made where it is missing, with those above it."""
    if not folder.is_dir():
        made(folder.parent)
        folder.mkdir(0o770 if is_shared() else 0o700, exist_ok=True)
        if is_shared():
            folder.chmod(0o2770)  # what is made in it is the group's
    return folder


def wanted_mode(mode: int) -> int:
    """The permissions that a file or folder of that mode should have in a home."""
    owners = stat.S_IMODE(mode) & ~0o077
    if not is_shared():
        return owners
    return owners | (0o2770 if stat.S_ISDIR(mode) else (owners & 0o700) >> 3)


@contextmanager
def private_files() -> Iterator[None]:
    """Inside, what this process and those that it starts make is the home's owner's alone."""
    before = os.umask(0o007 if is_shared() else 0o077)
    noted = USERS_UMASK in os.environ
    if not noted:
        os.environ[USERS_UMASK] = f"{before:03o}"
    try:
        yield
    finally:
        os.umask(before)
        if not noted:
            del os.environ[USERS_UMASK]


@contextmanager
def users_files(path: Path | str) -> Iterator[None]:
    """Inside, what is written to `path`, unless that is in the home, gets the permissions that the
    user's own umask gives. Until then other threads' files do as well; the folders of the home
    keep everyone out all the same."""
    given, before = os.environ.get(USERS_UMASK), None  # none: a library leaves the umask alone
    if given is not None and not Path(path).absolute().is_relative_to(home_folder()):
        before = os.umask(int(given, 8))
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)  # `explained` names its disk
        raise
    finally:
        if before is not None:
            os.umask(before)
