"""What can be deleted in the shared store, and deletes it: artifacts that no home's list names.

Each home lists the artifacts that it has (pipelines/shared/homes.py). What is on no list and old is
needed by no home: by no version in use there, no rollback target and no live run. Whatever is
young stays, as its home may not have listed it yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UnreadableError
from pipelines.shared import homes
from pipelines.shared.blobs import BLOBS, in_parallel
from pipelines.shared.place import Found, Place, SharedStoreError
from pipelines.shared.unfinished import UNFINISHED
from pipelines.store.manifest import KEY, MANIFEST, parse
from pipelines.store.settings import Settings
from pipelines.store.sharing import SHARED, kept
from pipelines.upkeep.garbage import DAY, Item, Policy

ARTIFACT = re.compile(rf"([^/]+)/({KEY.pattern})/(.+)")
LEAST_DAYS = 1.0  # a younger object may be part of an artifact that is being published
LIST = "shared list"
Name = tuple[str, str]  # a stage and a key
Notice = Callable[[str], None]
Objects = Mapping[str, Found]


@dataclass(frozen=True)
class SharedStock:
    """What there is in the shared store. `digests` are those of the files of each artifact, None if
    its manifest is unreadable; `kept` is what the homes list."""

    now: float  # seconds since 1970
    artifacts: Mapping[Name, Objects]
    digests: Mapping[Name, set[str] | None]
    blobs: Objects
    unfinished: Objects
    lists: Mapping[str, float]  # when each expires
    kept: set[Name]


def shared_garbage(
    settings: Settings, going: Collection[Path], policy: Policy, now: float, notice: Notice
) -> list[Item]:
    """What can be deleted in the shared store once the artifacts in the folders `going` are deleted
    here; `now` in seconds since 1970. If not all can be read, there is a notice and nothing is."""
    if settings.store.remote is None:
        return []
    place, root = settings.store.remote.place, settings.store.root
    own = {
        (stage, key)
        for stage, keys in kept(root).items()
        for key in keys
        if root / stage / key not in going
    }
    try:
        return list(collectable(_stock(place, root, own, now), policy))
    except (SharedStoreError, UnreadableError) as error:
        notice(f"kept: all that is in {place}, because not all of it can be read: {error}")
        return []


def collect_shared(
    items: list[Item], settings: Settings, policy: Policy, now: float, failed: Notice
) -> list[Item]:
    """Delete the items, and return the deleted ones. What a home listed or wrote again in the
    meantime is kept; `failed` is called if the shared store refuses."""
    if settings.store.remote is None:
        return []
    place, root = settings.store.remote.place, settings.store.root
    old, gone = now - _days(policy) * DAY, []
    try:
        homes.announce(place, root, kept(root))
        needed = homes.needed(homes.lists(place), now)
        for item in items:
            first = ARTIFACT.fullmatch(item.objects[0])
            if first is None or (first[1], first[2]) not in needed:
                _delete(place, item, old)
                gone.append(item)
    except (SharedStoreError, UnreadableError) as error:
        failed(str(error))
    return gone


def _delete(place: Place, item: Item, old: float) -> None:
    def delete(name: str) -> None:
        found = place.find(name)
        if found is not None and (item.kind == LIST or _all_older({name: found}, old)):
            place.delete(name)

    delete(item.objects[0])  # of an artifact the manifest, so that nobody takes half of it
    in_parallel(delete, item.objects[1:])


def _stock(place: Place, root: Path, own: set[Name], now: float) -> SharedStock:
    found: dict[Name, dict[str, Found]] = {}
    for stage in sorted(SHARED):
        for name, one in place.names(stage).items():
            if match := ARTIFACT.fullmatch(name):
                found.setdefault((match[1], match[2]), {})[name] = one
    blobs, unfinished = place.names(BLOBS), place.names(UNFINISHED)
    digests = dict(zip(found, in_parallel(lambda one: _digests(place, *one), found), strict=True))
    lists = homes.lists(place)  # last: what was listed in the meantime counts
    lists[homes.list_name(root)] = now + 1, own
    ends = {name: expires for name, (expires, _) in lists.items()}
    return SharedStock(now, found, digests, blobs, unfinished, ends, homes.needed(lists, now))


def _digests(place: Place, stage: str, key: str) -> set[str] | None:
    """Of the files that the artifact has as blobs; none if it has no manifest."""
    try:
        data = place.read(f"{stage}/{key}/{MANIFEST}")
        files = parse(data, stage, key)["files"] if data is not None else {}
    except UnreadableError:
        return None
    return {one["sha256"] for one in files.values()}


def collectable(stock: SharedStock, policy: Policy) -> Iterator[Item]:
    """The artifacts, files, unfinished work and lists that nobody needs."""
    days = _days(policy)
    old = stock.now - days * DAY
    gone = [
        one
        for one, objects in stock.artifacts.items()
        if one not in stock.kept and _all_older(objects, old)
    ]
    staying = [stock.digests[one] for one in stock.artifacts.keys() - set(gone)]
    used = set[str]().union(*(digests or () for digests in staying))
    free = {
        name: found
        for name, found in stock.blobs.items()
        if name.rpartition("/")[2] not in used and _all_older({name: found}, old)
    }
    if None in staying:  # it may need any of them
        free = {}
    reason = f"no home has it, and older than {days:g} days"
    for one in gone:
        names = (f"{BLOBS}/{digest[:2]}/{digest}" for digest in sorted(stock.digests[one] or ()))
        objects = dict(stock.artifacts[one])
        objects |= {name: free.pop(name) for name in names if name in free}
        yield _item("shared artifact", f"{one[0]} {one[1][:12]}", objects, reason)
    if free:
        yield _item("shared files", f"{len(free):,} of no artifact", free, reason)
    yield from _unfinished(stock, old, f"not changed for {days:g} days")
    for name, expires in stock.lists.items():
        if expires <= stock.now:
            why = f"not renewed for {homes.VALID_DAYS} days"
            yield Item(LIST, name, None, why, objects=(name,))


def _days(policy: Policy) -> float:
    return max(policy.days, LEAST_DAYS)


def _unfinished(stock: SharedStock, old: float, reason: str) -> Iterator[Item]:
    below: dict[str, dict[str, Found]] = {}
    for name, found in stock.unfinished.items():
        below.setdefault(name.rpartition("/")[0], {})[name] = found
    for folder, objects in below.items():
        if _all_older(objects, old):
            stage, key = folder.split("/")[-2:]
            yield _item("shared partial work", f"{stage} {key[:12]}", objects, reason)


def _all_older(objects: Objects, moment: float) -> bool:
    return all(one.changed is not None and one.changed < moment for one in objects.values())


def _item(kind: str, name: str, objects: Objects, reason: str) -> Item:
    """The manifest of an artifact is the first of its objects."""
    names = sorted(objects, key=lambda one: (not one.endswith(f"/{MANIFEST}"), one))
    size = sum(one.bytes for one in objects.values())
    return Item(kind, name, None, reason, size, objects=tuple(names))
