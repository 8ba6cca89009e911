"""The disk space used by a home, and what is free."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from pipelines.stages import NAMES
from pipelines.store.removal import size_of


def disk_usage(home: Path) -> dict[str, Any]:
    """{folders: [{name, bytes}], total, free} in bytes: the store by stage, then the rest."""
    store = {f"store/{path.name}": path for path in _entries(home / "store")}
    first = [f"store/{name}" for name in NAMES if f"store/{name}" in store]
    rest = {path.name: path for path in _entries(home) if path.name != "store"}
    paths = {name: store[name] for name in first} | store | rest
    folders = [{"name": name, "bytes": size_of(path)} for name, path in paths.items()]
    return {
        "folders": folders,
        "total": sum(folder["bytes"] for folder in folders),
        "free": shutil.disk_usage(home).free,
    }


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
