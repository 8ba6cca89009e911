"""Decides what can be deleted: everything that nothing kept depends on. `collect.py` deletes it.

Kept are the versions in use or needed for a rollback; the artifacts of each pipeline's last runs;
what an active run uses or made; and everything that these were made from. Unreadable data is
treated as a reason to keep: for a journal with such a line all versions, for such a record what
that run made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.registry.versions import Version, rollback_target
from pipelines.store.artifacts import Artifact
from pipelines.store.times import utc

DAY = 86_400  # seconds
BYTES = "bytes"  # of all files, in what is noted of a manifest
ENDED_WELL = ("done", "nothing-to-do")
Record = dict[str, Any]
Reigns = Mapping[str, Sequence[int]]  # {model: its champions, as `journal.reigns` gives them}


@dataclass(frozen=True)
class Policy:
    """How much to keep: the number of successful runs and versions per pipeline; the age of
    leftovers."""

    runs: int = 5
    days: float = 7.0


@dataclass(frozen=True)
class Leftover:
    """Something other than an artifact. `changed` in seconds since 1970; `busy`: in use."""

    kind: str
    path: Path
    changed: float
    key: str | None = None  # of the artifact that it belongs to
    busy: bool = False


@dataclass(frozen=True)
class Stock:
    """What there is. `live` are the active runs, `used` the artifacts that runs hold."""

    now: float  # seconds since 1970
    runs: Path  # the folder of the records
    artifacts: list[Artifact]
    used: set[Path]
    records: list[Record]  # newest first
    live: list[Record]
    versions: list[Version]
    leftovers: list[Leftover]
    reigns: Reigns | None = field(default_factory=dict)  # None: the journal is unreadable
    unread: set[str] = field(default_factory=set)  # runs with unreadable records


@dataclass(frozen=True)
class Item:
    """One item that can be deleted, and why. `key`, `version` and `objects` (of the shared store)
    identify it for deletion."""

    kind: str
    name: str
    path: Path | None
    reason: str
    bytes: int = 0
    key: str | None = field(default=None, repr=False)
    version: Version | None = field(default=None, repr=False)
    objects: tuple[str, ...] = field(default=(), repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "bytes": self.bytes,
            "path": str(self.path) if self.path else None,
            "reason": self.reason,
        }


def collectable(stock: Stock, policy: Policy) -> list[Item]:
    """Everything that can be deleted: artifacts, versions, run records, leftovers, in this
    order."""
    kept = reachable(stock, policy)
    serving = kept_versions(stock.versions, kept, policy.runs, stock.reigns)
    records = _kept_records(stock, policy, serving)
    return [
        *_artifacts(stock, kept, policy),
        *_versions(stock.versions, serving, policy),
        *_records(stock, records, policy),
        *_leftovers(stock, records, policy),
    ]


# What is kept


def reachable(stock: Stock, policy: Policy) -> list[Artifact]:
    """The artifacts that are needed, and everything upstream through the digests of their
    inputs."""
    newest = {
        (one.stage, one.digest): one
        for one in sorted(stock.artifacts, key=lambda one: one.manifest["created"])
    }
    pending = list(_roots(stock, policy))
    found: dict[Path, Artifact] = {}
    while pending:
        artifact = pending.pop()
        if artifact.path in found:
            continue
        found[artifact.path] = artifact
        if artifact.stage != "source":  # its inputs are files, not stages
            above = map(newest.get, artifact.manifest["inputs"].items())
            pending += [one for one in above if one is not None]
    return list(found.values())


def _roots(stock: Stock, policy: Policy) -> Iterator[Artifact]:
    serving = serving_versions(stock.versions, stock.reigns)
    named = {
        (key.removeprefix("folio.").removesuffix(".key"), value)
        for version in serving
        for key, value in version.tags.items()
        if key.endswith(".key")
    }
    records = [*recent(stock.records, policy.runs), *_told(stock.records, serving)]
    named |= {(entry["stage"], entry["key"]) for record in records for entry in record["stages"]}
    numbers = {(version.name, version.number) for version in serving}
    may_be_needed = _may_be_needed_by_a_run(stock, policy)
    for one in stock.artifacts:
        if (
            (one.stage, one.key) in named
            or one.path in stock.used
            or _released(one) in numbers
            or may_be_needed(one)
        ):
            yield one


def _may_be_needed_by_a_run(stock: Stock, policy: Policy) -> Callable[[Artifact], bool]:
    """Made since the oldest of the live runs started, or recently by a run that was killed: such a
    run has no record, and the next one continues from its artifacts."""
    started = [record.get("started", "") for record in stock.live]
    recorded = {record["run"] for record in stock.records}
    young = utc(stock.now - policy.days * DAY)

    def may_be_needed(artifact: Artifact) -> bool:
        created, run = artifact.manifest["created"], artifact.manifest.get("run")
        return (
            any(created >= moment for moment in started)
            or run in stock.unread
            or (run not in recorded and created > young)
        )

    return may_be_needed


def recent(records: Iterable[Record], count: int) -> list[Record]:
    """The last `count` successful runs of each pipeline, and the failed ones between them."""
    good: dict[str, int] = {}
    found = []
    for record in records:
        name = record["pipeline"]
        if good.get(name, 0) < count:
            found.append(record)
            good[name] = good.get(name, 0) + (record["state"] in ENDED_WELL)
    return found


def serving_versions(versions: Collection[Version], reigns: Reigns | None) -> list[Version]:
    """Those with an alias, such as champion, and the rollback targets."""
    if reigns is None:
        return list(versions)
    targets = [
        rollback_target(versions, name, reigns.get(name, ()))
        for name in {one.name for one in versions}
    ]
    return [one for one in versions if one.aliases or one in targets]


def kept_versions(
    versions: Collection[Version], artifacts: Iterable[Artifact], count: int, reigns: Reigns | None
) -> set[tuple[str, int]]:
    """(name, number) of those in use, of the last `count` of each name, that these artifacts
    release or started from, and that were registered by hand."""
    kept = {(one.name, one.number) for one in serving_versions(versions, reigns)}
    kept |= {(one.name, one.number) for one in versions if "folio.package" not in one.tags}
    for name in {one.name for one in versions}:
        numbers = sorted(one.number for one in versions if one.name == name)
        kept |= {(name, number) for number in numbers[-count:]}
    return kept | {version for one in artifacts if (version := _released(one) or _started(one))}


def _started(artifact: Artifact) -> tuple[str, int] | None:
    """(name, number) of the version that a pipeline started from."""
    counts = artifact.counts
    return (counts["pipeline"], counts["version"]) if artifact.stage == "start" else None


def _released(artifact: Artifact) -> tuple[str, int] | None:
    """(name, number) of the version that a release artifact represents."""
    name, number = artifact.manifest["config"].get("name"), artifact.counts.get("version")
    return (name, number) if artifact.stage == "release" and name and number else None


def _told(records: list[Record], versions: Iterable[Version]) -> list[Record]:
    """The records that versions depend on: the run that trained each, and the last to release
    it."""
    found = []
    for version in versions:
        of = [
            record
            for record in records
            if record["pipeline"] == version.name and record.get("version") == version.number
        ]
        found += of[:1]
        found += [record for record in records if record["run"] == version.tags.get("folio.run")]
    return found


def _kept_records(stock: Stock, policy: Policy, serving: set[tuple[str, int]]) -> set[str]:
    versions = [one for one in stock.versions if (one.name, one.number) in serving]
    young = utc(stock.now - policy.days * DAY)
    kept = [
        *recent(stock.records, policy.runs),
        *_told(stock.records, versions),
        *(record for record in stock.records if record["started"] > young),
    ]
    return {record["run"] for record in kept}


# What can be deleted


def _artifacts(stock: Stock, kept: list[Artifact], policy: Policy) -> Iterator[Item]:
    paths = {one.path for one in kept}
    reason = f"not needed by a version in use, by the last {policy.runs} runs or by a live run"
    for one in stock.artifacts:
        if one.path not in paths:
            name, size = f"{one.stage} {one.key[:12]}", one.manifest.get(BYTES, 0)
            yield Item("artifact", name, one.path, reason, size, key=one.key)


def _versions(
    versions: list[Version], serving: set[tuple[str, int]], policy: Policy
) -> Iterator[Item]:
    reason = f"no alias, not the rollback target, not among the last {policy.runs}"
    for one in versions:
        if (one.name, one.number) not in serving:
            yield Item(
                "model version", f"{one.name} version {one.number}", one.folder, reason, version=one
            )


def _records(stock: Stock, kept: set[str], policy: Policy) -> Iterator[Item]:
    reason = (
        f"older than {policy.days:g} days, of no version that is kept, not among the last "
        f"{policy.runs}"
    )
    for record in stock.records:
        if record["run"] not in kept:
            yield Item("run record", record["run"], stock.runs / f"{record['run']}.json", reason)


def _leftovers(stock: Stock, records: set[str], policy: Policy) -> Iterator[Item]:
    for item in stale(stock.leftovers, stock.artifacts, stock.now, policy):
        if not (item.kind == "comparison" and item.name in records):
            yield item


def stale(
    leftovers: Collection[Leftover], artifacts: Iterable[Artifact], now: float, policy: Policy
) -> Iterator[Item]:
    """The leftovers that nothing uses or will continue from."""
    locks = {one.key for one in leftovers if one.kind == "lock"}
    owners = {(one.path.parent, one.key) for one in artifacts if one.key in locks}
    owners |= {(one.path.parent, one.key) for one in leftovers if one.key and one.kind != "lock"}
    for one in leftovers:
        reason = _why(one, now - one.changed, policy.days * DAY, owners)
        if reason and not one.busy:
            yield Item(one.kind, one.path.name, one.path, reason, key=one.key)


def _why(one: Leftover, age: float, limit: float, owners: set[tuple[Path, str]]) -> str | None:
    """Why a leftover can be deleted, or None to keep it. Ages in seconds."""
    if one.kind == "lock":
        return None if (one.path.parent, one.key) in owners else "its key has nothing else"
    if one.kind == "unfinished":
        return "its writer is gone"
    if one.kind == "unfinished copy":
        return "not changed for a day" if age > DAY else None
    return f"not changed for {limit / DAY:g} days" if age > limit else None
