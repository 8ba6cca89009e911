"""An artifact's manifest: what it is, what determined its bytes, and its files.

It detects changes: `key` is the digest of the recipe, `digest` that of the files' digests, and
`seal` that of the whole manifest. If any does not match, the folder is not an artifact.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FolioError, UnreadableError
from pipelines.files.digests import digest_bytes, digest_json
from pipelines.files.listing import kind_of
from pipelines.files.names import unsafe
from pipelines.files.small_files import MAX_BYTES, parse_object, read_bytes

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST = "manifest.json"  # written last, so its existence means completion
KEY = re.compile(r"[0-9a-f]{64}")
RECIPE = ("stage", "version", "config", "inputs", "code", "libraries")
SEAL = "seal"
KINDS: dict[str, type | tuple[type, ...]] = {
    "stage": str,
    "version": int,
    "config": dict,
    "inputs": dict,
    "code": dict,
    "libraries": dict,
    "key": str,
    "digest": str,
    "files": dict,
    "counts": dict,
    "created": str,
    "wall_seconds": (int, float),
    "peak_memory_bytes": (int, float),
}
CHANGED = "was changed after it was written"


@dataclass(frozen=True)
class Artifact:
    """A published folder. `path` is local; `manifest` describes it and its origin."""

    stage: str
    key: str
    path: Path
    manifest: dict[str, Any] = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Digest of the content only: equal bytes have equal digests, however they were made."""
        return self.manifest["digest"]

    @property
    def counts(self) -> dict[str, Any]:
        return self.manifest["counts"]

    def files(self, prefix: str = "") -> list[Path]:
        """The files in the manifest whose names start with this, in order. Readers open nothing
        else: other files in the folder are not part of the artifact."""
        return sorted(
            self.path / name for name in self.manifest["files"] if name.startswith(prefix)
        )

    def table(self, prefix: str, columns: list[str]) -> pa.Table:
        """The rows of its Parquet files whose names start with this, in order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        return pa.concat_tables(pq.read_table(file, columns=columns) for file in self.files(prefix))


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a stage's bytes. `key` is its digest."""

    stage: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    code: dict[str, str]
    libraries: dict[str, str]

    @cached_property
    def key(self) -> str:
        return key_of(vars(self))


def key_of(recipe: Mapping[str, Any]) -> str:
    """The key of a recipe, or of a manifest that contains one."""
    return digest_json(_keyed(recipe))


def _keyed(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: recipe[name] for name in RECIPE} | {"key": None, "sealed": True}


def _unsealed_key_of(recipe: Mapping[str, Any]) -> str:
    """The key in manifests without a seal. Only these may lack one."""
    return digest_json({name: recipe[name] for name in RECIPE} | {"key": None})


def content_digest(files: Mapping[str, Mapping[str, Any]]) -> str:
    """Digest of the content only: equal files have equal digests, however they were made."""
    return digest_json(_contents(files))


def _contents(files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: entry["sha256"] for name, entry in files.items()}


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest as it will be read back, with its seal."""
    plain = json.loads(json.dumps(manifest))
    return plain | {SEAL: _seal_of(plain)}


def text_of(manifest: Mapping[str, Any]) -> str:
    """The bytes of the file. Raises FolioError if it could not be read back."""
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    if len(text.encode()) > MAX_BYTES:
        raise FolioError(
            f"{len(manifest['files']):,} files are too many for one artifact; pack "
            "them into an archive"
        )
    return text


def _seal_of(manifest: Mapping[str, Any]) -> str:
    return digest_json(_under_seal(manifest))


def _under_seal(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name != SEAL}


# Reading


def read(folder: Path) -> dict[str, Any]:
    """The manifest of the artifact in `<stage>/<key>`, the last two parts of `folder`.

    Raises FileNotFoundError if there is none, UnreadableError if it is invalid.
    """
    _expect(folder, stat.S_ISDIR, "its folder")
    path, stage, key = folder / MANIFEST, folder.parent.name, folder.name
    try:
        _expect(path, stat.S_ISREG, MANIFEST)
        data = read_bytes(path)
        whole = _quickly(data, stage, key)
        return whole or _checked(parse_object(data, str(path)), stage, key)
    except FileNotFoundError as error:
        raise UnreadableError(f"{MANIFEST} is missing") from error
    except UnreadableError as error:
        raise UnreadableError(str(error).removeprefix(f"{folder}{os.sep}")) from error


def parse(data: bytes, stage: str, key: str) -> dict[str, Any]:
    """The manifest in `data`, which must belong to this artifact. Raises UnreadableError."""
    return _checked(parse_object(data, MANIFEST), stage, key)


def _quickly(data: bytes, stage: str, key: str) -> dict[str, Any] | None:
    """The manifest, if orjson reads it and writes what its digests are of, as it does nearly all;
    None otherwise. A home has thousands, and this takes a fifth of the time of json."""
    import orjson  # an exported model has this module, but not that library

    try:
        found = orjson.loads(data)
        if not isinstance(found, dict) or (found.get("stage"), found.get("key")) != (stage, key):
            return None
        digests = (found["digest"], key, found[SEAL])
        parts = (_contents(found["files"]), _keyed(found), _under_seal(found))
        for digest, part in zip(digests, parts, strict=True):
            if digest != digest_bytes(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)):
                return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return None if _misshapen(found) else found


def _expect(path: Path, kind: Any, called: str) -> None:
    """Raises UnreadableError if `path` is of another kind; never follows links."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(str(path)) from error
    except OSError as error:
        raise UnreadableError(f"{called} cannot be read ({error.strerror})") from error
    if not kind(mode):
        raise UnreadableError(f"{kind_of(mode)} stands in the place of {called}")


def _checked(found: dict[str, Any], stage: str, key: str) -> dict[str, Any]:
    problem = _misshapen(found) or _disagreement(found, stage, key)
    if problem:
        raise UnreadableError(f"{MANIFEST} {problem}")
    return found


def _misshapen(found: Mapping[str, Any]) -> str | None:
    for name, kind in KINDS.items():
        if not isinstance(found.get(name), kind):
            return f"has no valid {name!r}"
    if not all(isinstance(value, str) for value in found["inputs"].values()):
        return "has no valid 'inputs'"
    if found["stage"] == "release" and not (
        isinstance(found["config"].get("name"), str)
        and isinstance(found["counts"].get("version"), int)
    ):
        return "names no version"
    for name, entry in found["files"].items():
        reason = unsafe(name) or ("is the manifest's own" if name == MANIFEST else None)
        if reason:
            return f"lists a file whose name {reason}: {ascii(name)[:100]}"
        if not (
            isinstance(entry, dict)
            and isinstance(entry.get("bytes"), int)
            and KEY.fullmatch(str(entry.get("sha256")))
        ):
            return f"has no size or digest for {name}"
    return None


def _disagreement(found: Mapping[str, Any], stage: str, key: str) -> str | None:
    if (found["stage"], found["key"]) != (stage, key):
        return "belongs to another artifact"
    try:
        whole = found["digest"] == content_digest(found["files"]) and (
            (key == key_of(found) and found.get(SEAL) == _seal_of(found))
            or (key == _unsealed_key_of(found) and SEAL not in found)
        )
    except (ValueError, RecursionError):  # values or nesting that Folio does not write
        whole = False
    return None if whole else CHANGED
