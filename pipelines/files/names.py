"""Names from outside: of files in a manifest, an archive, a package, a header.

They are joined to a local folder only if they cannot leave it.
"""

from __future__ import annotations

import unicodedata

from pipelines.errors import NOT_UTF8, UsageError

UNWANTED = {"Cc", "Zl", "Zp"}  # control characters, line ends
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LONGEST = 255  # bytes of a part: the limit of file systems


def unsafe(name: object) -> str | None:
    """Why a relative path with forward slashes must not be used in a folder; None if it may."""
    if not isinstance(name, str) or not name:
        return "is not a name"
    if NOT_UTF8.search(name):
        return "is not UTF-8"
    if not name.isprintable() and any(
        c in TURNING or unicodedata.category(c) in UNWANTED for c in name
    ):
        return "has a control character"  # other unprintable characters: unusual spaces, joiners
    if "\\" in name:
        return "has a backslash"
    if name.startswith("/"):
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty part, or one that points elsewhere"
    if max(len(part.encode()) for part in name.split("/")) > LONGEST:
        return "is too long"
    return None


def refuse_not_utf8(path: object, what: str) -> None:
    """Raises UsageError for a path that manifests, databases and Prefect could not hold."""
    if NOT_UTF8.search(str(path)):
        raise UsageError(f"{what}: {path}: the path is not UTF-8; rename its file or folder")
