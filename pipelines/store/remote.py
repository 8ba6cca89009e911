"""Artifacts in the shared store of several homes.

<address>/blobs/…                         the files, by their digests
<address>/<stage>/<key>/manifest.json     written last, and only if there is none

Of homes that make other bytes of one key, the first to write the manifest wins, and the others take
its artifact. Copies are used only after every name, size and digest was checked.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.errors import UnreadableError
from pipelines.files.home import made
from pipelines.shared import blobs
from pipelines.shared.place import Place, SharedStoreError
from pipelines.store.manifest import MANIFEST, SEAL, parse

SILENT_SECONDS = 60.0  # after a failure, the store is not contacted for this long
ATTEMPTS = 3  # of publishing, while others change what is there


class Stands(Enum):
    """What stands in the shared store once an artifact was offered."""

    OURS = "these bytes"
    OTHERS = "other bytes, of another home"
    UNKNOWN = "it could not be written or read"


class Offer(NamedTuple):
    stands: Stands
    notice: str | None  # if something there was repaired, or could not be reached


class SharedStore:
    """The artifacts at an fsspec address. It is contacted only when needed."""

    def __init__(self, address: str) -> None:
        self.place = Place(address)
        self._silence: dict[str, tuple[float, str]] = {}  # read, written: until when, and why
        self._said: str | None = None  # the reason for silence that was said last
        self._notes: dict[tuple[str, str], str] = {}
        self._damaged: dict[tuple[str, str], bytes] = {}  # the SHA-256 of the manifest

    def __str__(self) -> str:
        return str(self.place)

    @property
    def folder(self) -> Path | None:
        """Where it is on this machine, if it is."""
        return self.place.folder

    @property
    def unreachable(self) -> str | None:
        """Why it is not contacted now: it recently could not be read."""
        return self._silent("read")

    def note(self, stage: str, key: str) -> str | None:
        """Why it could not provide an artifact that it has; None if nothing is wrong.

        Raises SharedStoreError if it is unreachable: it may have the artifact.
        """
        if why := self.unreachable:
            what, _, remedy = why.partition("; ")
            raise SharedStoreError(
                f"{what}, and this home has no {stage} artifact {key[:12]}; {remedy}, or unset "
                "FOLIO_STORE to make it here"
            )
        return self._notes.get((stage, key))

    def _silent(self, done: str) -> str | None:
        until, why = self._silence.get(done, (0.0, ""))
        return why if time.monotonic() < until else None

    # Reading

    def fetch(self, stage: str, key: str, folder: Path) -> bool:
        """Copy an artifact to `folder`, which is new, and say whether all of it is there and
        right. Otherwise the folder is of no use, and `note` has what went wrong."""
        if self.unreachable:
            return False
        self._notes.pop((stage, key), None)
        data = None
        try:
            data = self.place.read(_manifest(stage, key))
            if data is None:
                return False
            self._copy(data, stage, key, folder)
            return True
        except SharedStoreError as error:
            self._silence["read"] = time.monotonic() + SILENT_SECONDS, str(error)
        except UnreadableError as error:
            self._damaged[stage, key] = sha256(data or b"").digest()
            self._notes[stage, key] = f"the copy in {self} is damaged ({error})"
        except OSError as error:
            self._notes[stage, key] = (
                f"the copy in {self} could not be stored here ({error.strerror or error})"
            )
        return False

    def _copy(self, data: bytes, stage: str, key: str, folder: Path) -> None:
        copied, place = parse(data, stage, key), f"{stage}/{key}"
        # Where files were before they were named by their digests.
        older = (f"{place}/{copied['digest']}",) if SEAL in copied else (place,)
        blobs.take(self.place, copied["files"], made(folder), older)
        (folder / MANIFEST).write_bytes(data)

    # Writing

    def offer(self, stage: str, key: str, manifest: Mapping[str, Any], folder: Path) -> Offer:
        """Publish the artifact in `folder` unless one with its key is there, and repair that if
        these are its bytes."""
        if silent := self.unreachable or self._silent("written"):
            said, self._said = self._said, silent
            return Offer(Stands.UNKNOWN, None if said == silent else f"not shared: {silent}")
        try:
            return self._offer(stage, key, manifest, folder)
        except SharedStoreError as error:
            self._silence["written"] = time.monotonic() + SILENT_SECONDS, str(error)
            self._said = str(error)
            return Offer(Stands.UNKNOWN, f"not shared: {error}")
        except UnreadableError as error:
            return Offer(Stands.UNKNOWN, f"not shared: {self}: {error}")
        except OSError as error:  # of the artifact here
            why = f"{error.filename}: {error.strerror or error}"
            return Offer(Stands.UNKNOWN, f"not shared: {why}")

    def _offer(self, stage: str, key: str, manifest: Mapping[str, Any], folder: Path) -> Offer:
        name, data = _manifest(stage, key), (folder / MANIFEST).read_bytes()
        for _ in range(ATTEMPTS):
            there, known = self.place.read(name), None
            if there is None:
                blobs.put(self.place, manifest["files"], folder)
                if self.place.create(name, data):
                    return self._ours(stage, key)
                continue  # another home was faster
            with suppress(UnreadableError):
                known = parse(there, stage, key)
            same = known is not None and known["digest"] == manifest["digest"]
            damaged = known is None or self._damaged.get((stage, key)) == sha256(there).digest()
            lacking = {} if known is None or damaged else blobs.missing(self.place, known["files"])
            if not damaged and not lacking:
                return self._ours(stage, key) if same else Offer(Stands.OTHERS, None)
            if same and not damaged:
                blobs.put(self.place, lacking, folder)
            else:
                blobs.put(self.place, manifest["files"], folder, again=damaged)
                self.place.write(name, there := data)
            self._damaged.pop((stage, key), None)
            if self.place.read(name) == there:  # else another home repaired it otherwise
                return self._ours(stage, key, f"the damaged copy in {self} was replaced")
        raise SharedStoreError(f"{self}: {stage} {key[:12]} changes all the time; run again")

    def _ours(self, stage: str, key: str, notice: str | None = None) -> Offer:
        self._notes.pop((stage, key), None)
        return Offer(Stands.OURS, notice)


def _manifest(stage: str, key: str) -> str:
    return f"{stage}/{key}/{MANIFEST}"
