"""The place that several homes share: a bucket or another location of fsspec, or a folder.

An object is never visible half written. A bucket is never created, nor the folder above the place:
a mistyped address must not look like an empty store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.errors import FolioError, UnreadableError, UsageError, first_line
from pipelines.files.small_files import MAX_BYTES
from pipelines.network.addresses import redacted, shown
from pipelines.shared import shared_folder

if TYPE_CHECKING:
    import fsspec

PART_BYTES = 16 << 20  # read at once
NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
BUCKETS = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "r2"}  # without folders
DATES = ("LastModified", "last_modified", "updated", "mtime", "modified")
CHECK = "check the address, the network and the permissions"
# A server that does not answer is given up within a minute: both s3fs and botocore try again.
S3 = {
    "config_kwargs": {"connect_timeout": 5, "retries": {"max_attempts": 1}},
    "max_concurrency": 4,  # parts of 50 MiB of one file in memory
}


class SharedStoreError(FolioError):
    """The shared store cannot be read or written."""


class Found(NamedTuple):
    """An object's size, and when it was written in seconds since 1970, if the place knows."""

    bytes: int
    changed: float | None


class Place:
    """The objects at an fsspec address. It is contacted only when needed; what it refuses is a
    SharedStoreError. Names have `/` between their parts."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __str__(self) -> str:
        return f"FOLIO_STORE={shown(self.address)}"

    @cached_property
    def _at(self) -> tuple[fsspec.AbstractFileSystem, str]:
        """The file system, and the place's path in it."""
        from fsspec.core import url_to_fs

        scheme = self.address.partition("://")[0]
        if scheme in ("memory", "data"):
            raise UsageError(
                f"{self}: {scheme}:// is seen by one process only; use a bucket or a folder"
            )
        try:
            files, path = url_to_fs(self.address, **(S3 if scheme in ("s3", "s3a") else {}))
        except ImportError as error:
            package = "folio[s3]" if scheme in ("s3", "s3a") else "it"
            raise UsageError(
                f"{self}: the package for it is not installed ({self._said(error)}); "
                f"install {package}, or use another location"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{self}: not an address that fsspec supports ({self._said(error)}); "
                "write it like s3://bucket/folder, or the path of a folder"
            ) from error
        return files, path.rstrip("/")

    @cached_property
    def _files(self) -> fsspec.AbstractFileSystem:
        return self._at[0]

    @cached_property
    def folder(self) -> Path | None:
        """Where it is on this machine, if it is."""
        from fsspec.implementations.local import LocalFileSystem

        return Path(self._at[1]) if isinstance(self._at[0], LocalFileSystem) else None

    def _path(self, name: str) -> str:
        if self.folder is not None and not self.folder.is_dir():
            needed = self.folder if self.folder.is_file() else self.folder.parent
            if not needed.is_dir():
                raise SharedStoreError(f"{self}: {needed} is not a folder; {CHECK}")
        return f"{self._at[1]}/{name}"

    # Reading

    def read(self, name: str) -> bytes | None:
        """A small object; None if there is none. One that is too long is cut."""
        try:
            return self.part(name, 0, MAX_BYTES + 1)[:MAX_BYTES]
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError as error:
            raise UnreadableError(f"a folder stands in the place of {name}") from error

    def part(self, name: str, start: int, end: int) -> bytes:
        """Its bytes from `start` to before `end`, as far as it has them."""
        path = self._path(name)
        with self._asked():
            try:
                return self._files.cat_file(path, start=start, end=end)
            except OSError as error:
                if _codes(error) & {"InvalidRange", "416"}:
                    return b""  # shorter than `start`
                raise

    def bring(self, name: str, target: Path, size: int) -> str:
        """Copy an object to a file; returns its SHA-256, or "" if it does not have `size` bytes.
        Raises UnreadableError if there is none."""
        digest, copied = sha256(), 0
        with target.open("wb") as file:
            for start in range(0, size, PART_BYTES):
                end = min(start + PART_BYTES, size)
                try:
                    data = self.part(name, start, end + (end == size))  # a longer one shows
                except NOT_THERE as error:
                    raise UnreadableError("is missing") from error
                digest.update(data)
                copied += file.write(data)
                if copied != end:
                    return ""
        return digest.hexdigest()

    def find(self, name: str) -> Found | None:
        """What an object is; None if there is none."""
        path = self._path(name)
        try:
            with self._asked():
                self._files.invalidate_cache(self._files._parent(path))
                entry = self._files.info(path)
        except NOT_THERE:
            return None
        return _found(entry) if entry.get("type") != "directory" else None

    def names(self, below: str) -> dict[str, Found]:
        """All objects whose names begin with `below`, a folder."""
        path, start = self._path(below), len(self._at[1]) + 1
        if self.folder is not None:
            with self._asked():
                files = list(shared_folder.listed(Path(path)))
            return {str(one)[start:]: Found(at.st_size, at.st_mtime) for one, at in files}
        try:
            with self._asked():
                self._files.invalidate_cache()
                entries = self._files.find(path, detail=True)
        except NOT_THERE:
            return {}
        return {name[start:]: _found(entry) for name, entry in entries.items()}

    # Writing

    def create(self, name: str, data: bytes) -> bool:
        """Write an object if there is none, and say whether it was written. Of several that do so
        at once, one is successful."""
        path = self._path(name)
        with self._asked(writing=True):
            if self.folder is not None:
                return shared_folder.create(Path(path), data, self.folder)
            try:
                self._make_folder(path)
                self._files.pipe_file(path, data, mode="create")
            except Exception:
                if self.read(name) is None:  # servers have several codes for "there is one"
                    raise
                return False
            return True

    def write(self, name: str, data: bytes) -> None:
        """Write an object, in place of the one that is there."""
        path = self._path(name)
        with self._asked(writing=True):
            if self.folder is not None:
                shared_folder.write(Path(path), data, self.folder)
                return
            self._make_folder(path)
            self._files.pipe_file(path, data)

    def put(self, name: str, source: Path) -> None:
        """Copy a file there, in place of what is there. Raises OSError if the file is
        unreadable."""
        with source.open("rb"):
            pass  # this is not a fault of the place
        path = self._path(name)
        with self._asked(writing=True):
            if self.folder is not None:
                shared_folder.put(Path(path), source, self.folder)
                return
            self._make_folder(path)
            self._files.put_file(str(source), path)

    def delete(self, name: str) -> None:
        """It is fine if there is none."""
        path = self._path(name)
        try:
            with self._asked():
                self._files.rm_file(path)
        except NOT_THERE:
            return
        if self.folder is not None:
            shared_folder.remove_empty(Path(path).parent, self.folder)

    def _make_folder(self, path: str) -> None:
        protocols = self._files.protocol
        named = {protocols} if isinstance(protocols, str) else set(protocols)
        if not named & BUCKETS:  # it would make the bucket
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)

    # Errors

    @contextmanager
    def _asked(self, writing: bool = False) -> Iterator[None]:
        """Turns any error of a file system package into a SharedStoreError."""
        try:
            yield
        except FolioError:
            raise
        except Exception as error:
            if "NoSuchBucket" in _codes(error):
                raise SharedStoreError(
                    f"{self}: there is no such bucket; fix the address, or create the bucket"
                ) from error
            if not writing and isinstance(error, NOT_THERE) and not _has_other_cause(error):
                raise
            raise SharedStoreError(
                f"{self}: cannot be {'written' if writing else 'read'} "
                f"({self._said(error)}); {CHECK}"
            ) from error

    def _said(self, error: Exception) -> str:
        """The system's own words, if any cause has them, else the first line of the message."""
        words = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError))
        said = next(filter(None, words), None) or first_line(error)[:150]
        return redacted(said, self.address)


def _found(entry: dict[str, Any]) -> Found:
    when = next((entry[name] for name in DATES if entry.get(name)), None)
    changed = when.timestamp() if isinstance(when, datetime) else when
    return Found(entry.get("size") or 0, changed if isinstance(changed, int | float) else None)


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _codes(error: BaseException) -> set[str]:
    """What an S3 server calls the error."""
    answers = (getattr(cause, "response", None) for cause in _causes(error))
    return {
        str(answer.get("Error", {}).get("Code")) for answer in answers if isinstance(answer, dict)
    }


def _has_other_cause(error: BaseException) -> bool:
    """Some raise FileNotFoundError for a host that does not answer."""
    return any(
        isinstance(cause, OSError) and not isinstance(cause, NOT_THERE) for cause in _causes(error)
    )
