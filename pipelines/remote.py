"""The store that several machines share: artifacts copied there and back, the manifest last."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.home import users_files

if TYPE_CHECKING:
    from upath import UPath

MANIFEST = "manifest.json"  # of an artifact: written last, so that its existence means completion
COPIED_BYTES = 1 << 20  # at once


def upload(folder: Path, target: UPath) -> None:
    """Copy a published artifact to the shared store."""
    names = [str(p.relative_to(folder)) for p in sorted(folder.rglob("*")) if p.is_file()]
    for name in sorted(names, key=lambda name: name == MANIFEST):
        _copy(folder / name, target / name)


def supply(folder: Path, target: UPath) -> None:
    """The same where it is not there: made before there was a shared store, or cut short."""
    if not (target / MANIFEST).exists():
        upload(folder, target)


def fetch(source: UPath, folder: Path) -> None:
    """Copy an artifact from the shared store, if it is there, to `folder`: whole or not at all."""
    if not (source / MANIFEST).exists():
        return
    manifest = json.loads((source / MANIFEST).read_bytes())
    partial = folder.with_name(f".fetch-{folder.name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    for name in [*manifest["files"], MANIFEST]:
        _copy(source / name, partial / name)
    try:
        partial.rename(folder)
    except OSError:  # another process fetched it meanwhile
        shutil.rmtree(partial)


def _copy(source: Path | UPath, target: Path | UPath) -> None:
    with users_files(str(target)):  # a store that others share is not the home's owner's alone
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as read, target.open("wb") as write:
            shutil.copyfileobj(read, write, COPIED_BYTES)
