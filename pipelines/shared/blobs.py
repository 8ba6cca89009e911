"""Contents by their SHA-256: equal files of any artifacts are one object.

blobs/<first two digits>/<SHA-256>    never changed
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pipelines.errors import UnreadableError
from pipelines.parallel import mapped
from pipelines.shared.place import Found, Place, SharedStoreError

BLOBS = "blobs"
COPIES = 8  # at a time
LARGE = 32 << 20  # bytes; such files are copied one after another, each in parts
LISTED_FROM = 500  # so many files are looked up in a list of all blobs
SMALL = 1 << 20  # bytes; to ask whether such a blob is there takes as long as to copy it
FRESH = 12 * 3600.0  # seconds; an older blob is copied again: gc may be about to delete it
BAD_NAMES = {errno.ENAMETOOLONG, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EINVAL}
Files = Mapping[str, Mapping[str, Any]]  # as in a manifest: {name: {bytes, sha256}}
Item = TypeVar("Item")
Result = TypeVar("Result")


def blob(digest: str) -> str:
    """The name of the object."""
    return f"{BLOBS}/{digest[:2]}/{digest}"


def in_parallel(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    return list(mapped(function, items, COPIES, 2 * COPIES))


def sizes(place: Place, files: Files) -> dict[str, Found]:
    """{digest: what its blob is} of those that are there."""
    digests = sorted({one["sha256"] for one in files.values()})
    if len(digests) >= LISTED_FROM:
        listed = place.names(BLOBS)
        return {each: listed[blob(each)] for each in digests if blob(each) in listed}
    found = in_parallel(lambda digest: place.find(blob(digest)), digests)
    return {digest: one for digest, one in zip(digests, found, strict=True) if one is not None}


def missing(place: Place, files: Files) -> dict[str, Mapping[str, Any]]:
    """The files that the place does not have: by the sizes of the blobs."""
    there = sizes(place, files)
    return {
        name: one
        for name, one in files.items()
        if one["sha256"] not in there or there[one["sha256"]].bytes != one["bytes"]
    }


def put(place: Place, files: Files, folder: Path, again: bool = False) -> None:
    """Copy files from a folder to their blobs, except large ones that were copied just now; with
    `again`, all."""
    asked = {} if again else {name: one for name, one in files.items() if one["bytes"] > SMALL}
    there, young = sizes(place, asked), time.time() - FRESH
    wanted = {
        one["sha256"]: (folder / name, one["bytes"])
        for name, one in files.items()
        if (found := there.get(one["sha256"])) is None
        or found.bytes != one["bytes"]
        or (found.changed or 0.0) < young
    }

    def copy(item: tuple[str, tuple[Path, int]]) -> None:
        place.put(blob(item[0]), item[1][0])

    large = {digest: one for digest, one in wanted.items() if one[1] >= LARGE}
    for item in large.items():
        copy(item)
    in_parallel(copy, [item for item in wanted.items() if item[0] not in large])


def take(place: Place, files: Files, folder: Path, older: tuple[str, ...] = ()) -> None:
    """Copy files from their blobs to a folder, each checked by size and digest. What has no blob is
    looked for by its name below the places in `older`. Raises UnreadableError for what is damaged,
    after deleting it: a home that has it will put it back."""

    def copy(item: tuple[str, Mapping[str, Any]]) -> None:
        name, one = item
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = _brought(place, name, one, target, older)
        except OSError as error:
            if error.errno in BAD_NAMES:
                raise UnreadableError(f"{name} is not a valid file name") from error
            raise
        if digest != one["sha256"]:
            if digest:  # as long as it should be: who has it would not notice
                with suppress(SharedStoreError):
                    place.delete(blob(one["sha256"]))
            raise UnreadableError(f"{name} is not what was published")

    large = [item for item in files.items() if item[1]["bytes"] >= LARGE]
    for item in large:
        copy(item)
    in_parallel(copy, [item for item in files.items() if item[1]["bytes"] < LARGE])


def _brought(
    place: Place, name: str, one: Mapping[str, Any], target: Path, older: tuple[str, ...]
) -> str:
    """The digest of the first that is there."""
    for source in (blob(one["sha256"]), *(f"{folder}/{name}" for folder in older)):
        try:
            return place.bring(source, target, one["bytes"])
        except UnreadableError:
            continue
    raise UnreadableError(f"{name} is missing")
