"""The user's own files: one, those of a folder, or those that a pattern (parts/*.csv) matches.

A source must not contain what Folio itself writes: each run would copy the runs before it.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import UsageError
from pipelines.store.settings import Settings

WILDCARDS = "*?["


def matched(source: Path) -> tuple[Path, list[Path]] | None:
    """The folder before the first wildcard, and the files in it that match; None for a path that
    is no pattern. Raises UsageError if nothing matches."""
    if source.exists() or not any(mark in str(source) for mark in WILDCARDS):
        return None
    parts = source.parts
    first = next(at for at, part in enumerate(parts) if any(mark in part for mark in WILDCARDS))
    folder = Path(*parts[:first])
    files = sorted(path for path in folder.glob(str(Path(*parts[first:]))) if path.is_file())
    if not files:
        raise UsageError(f"{source}: matches no file; fix source.path")
    return folder, files


def refuse_own_folders(source: Path, settings: Settings) -> None:
    """Raises UsageError if a source folder contains the home or a store, or is in a store."""
    pattern = matched(source)
    if pattern is None and not source.is_dir():
        return
    texts = [path.resolve() for path in (pattern[1] if pattern else [source])]
    own = {"the home": settings.home, "the store": settings.store.root}
    remote = settings.store.remote
    if remote is not None and (shared := remote.folder):
        own["the shared store"] = shared
    for name, folder in own.items():
        real = folder.resolve()
        # Texts may lie in the home, but not in what a run writes there.
        inside = name != "the home" and any(path.is_relative_to(real) for path in texts)
        if inside or any(real.is_relative_to(path) for path in texts):
            where = "is in" if inside else "contains"
            raise UsageError(
                f"source.path {source}: it {where} {name}, {folder}, which each run changes; move "
                "the texts into a folder of their own"
            )
