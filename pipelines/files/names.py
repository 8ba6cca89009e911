"""Names that come from outside: of files in a manifest, an archive, a package, a header.

They are joined to a folder of ours only when they cannot leave it.
"""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

UNWANTED = {"Cc", "Cs", "Zl", "Zp"}  # control characters, bytes that are no UTF-8, line ends
TURNING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LONGEST = 255  # bytes of a part: what file systems hold


def unsafe(name: object) -> str | None:
    """Why a relative path with forward slashes may not be used below a folder; None: it may."""
    if not isinstance(name, str) or not name:
        return "is not a name"
    if not name.isprintable() and any(
        c in TURNING or unicodedata.category(c) in UNWANTED for c in name
    ):
        return "has a control character"  # what else is not printable: unusual blanks, joiners
    if "\\" in name:
        return "has a backslash"
    if PurePosixPath(name).is_absolute():
        return "is absolute"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty part, or one that leads elsewhere"
    if max(len(part.encode()) for part in name.split("/")) > LONGEST:
        return "is too long"
    return None
