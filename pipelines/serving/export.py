"""A registered version as a folder that MLflow loads anywhere, without Folio and its registry."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from pipelines.files.home import made
from pipelines.registry.lookup import named_version
from pipelines.registry.versions import fetched
from pipelines.serving.registered import package_of


def export(home: Path, name: str, version: int | None, out: Path) -> dict[str, Any]:
    """Copy the champion, or a version, to the new folder `out`, complete or not at all.

    Returns {name, version, folder}. Raises FolioError if its files are not those registered, and
    UsageError if `out` exists.
    """
    if os.path.lexists(out):
        raise UsageError(f"{out}: exists already; name another folder with --out")
    found = named_version(home, name, version)
    package_of(home, found)  # its files are those that were registered
    partial = made(out.absolute().parent) / f".{out.name}.{os.getpid()}"
    try:
        shutil.copytree(fetched(home, found), partial, ignore=lambda *_: {"__pycache__"})
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"name": name, "version": found.number, "folder": str(out.absolute())}
