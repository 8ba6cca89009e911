"""Finds users, passwords and queries of addresses that earlier versions of Folio wrote into source
manifests and run records; `folio doctor --fix` removes them.

A manifest's key is a digest that includes the address, so the artifact moves to the key that it
would have now, with a new seal. Artifacts made from it refer to its content, and find it there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError
from pipelines.files.locks import is_locked, try_lock
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json
from pipelines.network.addresses import HIDDEN, config_shown
from pipelines.network.credentials import has_secrets, secret_overrides
from pipelines.store import manifest as manifests
from pipelines.store.artifacts import lock_of
from pipelines.store.live_runs import LIVE
from pipelines.store.manifest import MANIFEST
from pipelines.store.removal import remove
from pipelines.store.settings import Settings
from pipelines.upkeep.findings import FIX, Finding

IN_CLEAR = re.compile(rf"@|[?#](?!{HIDDEN})")  # a user, query or fragment
RETOLD = "source.url changed"
CHANGE = "; anyone who could read it knows them: change the password"


def secrets(settings: Settings) -> Iterator[Finding]:
    """Source manifests and run records of this home that contain secrets of an address."""
    found = False
    for path in _manifests(settings.store.root):
        found = True
        yield Finding(
            "secrets",
            "problem",
            f"{path}: contains user, password or query of source.url{_shared(settings, path)}",
            f"{FIX}{CHANGE}",
            partial(_rekey, path),
        )
    for path in _records(settings.runs.folder):
        found = True
        yield Finding(
            "secrets",
            "problem",
            f"{path}: contains user, password or query of a source in its overrides or reasons",
            f"{FIX}{CHANGE}",
            partial(_clean, path),
        )
    if not found:
        yield Finding("secrets", "ok", "no manifest or run record contains secrets of an address")


def _shared(settings: Settings, path: Path) -> str:
    """A shared store also belongs to others: secrets in it are reported, not removed."""
    if settings.store.remote is None:
        return ""
    return (
        "; the shared store may contain it too: delete "
        f"{settings.store.remote}/source/{path.parent.name} there by hand"
    )


def _read(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, UnreadableError):  # other checks report those
        return read_object(path)
    return {}


def _manifests(root: Path) -> Iterator[Path]:
    for path in sorted(
        [*root.glob(f"source/[!.]*/{MANIFEST}"), *root.glob(f".damaged/source-*/{MANIFEST}")]
    ):
        config = _read(path).get("config")
        if (
            isinstance(config, dict)
            and isinstance(urls := config.get("source.url"), list)
            and config_shown(config) != config
            and any(has_secrets(url) for url in urls if isinstance(url, str))
        ):
            yield path


def _rekey(path: Path) -> str:
    """Move the artifact to its current key, then write its manifest without the secrets."""
    folder = path.parent
    damaged = folder.parent.name == ".damaged"
    lock = None if damaged else try_lock(lock_of(folder.parent, folder.name))
    if not damaged and (lock is None or is_locked(path)):
        return f"skipped {path}, which a run is using; run {FIX} again"
    try:
        # A manually edited manifest must not get a valid seal: it is set aside as damaged first.
        manifest = read_object(path) if damaged else manifests.read(folder)
        manifest["config"] = config_shown(manifest["config"])
        if damaged:
            write_json(path, manifest)
            return f"removed the secrets from {path}"
        manifest["key"] = manifests.key_of(manifest)
        new = folder.with_name(manifest["key"])
        if os.path.lexists(new):  # the same artifact has been made again since
            remove(folder)
            return f"removed {folder}: {new} is the same without the secrets"
        write_json(path, manifests.sealed(manifest))
        folder.rename(new)
        return f"removed the secrets from {new / MANIFEST}"
    except (FileNotFoundError, UnreadableError) as error:
        return f"skipped {path} ({error}); run {FIX} again"
    finally:
        if lock is not None:
            lock.close()


def _records(folder: Path) -> Iterator[Path]:
    for path in sorted([*folder.glob("[!.]*.json"), *folder.glob(f"{LIVE}/[!.]*.json")]):
        record = _read(path)
        if record != _cleaned(record):
            yield path


def _cleaned(record: dict[str, Any]) -> dict[str, Any]:
    given, stages = record.get("overrides"), record.get("stages")
    cleaned = dict(record)
    if isinstance(given, list):
        secret = secret_overrides(text for text in given if isinstance(text, str))
        cleaned["overrides"] = [text for text in given if text not in secret]
    if isinstance(stages, list):
        cleaned["stages"] = [_without_address(entry) for entry in stages]
    return cleaned


def _without_address(entry: Any) -> Any:
    """A stage's entry; its reason contained both addresses if source.url had changed."""
    reason = entry.get("reason") if isinstance(entry, dict) else None
    in_clear = isinstance(reason, str) and "source.url " in reason and IN_CLEAR.search(reason)
    return entry | {"reason": RETOLD} if in_clear else entry


def _clean(path: Path) -> str:
    """Without those overrides: `--using` the run takes its source artifact."""
    if path.parent.name == LIVE and is_locked(path):
        return f"skipped {path}, whose run is active; run {FIX} again when it has ended"
    write_json(path, _cleaned(read_object(path)))
    return f"removed the secrets from {path}"
