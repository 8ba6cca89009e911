"""The files of a folder: a list of them with their digests, and what has changed since."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError
from pipelines.files.digests import digest_file
from pipelines.files.names import unsafe


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """{name: {bytes, sha256}} of all files in a folder, each synced to the disk.

    Raises FolioError for anything that is not a file, or has a name not allowed in a manifest.
    """
    found = dict(_below(folder))
    for name, there in found.items():
        wrong = (
            f"its name {reason}"
            if (reason := unsafe(name))
            else None
            if stat.S_ISREG(there.st_mode)
            else f"it is {kind_of(there.st_mode)}"
        )
        if wrong:
            raise FolioError(
                f"{name!a}: cannot be published, because {wrong}; rename or remove the "
                "file that it was made from"
            )
    return {name: _entry(folder / name) for name in sorted(found, key=lambda name: name.split("/"))}


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "sha256": digest_file(path)}


def difference(
    folder: Path, files: Mapping[str, Mapping[str, Any]], but: str, digests: bool
) -> str | None:
    """How the files of a folder, `but` one, differ from those `listed`, in words; without `digests`
    only their sizes are compared.

    Empty folders are ignored: no reader looks into them.
    """
    try:
        found = dict(_below(folder))
        found.pop(but, None)
        for name, there in found.items():
            if not stat.S_ISREG(there.st_mode):
                return f"{kind_of(there.st_mode)} stands in the place of {_shown(name)}"
        for name, entry in files.items():
            if name not in found:
                return f"{name} is missing"
            if found[name].st_size != entry["bytes"] or (
                digests and digest_file(folder / name) != entry["sha256"]
            ):
                return f"{name} is not what was published"
        added = min(found.keys() - files.keys(), default=None)
        return added and f"{_shown(added)} was added after it was published"
    except OSError as error:
        return f"{error.filename or folder} cannot be read ({error.strerror or error})"


def _below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(name, what it is) of everything in a folder that is not a folder itself. Follows no
    links."""
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(folder / prefix) as entries:
            for entry in entries:
                name = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/")
                else:
                    yield name, entry.stat(follow_symlinks=False)


def _shown(name: str) -> str:
    return ascii(name) if unsafe(name) else name


def kind_of(mode: int) -> str:
    """What a file of that mode is, in words."""
    for kind, called in (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISREG, "a file"),
    ):
        if kind(mode):
            return called
    return "a special file"
