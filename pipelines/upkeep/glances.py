"""What `folio gc` needs of each manifest to list what can go, noted in the home, so that thousands
of manifests need not be read again. Before something is deleted, all of them are.

A note counts only for the very file that was read: same inode, size and times, of which no program
can set that of the last change; and only if the file had been left alone for a while, so that
another change cannot have the same time. Anything else is read and checked as always.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from pipelines.errors import UnreadableError
from pipelines.files.digests import digest_bytes
from pipelines.files.small_files import read_bytes
from pipelines.files.whole_files import write_whole
from pipelines.store.artifacts import MANIFEST, Artifact, Store
from pipelines.store.lineage import folders
from pipelines.upkeep.garbage import BYTES

NOTES = ".manifests.json"
VERSION = 2  # of what is noted, and of how a manifest is checked
LEFT_ALONE = 10.0  # seconds; file systems note times to 2 seconds at worst
Notes = dict[str, list[Any]]  # {stage/key: [which file, what it says]}


def glances(store: Store) -> list[Artifact]:
    """The artifacts that `stored` finds. Their manifests have only what garbage.py reads."""
    place = store.root.parent / NOTES
    before, after, found, now = _read(place), Notes(), [], time.time()
    for path in folders(store):
        stage, key, which = path.parent.name, path.name, _which(path)
        name = f"{stage}/{key}"
        note = before.get(name)
        if note is None or note[0] != which:
            artifact = store.find(stage, key)
            if artifact is None:
                continue
            note = [which, _glance(artifact, which[2] if which else 0)]
            certain = which is not None and now - which[-1] / 1e9 > LEFT_ALONE
            if certain and which == _which(path):
                after[name] = note
        else:
            after[name] = note
        found.append(Artifact(stage, key, path, note[1]))
    if after != before:
        _write(place, after)
    return found


def _which(path: Path) -> list[int] | None:
    """Which file the manifest in a folder is; None if it cannot be one."""
    try:
        manifest = os.lstat(f"{path}/{MANIFEST}")
        if not stat.S_ISREG(manifest.st_mode) or not stat.S_ISDIR(os.lstat(path).st_mode):
            return None
    except OSError:
        return None
    times = manifest.st_mtime_ns, manifest.st_ctime_ns
    return [manifest.st_dev, manifest.st_ino, manifest.st_size, *times]


def _glance(artifact: Artifact, own: int) -> dict[str, Any]:
    """`own`: the bytes of the manifest itself."""
    manifest = artifact.manifest
    named = {"name": manifest["config"]["name"]} if artifact.stage == "release" else {}
    counted = ("pipeline", "version") if artifact.stage in ("release", "start") else ()
    return {
        "created": manifest["created"],
        "digest": manifest["digest"],
        "run": manifest.get("run"),
        "inputs": manifest["inputs"] if artifact.stage != "source" else {},  # those are files
        "config": named,
        BYTES: own + sum(file["bytes"] for file in manifest["files"].values()),
        "counts": {name: manifest["counts"].get(name) for name in counted},
    }


def _read(place: Path) -> Notes:
    """The notes, or none if they are not as they were written."""
    try:
        digest, _, data = read_bytes(place).partition(b"\n")
        if digest.decode() != digest_bytes(data):
            return {}
        found = orjson.loads(data)
    except (OSError, ValueError, UnreadableError):
        return {}
    return found["notes"] if found["version"] == VERSION else {}


def _write(place: Path, notes: Notes) -> None:
    text = orjson.dumps({"version": VERSION, "notes": notes}).decode()
    with suppress(OSError):  # a home that may only be read
        write_whole(place, f"{digest_bytes(text.encode())}\n{text}")
