"""Names that come from outside: of files in a manifest, an archive, a package, a header.

They are joined to a folder of ours only when they cannot leave it.
"""

from __future__ import annotations

from pathlib import PurePosixPath


def unsafe(name: object) -> str | None:
    """Why a relative path with forward slashes may not be used below a folder; None: it may."""
    if not isinstance(name, str) or not name:
        return "is not a name"
    if not name.isprintable():
        return "has a control character"
    if "\\" in name:
        return "has a backslash"
    if PurePosixPath(name).is_absolute():
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty part, or one that leads elsewhere"
    return None
