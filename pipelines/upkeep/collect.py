"""Garbage collection: takes stock, and deletes what `garbage.collectable` allows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from pipelines.files.locks import is_locked
from pipelines.registry.champions import journal_of
from pipelines.registry.journal import reigns
from pipelines.registry.mlflow_access import is_own, mlflow_at
from pipelines.registry.versions import asked, delete_version, download_folder, is_within, versions
from pipelines.store.artifacts import KEY, MANIFEST, Artifact, Store, lock_of
from pipelines.store.lineage import stored
from pipelines.store.live_runs import live_runs
from pipelines.store.removal import REMOVED, changed, discard, remove, size_of
from pipelines.store.settings import Settings
from pipelines.upkeep.garbage import Item, Leftover, Policy, Stock, collectable, kept_versions
from pipelines.upkeep.glances import glances

HIDDEN = {"tmp": "unfinished", "fetch": "unfinished copy", "work": "partial work", "lock": "lock"}
LEFTOVER = re.compile(rf"\.({'|'.join(HIDDEN)})-([0-9a-f]{{64}})(-\d+)?")
SMALL = ("runs", "runs/.live", "mlflow", "up", "prefect", "dashboard")  # places of small files
PARTIAL = re.compile(r"\..+\.(json|html)\.\d+")  # see store.write_whole
ASIDE = re.compile(r"\..+\.damaged-\d+")  # see small_files.set_aside
HOUR = 3600.0  # seconds; small files are written much faster
Notice = Callable[[str], None]


def take_stock(settings: Settings, glance: bool = False) -> Stock:
    """What there is on this machine; a shared store is not read. With `glance`, for a list alone,
    manifests that were read before are not read again."""
    home, now = settings.home, time.time()
    store = Store(settings.store.root)
    artifacts = glances(store) if glance else list(stored(store))
    records, unreadable = settings.runs.read_all()
    return Stock(
        now,
        settings.runs.folder,
        artifacts,
        {one.path for one in artifacts if is_locked(f"{one.path}/{MANIFEST}")},
        records,
        live_runs(settings.runs.folder),
        versions(home),
        [
            *leftovers_in(store, artifacts),
            *_aged("comparison", home / "comparisons"),
            *_aged("log", home / "logs"),
            *_downloads(home),
            *remains(home, now),
        ],
        _reigns(home),
        {path.stem for path in unreadable},
    )


def _reigns(home: Path) -> dict[str, list[int]] | None:
    """None if a line cannot be read: it may be the rollback target."""
    journal = journal_of(home)
    if not journal.is_whole():
        return None
    names = {line["model"] for line in journal.lines()}
    return {name: reigns(journal.lines(name)) for name in names}


def garbage(stock: Stock, settings: Settings, policy: Policy) -> list[Item]:
    """What can be deleted, with its bytes: those of a folder that versions share count once, and
    not if one of them is kept. A registry that others may use is not touched."""
    own = is_own(settings.home)
    items = [one for one in collectable(stock, policy) if one.version is None or own]
    going = {(one.version.name, one.version.number) for one in items if one.version}
    counted = {one.folder for one in stock.versions if (one.name, one.number) not in going}
    return [_weighed(item, settings.home, counted) for item in items]


def _weighed(item: Item, home: Path, counted: set[Path | None]) -> Item:
    if item.path is None or (item.version and not is_within(home, item.version)):
        return replace(item, path=None)
    if item.bytes or item.path in counted:
        return item
    if item.version:
        counted.add(item.path)
    return replace(item, bytes=size_of(item.path))


def _stages(store: Store) -> Iterator[Path]:
    return (path for path in sorted(store.root.glob("[!.]*")) if path.is_dir())


def leftovers_in(store: Store, artifacts: Collection[Artifact] = ()) -> Iterator[Leftover]:
    """All but these artifacts and their locks: partial work of active, killed or damaged stages,
    and other locks."""
    known = {(one.stage, one.key) for one in artifacts}
    for folder in _stages(store):
        stage = folder.name
        for name in sorted(os.listdir(folder)):
            if (stage, name) in known:
                continue
            if hidden := LEFTOVER.fullmatch(name):
                kind, key = HIDDEN[hidden[1]], hidden[2]
                if kind == "lock" and (stage, key) in known:
                    continue
            elif KEY.fullmatch(name) and store.remains(stage, name):
                kind, key = "damaged artifact", name
            else:
                continue
            path = folder / name
            yield Leftover(kind, path, changed(path), key, is_locked(lock_of(folder, key)))
    for path in sorted((store.root / ".damaged").glob("*")):
        moved = path.name.rpartition("-")[2]  # in nanoseconds; moving it kept its own times
        yield Leftover(
            "damaged artifact", path, int(moved) / 1e9 if moved.isdigit() else changed(path)
        )
    for path in sorted((store.root / REMOVED).glob("*")):
        yield Leftover("unfinished", path, changed(path))  # an interrupted removal


def _aged(kind: str, folder: Path) -> Iterator[Leftover]:
    return (Leftover(kind, path, changed(path)) for path in sorted(folder.glob("*")))


def remains(home: Path, now: float) -> Iterator[Leftover]:
    """Small files whose writing was interrupted, and unreadable ones that were set aside."""
    for folder in (home, *SMALL):
        for path in sorted((home / folder).glob(".*")):
            if PARTIAL.fullmatch(path.name):
                yield Leftover("unfinished", path, changed(path), busy=now - changed(path) < HOUR)
            elif ASIDE.fullmatch(path.name):
                yield Leftover("damaged file", path, changed(path))


def _downloads(home: Path) -> Iterator[Leftover]:
    """Copies of versions in other registries, except those still registered."""
    folder = home / "mlflow" / "downloads"
    if folder.is_dir():
        wanted = {download_folder(home, version) for version in versions(home)}
        yield from (one for one in _aged("download", folder) if one.path not in wanted)


def collect(
    items: list[Item], settings: Settings, policy: Policy, since: float, failed: Notice
) -> list[Item]:
    """Delete the items, and return the deleted ones; what a run has used `since` is kept.

    `failed` is called for what could not be deleted.
    """
    gone = [
        item
        for item in items
        if item.version is None and item.path and _delete(item.path, item.key, since, failed)
    ]
    return gone + _delete_versions([item for item in items if item.version], settings, policy)


def _delete(path: Path, key: str | None, since: float, failed: Notice) -> bool:
    try:
        if key is not None:
            return discard(path, key, since)
        remove(path)
        return True
    except FileNotFoundError:
        return True  # somebody else removed it
    except OSError as error:
        failed(f"{error.filename or path}: {error.strerror or error}")
        return False


def _delete_versions(items: list[Item], settings: Settings, policy: Policy) -> list[Item]:
    """Decided again while nobody releases, by the artifacts that were kept."""
    if not items:
        return []
    gone = []
    with mlflow_at(settings.home) as (_, client):
        known = asked(client, settings.home)
        store = Store(settings.store.root)
        needing = [*stored(store, "release"), *stored(store, "start")]
        kept = kept_versions(known, needing, policy.runs, _reigns(settings.home))
        for item in items:
            if item.version in known and (item.version.name, item.version.number) not in kept:
                known.remove(item.version)
                delete_version(client, settings.home, item.version, known)
                gone.append(item)
    return gone
