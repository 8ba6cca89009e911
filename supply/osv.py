"""Locked versions against records of the Open Source Vulnerability format (OSV), as osv.dev
publishes them: single JSON files, or zip files of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from supply.lock import Package


@dataclass(frozen=True, order=True)
class Hole:
    package: Package
    id: str
    summary: str
    fixed: str  # versions, or ""

    def __str__(self) -> str:
        remedy = f"fixed in {self.fixed}" if self.fixed else "no fixed version"
        return f"{self.package.name} {self.package.version}: {self.id} {self.summary} ({remedy})"


def records(feed: Path) -> Iterator[dict[str, Any]]:
    """All records in a folder and in its zip files. Raises ValueError for what is none."""
    for path in sorted(feed.rglob("*")):
        if path.suffix == ".json":
            yield _record(path.read_bytes(), str(path))
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as packed:
                for name in packed.namelist():
                    if name.endswith(".json"):
                        yield _record(packed.read(name), f"{path}: {name}")


def _record(data: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{where}: not JSON") from error
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        raise ValueError(f"{where}: not a record of OSV")
    return found


def holes(packages: Iterable[Package], feed: Iterable[dict[str, Any]]) -> tuple[list[Hole], int]:
    """What is known against the packages, and how many records were about PyPI at all."""
    own = {package.name: package for package in packages}
    found, count = [], 0
    for record in feed:
        named = [one for one in record.get("affected", ()) if _ecosystem(one) == "PyPI"]
        count += bool(named)
        for one in named if "withdrawn" not in record else ():
            package = own.get(canonicalize_name(one["package"]["name"]))
            if package and _is_hit(package.version, one):
                summary = record.get("summary") or "".join(record.get("aliases", ())[:1])
                found.append(Hole(package, record["id"], summary, ", ".join(_fixes(one))))
    return sorted(set(found)), count


def _ecosystem(affected: Mapping[str, Any]) -> str:
    return str(affected.get("package", {}).get("ecosystem", "")).partition(":")[0]


def _is_hit(version: str, affected: Mapping[str, Any]) -> bool:
    if version in affected.get("versions", ()):
        return True
    ranges = [one for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM"]
    return any(_is_within(Version(version), one["events"]) for one in ranges)


def _is_within(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    """Events in order: introduced opens, fixed and last_affected close."""
    hit = False
    for event in events:
        (kind, text), *_ = event.items()
        edge = _version(text)
        if kind == "introduced" and version >= edge:
            hit = True
        elif (kind == "fixed" and version >= edge) or (kind == "last_affected" and version > edge):
            hit = False
    return hit


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")  # nothing is hidden by a version that cannot be read


def _fixes(affected: Mapping[str, Any]) -> list[str]:
    events = [event for one in affected.get("ranges", ()) for event in one.get("events", ())]
    return [event["fixed"] for event in events if "fixed" in event]
