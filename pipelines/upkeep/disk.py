"""What a home takes of the disk, and what is left."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.stages import NAMES


def disk_usage(home: Path) -> dict[str, Any]:
    """{folders: [{name, bytes}], total, free} in bytes: the store by stage, then the rest."""
    store = {f"store/{path.name}": path for path in _entries(home / "store")}
    first = [f"store/{name}" for name in NAMES if f"store/{name}" in store]
    rest = {path.name: path for path in _entries(home) if path.name != "store"}
    paths = {name: store[name] for name in first} | store | rest
    folders = [{"name": name, "bytes": size_bytes(path)} for name, path in paths.items()]
    return {
        "folders": folders,
        "total": sum(folder["bytes"] for folder in folders),
        "free": shutil.disk_usage(home).free,
    }


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def size_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; what a run removes meanwhile does not count."""
    below = (Path(folder, name) for folder, _, names in os.walk(path) for name in names)
    total = 0
    for file in below if path.is_dir() else [path]:
        with suppress(FileNotFoundError):
            total += file.lstat().st_size
    return total
