"""Reads the small JSON files that Folio writes: manifests, run records, pending changes.

Whatever is at the path (an empty or truncated file, random bytes, JSON of another structure, a
folder) raises one UnreadableError with a message, so that one bad file does not affect the others.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError

MAX_BYTES = 64 << 20  # a manifest of 100,000 files takes 20 MB


def read_object(path: Path, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object in a file, which must have `keys` with values of those types.

    Raises FileNotFoundError if there is nothing, UnreadableError for anything else.
    """
    return parse_object(read_bytes(path), str(path), **keys)


def read_bytes(path: Path) -> bytes:
    """What a small file holds. Raises FileNotFoundError or UnreadableError, like `read_object`."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read(min(os.fstat(file.fileno()).st_size, MAX_BYTES) + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise UnreadableError(f"{path}: a link to nothing") from error
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_BYTES:
        raise UnreadableError(f"{path}: larger than {MAX_BYTES:,} bytes")
    return data


def parse_object(data: bytes, where: str, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object in `data`, with `keys` of those types. Raises UnreadableError."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:  # not UTF-8, truncated, huge numbers, deep
        reason = "empty" if not data.strip() else f"not JSON ({type(error).__name__})"
        raise UnreadableError(f"{where}: {reason}") from error
    if not isinstance(found, dict):
        raise UnreadableError(f"{where}: JSON, but not an object")
    if b"\\u" in data and not _is_text(found):
        raise UnreadableError(f"{where}: contains half a surrogate pair")
    for key, kind in keys.items():
        if not isinstance(found.get(key), kind):
            raise UnreadableError(f"{where}: its {key!r} is missing or has the wrong type")
    return found


def _is_text(found: dict[str, Any]) -> bool:
    """Whether it can be written again: JSON can contain half a surrogate pair."""
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def set_aside(path: Path) -> Path:
    """Rename an unreadable file, for inspection: readers skip hidden names."""
    return path.rename(path.with_name(f".{path.name}.damaged-{time.time_ns()}"))
