"""The home: the folder with all data of one Folio. What is created there is private to its owner.

Folders get 0700 and files 0600; with FOLIO_SHARED_HOME=group 2770 and 0660, for all of its group.
Files that a user writes elsewhere follow the user's umask.
"""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import UsageError
from pipelines.files.names import refuse_not_utf8

PROJECT = Path(__file__).resolve().parents[2]  # the folder of the code
CHECKOUT = (PROJECT / "pyproject.toml").is_file()  # else a wheel is installed
DEFAULT = PROJECT / "data"  # the home of a checkout
# Where data/samples and prefect.yaml are: a wheel has them inside the package `folio`.
SHIPPED = PROJECT if CHECKOUT else PROJECT / "folio"
SHARED = "FOLIO_SHARED_HOME"
USERS_UMASK = "_FOLIO_USERS_UMASK"  # the umask before Folio set its own: passed to child processes


def home_folder() -> Path:
    """The folder of the store, the runs and the databases: FOLIO_HOME, else the checkout's data/,
    or the user's own data folder if Folio is installed.

    Raises UsageError if FOLIO_HOME is not a valid folder name. It need not exist yet.
    """
    given = os.environ.get("FOLIO_HOME")
    if given is None:
        return DEFAULT if CHECKOUT else _users_data() / "folio"
    if not given.strip():
        raise UsageError("FOLIO_HOME is empty; set it to a folder, or unset it")
    try:
        home = Path(given).expanduser()
    except RuntimeError as error:
        raise UsageError(
            f"FOLIO_HOME={given}: there is no such user; write the full path"
        ) from error
    refuse_not_utf8(home := home.absolute(), "FOLIO_HOME")
    there = next(path for path in (home, *home.parents) if os.path.lexists(path))
    if not there.is_dir():
        kind = "a link to nothing" if there.is_symlink() else "a file"
        raise UsageError(f"FOLIO_HOME={given}: {there} is {kind}, not a folder; use a folder")
    return home


def _users_data() -> Path:
    """As the XDG Base Directory Specification says, which ignores a relative path."""
    named = Path(os.environ.get("XDG_DATA_HOME", ""))
    try:
        return named if named.is_absolute() else Path.home() / ".local" / "share"
    except RuntimeError as error:
        raise UsageError("you have no home folder on this machine; set FOLIO_HOME") from error


def why_closed(home: Path) -> str | None:
    """Why nothing can be written to the home, and what to do; None if it is writable."""
    there = next(path for path in (home, *home.parents) if os.path.exists(path))
    if os.access(there, os.W_OK | os.X_OK):
        return None
    if there != home:
        return (
            f"{called(home)}: the home cannot be made, because {there} is not writable "
            f"for {_user()}; create it yourself, or set FOLIO_HOME to another folder"
        )
    if not os.access(home, os.R_OK | os.X_OK):
        return (
            f"{called(home)}: the home can be neither read nor written by {_user()}; run "
            f"this as {_owner(home)}, or set FOLIO_HOME to another folder"
        )
    if os.statvfs(home).f_flag & os.ST_RDONLY:
        why, remedy = "its file system is mounted read-only", "remount it for writing"
    else:
        why = f"it belongs to {_owner(home)}, and {_user()} may not write there"
        remedy = "run this as its owner"
    return (
        f"{called(home)}: the home is read-only ({why}), so only commands that read work "
        f"here; {remedy}, or set FOLIO_HOME to another folder"
    )


def called(home: Path) -> str:
    """As the user wrote it."""
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


# Permissions


def is_shared() -> bool:
    """Whether the home is shared with its group. Raises UsageError if the setting is unknown."""
    given = os.environ.get(SHARED, "")
    if given not in ("", "group"):
        raise UsageError(
            f"{SHARED}={given}: use group, or unset it to keep the home private to its owner"
        )
    return given == "group"


def made(folder: Path) -> Path:
    """A folder of a home, created if it is missing, with its parents."""
    if not folder.is_dir():
        made(folder.parent)
        folder.mkdir(0o770 if is_shared() else 0o700, exist_ok=True)
        if is_shared():
            folder.chmod(0o2770)  # new files in it belong to the group
    return folder


def wanted_mode(mode: int) -> int:
    """The permissions that a file or folder with that mode should have in a home."""
    owners = stat.S_IMODE(mode) & ~0o077
    if not is_shared():
        return owners
    return owners | (0o2770 if stat.S_ISDIR(mode) else (owners & 0o700) >> 3)


@contextmanager
def private_files() -> Iterator[None]:
    """While inside, what this process and its children create is private to the home's owner."""
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
    """While inside, what is written to `path`, unless that is in the home, gets the permissions of
    the user's own umask. This also affects other threads' files; but the home's folders still keep
    everyone out."""
    given, before = os.environ.get(USERS_UMASK), None  # no change: libraries do not set the umask
    if given is not None and not Path(path).absolute().is_relative_to(home_folder()):
        before = os.umask(int(given, 8))
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)  # `refusal_of` names its disk
        raise
    finally:
        if before is not None:
            os.umask(before)
