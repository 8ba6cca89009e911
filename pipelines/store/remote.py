"""The shared store of several homes: artifacts are copied there and back.

<address>/<stage>/<key>/<digest>/…        the files, in a folder named by their digest
<address>/<stage>/<key>/manifest.json     written last, atomically

Homes that make different bytes of one key at the same time cannot mix them: the manifest says which
folder counts. Copies are used only after every name, size and digest was checked. Any problem with
the store becomes a note, never an error: a run continues without it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FolioError, UnreadableError, UsageError, first_line
from pipelines.files.home import users_files
from pipelines.files.small_files import MAX_BYTES
from pipelines.network.addresses import shown
from pipelines.store.manifest import MANIFEST, SEAL, parse

if TYPE_CHECKING:
    from upath import UPath

COPIED_BYTES = 1 << 20  # in parallel
SILENT_SECONDS = 60.0  # after a failure, the store is not contacted for this long
NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
BAD_NAMES = {errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EINVAL}


class SharedStoreError(FolioError):
    """The shared store cannot be read or written."""


class SharedStore:
    """The shared store at an fsspec address. It is contacted only when needed."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._silence: dict[str, tuple[float, str]] = {}  # read, written: until when, and why
        self._notes: dict[tuple[str, str], str] = {}
        self._damaged: set[tuple[str, str]] = set()

    def __str__(self) -> str:
        return f"FOLIO_STORE={shown(self.address)}"

    @cached_property
    def _root(self) -> UPath:
        from upath import UPath

        try:
            root = UPath(self.address)
            if "://" in self.address and not root.protocol:
                raise ValueError("it would be the name of a folder")
            root.fs  # noqa: B018 - a protocol that lacks its package is noticed here
            return root
        except ImportError as error:
            raise UsageError(
                f"{self}: the package for it is not installed ({self._said(error)}); "
                "install it, or use another location"
            ) from error
        except ValueError as error:
            raise UsageError(
                f"{self}: not an address that fsspec supports ({self._said(error)}); "
                "write it like s3://bucket/folder, or the path of a folder"
            ) from error

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine, if it is."""
        return Path(self._root.path) if self._root.protocol in ("", "file", "local") else None

    def note(self, stage: str, key: str) -> str | None:
        """Why it could not provide an artifact that it may have; None if nothing is wrong."""
        return self._silent("read") or self._notes.get((stage, key))

    # Reading

    def fetch(self, stage: str, key: str, folder: Path) -> None:
        """Copy an artifact, if it is there, to `folder`: checked and complete, or not at all."""
        if self._silent("read"):
            return
        self._notes.pop((stage, key), None)
        try:
            self._fetch(self._root / stage / key, stage, key, folder)
        except SharedStoreError as error:
            self._silence["read"] = time.monotonic() + SILENT_SECONDS, str(error)
        except UnreadableError as error:
            self._damaged.add((stage, key))
            self._notes[stage, key] = f"the copy in {self} is damaged ({error})"
        except OSError as error:
            self._notes[stage, key] = (
                f"the copy in {self} could not be stored here ({error.strerror or error})"
            )

    def _fetch(self, source: UPath, stage: str, key: str, folder: Path) -> None:
        data = self._manifest(source)
        if data is None:
            return
        copied = parse(data, stage, key)
        below = _files_of(source, copied)
        partial = folder.with_name(f".fetch-{folder.name}-{time.time_ns()}")
        try:
            for name, entry in copied["files"].items():
                self._bring(below / name, partial / name, name, entry)
            partial.mkdir(parents=True, exist_ok=True)
            (partial / MANIFEST).write_bytes(data)
            if not os.path.lexists(folder):  # otherwise another process fetched it in the meantime
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _bring(self, source: UPath, target: Path, name: str, entry: Mapping[str, Any]) -> None:
        digest, size = hashlib.sha256(), 0
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                for chunk in self._chunks(source, name):
                    size += len(chunk)
                    if size > entry["bytes"]:
                        break
                    digest.update(chunk)
                    file.write(chunk)
        except OSError as error:
            if error.errno in BAD_NAMES:
                raise UnreadableError(f"{name} is not a valid file name") from error
            raise
        if (size, digest.hexdigest()) != (entry["bytes"], entry["sha256"]):
            raise UnreadableError(f"{name} is not what was published")

    def _chunks(self, source: UPath, name: str) -> Iterator[bytes]:
        try:
            with self._asked(), source.open("rb") as file:
                while chunk := file.read(COPIED_BYTES):
                    yield chunk
        except NOT_THERE as error:
            raise UnreadableError(f"{name} is missing") from error

    def _manifest(self, place: UPath) -> bytes | None:
        try:
            with self._asked(), (place / MANIFEST).open("rb") as file:
                return file.read(MAX_BYTES + 1)[:MAX_BYTES]  # a longer one would be truncated
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError as error:
            raise UnreadableError(f"a folder stands in the place of {MANIFEST}") from error

    # Writing

    def offer(self, stage: str, key: str, manifest: Mapping[str, Any], folder: Path) -> str | None:
        """Publish the artifact in `folder` unless an intact one with its key is there.

        Returns a notice if it replaced a damaged one or could not be published.
        """
        if silent := self._silent("read") or self._silent("written"):
            return f"not shared: {silent}"
        try:
            return self._offer(stage, key, manifest, folder)
        except SharedStoreError as error:
            self._silence["written"] = time.monotonic() + SILENT_SECONDS, str(error)
            return f"not shared: {error}"
        except OSError as error:  # of the artifact here
            return f"not shared: {error.filename}: {error.strerror or error}"

    def _offer(self, stage: str, key: str, manifest: Mapping[str, Any], folder: Path) -> str | None:
        place = self._root / stage / key
        if (stage, key) not in self._damaged:
            there = self._condition(place, stage, key)
            if there == "whole":
                return None
            if there == "damaged":
                self._damaged.add((stage, key))
        for name in manifest["files"]:
            self._put(folder / name, _files_of(place, manifest) / name)
        self._put(folder / MANIFEST, place / MANIFEST)
        self._notes.pop((stage, key), None)
        if (stage, key) not in self._damaged:
            return None
        self._damaged.discard((stage, key))
        return f"the damaged copy in {self} was replaced"

    def _condition(self, place: UPath, stage: str, key: str) -> str:
        """absent, damaged or whole: by the manifest and the files' sizes."""
        try:
            data = self._manifest(place)
            if data is None:
                return "absent"
            copied = parse(data, stage, key)
        except UnreadableError:
            return "damaged"
        files = _files_of(place, copied)
        with self._asked():
            files.fs.invalidate_cache()
            found = files.fs.find(files.path, detail=True)
        sizes = {
            path.partition(f"/{copied['digest']}/")[2]: entry["size"]
            for path, entry in found.items()
        }
        there = all(sizes.get(name) == entry["bytes"] for name, entry in copied["files"].items())
        return "whole" if there else "damaged"

    def _put(self, source: Path, target: UPath) -> None:
        """One file, never visible half written: with a rename in a folder, in one put elsewhere."""
        with source.open("rb"):
            pass  # an unreadable local file is not a fault of the shared store
        from fsspec.implementations.local import LocalFileSystem

        with self._asked(writing=True):
            if isinstance(target.fs, LocalFileSystem):
                with users_files(target.path):  # others share it, unlike the home
                    _copy_whole(source, Path(target.path))
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.fs.put_file(str(source), target.path)

    # Errors

    def _silent(self, done: str) -> str | None:
        """Why it is not contacted now: it recently could not be read or written."""
        until, why = self._silence.get(done, (0.0, ""))
        return why if time.monotonic() < until else None

    @contextmanager
    def _asked(self, writing: bool = False) -> Iterator[None]:
        """Turns any error of a file system package into a SharedStoreError."""
        try:
            yield
        except FolioError:
            raise
        except Exception as error:
            if (
                not writing
                and isinstance(error, NOT_THERE)
                and not any(
                    isinstance(cause, OSError) and not isinstance(cause, NOT_THERE)
                    for cause in _causes(error)
                )
            ):  # some raise it for a host that does not answer
                raise
            raise SharedStoreError(
                f"{self}: cannot be {'written' if writing else 'read'} "
                f"({self._said(error)}); check the address, the network and the "
                "permissions"
            ) from error

    def _said(self, error: Exception) -> str:
        """The system's own words, if any cause has them, else the first line of the message."""
        words = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError))
        said = next(filter(None, words), None) or first_line(error)[:150]
        return said.replace(self.address, shown(self.address))


def _copy_whole(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}-{os.getpid()}-{time.time_ns()}")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _files_of(place: UPath, manifest: Mapping[str, Any]) -> UPath:
    """Where the files are; with manifests without a seal, they were next to the manifest."""
    return place / manifest["digest"] if SEAL in manifest else place


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes
