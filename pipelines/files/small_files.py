"""Reads back the small JSON files that Folio writes: manifests, run records, notes.

Whatever stands at the path — an empty or cut file, random bytes, JSON of another shape, a folder —
is one UnreadableError in words, so that one bad file never stops the reading of the others.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError

MAX_BYTES = 64 << 20  # a manifest of 100,000 files takes 20 MB


def read_object(path: Path, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object in a file, which must have `keys` with values of those types.

    Raises FileNotFoundError when nothing stands there, UnreadableError for anything else.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise UnreadableError(f"{path}: a link that leads nowhere") from error
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"{path}: larger than {MAX_BYTES:,} bytes")
    return parse_object(data, str(path), **keys)


def parse_object(data: bytes, where: str, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object in `data`, with `keys` of those types. Raises UnreadableError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:  # not UTF-8, cut, huge numbers, too deep
        reason = "empty" if not data.strip() else f"not JSON ({type(error).__name__})"
        raise UnreadableError(f"{where}: {reason}") from error
    if not isinstance(found, dict):
        raise UnreadableError(f"{where}: JSON, but not an object")
    if b"\\u" in data and not _is_text(found):
        raise UnreadableError(f"{where}: has half of a character")
    for key, kind in keys.items():
        if not isinstance(found.get(key), kind):
            raise UnreadableError(f"{where}: its {key!r} is missing or of the wrong kind")
    return found


def _is_text(found: dict[str, Any]) -> bool:
    """Whether it can be written down again: JSON may name halves of characters."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def set_aside(path: Path) -> Path:
    """Move what cannot be read out of the way, for a look: readers skip hidden names."""
    return path.rename(path.with_name(f".{path.name}.damaged-{time.time_ns()}"))
