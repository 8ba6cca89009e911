"""A source must not contain what Folio itself writes: each run would copy the runs before it."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import UsageError
from pipelines.store.settings import Settings


def refuse_own_folders(source: Path, settings: Settings) -> None:
    """Raises UsageError if a source folder contains the home or a store, or is in a store."""
    if not source.is_dir():
        return
    real, remote = source.resolve(), settings.store.remote
    own = {"the home": settings.home, "the store": settings.store.root}
    if remote is not None and (shared := remote.folder):
        own["the shared store"] = shared
    for name, folder in own.items():
        inside = real.is_relative_to(folder.resolve()) and name != "the home"
        if inside or folder.resolve().is_relative_to(real):
            where = "is in" if inside else "contains"
            raise UsageError(
                f"source.path {source}: it {where} {name}, {folder}, which each run changes; move "
                "the texts into a folder of their own"
            )
