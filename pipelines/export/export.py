"""A registered version as a folder that MLflow, TensorFlow, an ONNX runtime or Python alone loads
anywhere, without Folio and its registry."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError, did_you_mean
from pipelines.export.formats import FORMATS, LIGHT, MLFLOW, write_format
from pipelines.export.light import write_light
from pipelines.files.home import made
from pipelines.registry.lookup import named_version
from pipelines.registry.versions import fetched
from pipelines.serving.registered import package_of


def export(
    home: Path, name: str, version: int | None, out: Path, kind: str = MLFLOW
) -> dict[str, Any]:
    """The champion, or a version, in the new folder `out`, complete or not at all.

    Returns {name, version, format, folder}. Raises FolioError if its files are not those
    registered, and UsageError if `out` exists.
    """
    if kind not in FORMATS:
        near = did_you_mean(kind, FORMATS)
        raise UsageError(f"--format {kind}: give {', '.join(FORMATS)}{near}")
    if os.path.lexists(out):
        raise UsageError(f"{out}: exists already; name another folder with --out")
    found = named_version(home, name, version)
    package = package_of(home, found)  # its files are those that were registered
    partial = made(out.absolute().parent) / f".{out.name}.{os.getpid()}"
    try:
        if kind == MLFLOW:
            shutil.copytree(fetched(home, found), partial, ignore=lambda *_: {"__pycache__"})
        elif kind == LIGHT:
            write_light(partial, package, f"{name} version {found.number}")
        else:
            write_format(partial, package, kind, f"{name} version {found.number}")
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return {"name": name, "version": found.number, "format": kind, "folder": str(out.absolute())}
