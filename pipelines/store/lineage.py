"""What was made from what: from a model back to its raw files, and forward again.

Read only from manifests. A manifest identifies its inputs by content; if several artifacts have it,
the one used is the newest that existed when the other was made.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.network.addresses import config_shown
from pipelines.stages import NAMES
from pipelines.store.artifacts import KEY, Artifact, Store

TOLD = (
    "stage",
    "key",
    "digest",
    "pipeline",
    "profile",
    "sample",
    "seed",
    "created",
    "run",
    "git_commit",
    "config",
    "code",
    "libraries",
    "inputs",
)


def stored(store: Store, stage: str = "[!.]*") -> Iterator[Artifact]:
    """The artifacts of a store that are on this machine: all, or those of one stage."""
    for path in folders(store, stage):
        artifact = store.find(path.parent.name, path.name)
        if artifact is not None:
            yield artifact


def folders(store: Store, stage: str = "[!.]*") -> Iterator[Path]:
    """Where artifacts can be: everything that is called like one."""
    for folder in sorted(store.root.glob(stage)):
        with suppress(NotADirectoryError):
            yield from (folder / name for name in sorted(filter(KEY.fullmatch, os.listdir(folder))))


class Graph:
    """Artifacts, linked to their inputs."""

    def __init__(self, artifacts: Iterable[Artifact]) -> None:
        self._by_content: dict[tuple[str, str], list[Artifact]] = defaultdict(list)
        self._by_key: dict[tuple[str, str], Artifact] = {}
        for one in sorted(artifacts, key=lambda one: (one.manifest["created"], one.key)):
            self._by_content[one.stage, one.digest].append(one)
            self._by_key[one.stage, one.key] = one

    def get(self, stage: str, key: str | None, digest: str | None = None) -> Artifact | None:
        """The artifact with this key, else the newest with this content, else None."""
        alike = self._by_content.get((stage, digest or ""), [None])
        return self._by_key.get((stage, key or "")) or alike[-1]

    def made_of(self, artifact: Artifact) -> dict[str, Artifact | None]:
        """{stage: its input artifact}, None if that is gone; {} for a source."""
        if artifact.stage == "source":  # its inputs are files, not stages
            return {}
        return {
            stage: self._taken(stage, digest, artifact.manifest["created"])
            for stage, digest in artifact.manifest["inputs"].items()
        }

    def above(self, artifacts: Iterable[Artifact], upstream: bool = False) -> list[Artifact]:
        """The artifacts and all their inputs, recursively, the last stage first; with those of the
        pipelines that they started from if `upstream`."""
        found: dict[Artifact, None] = {}
        pending = list(artifacts)
        while pending:
            artifact = pending.pop()
            if artifact not in found:
                found[artifact] = None
                if upstream or artifact.stage != "start":
                    pending += filter(None, self.made_of(artifact).values())
        return sorted(found, key=_order, reverse=True)

    def below(self, artifacts: Iterable[Artifact]) -> list[Artifact]:
        """The artifacts and everything made from them, the source first."""
        made: dict[Artifact, list[Artifact]] = defaultdict(list)
        for one in self._by_key.values():
            for above in filter(None, self.made_of(one).values()):
                made[above].append(one)
        found: set[Artifact] = set()
        pending = list(artifacts)
        while pending:
            if (one := pending.pop()) not in found:
                found.add(one)
                pending += made[one]
        return sorted(found, key=_order)

    def gone(self, artifacts: Iterable[Artifact]) -> list[dict[str, str]]:
        """Their inputs that no longer exist: [{stage, digest, needed_by}]."""
        return [
            {
                "stage": stage,
                "digest": artifact.manifest["inputs"][stage],
                "needed_by": f"{artifact.stage} {artifact.key[:12]}",
            }
            for artifact in artifacts
            for stage, above in self.made_of(artifact).items()
            if above is None
        ]

    def described(self, artifact: Artifact) -> dict[str, Any]:
        """The provenance in its manifest, and `made_of`: {stage: key or None}."""
        made_of = {stage: above and above.key for stage, above in self.made_of(artifact).items()}
        return {name: artifact.manifest.get(name) for name in TOLD} | {
            "config": config_shown(artifact.manifest["config"]),
            "made_of": made_of,
            "path": str(artifact.path),
        }

    def _taken(self, stage: str, digest: str, when: str) -> Artifact | None:
        alike = self._by_content.get((stage, digest), [])
        there = [one for one in alike if one.manifest["created"] <= when]
        return next(reversed(there or alike), None)


def raw_files(source: Artifact) -> list[dict[str, Any]]:
    """The files of a source: [{name, bytes, sha256, from, address, source}]; `from` and `address`
    are of the file, or of its folder or dataset."""
    origins = source.counts.get("origins", {})
    whole: dict[str, Any] = next(iter(origins.values()), {}) if len(origins) == 1 else {}
    return [
        {
            "name": name,
            **entry,
            "from": origins.get(name, whole).get("from"),
            "address": origins.get(name, whole).get("address"),
            "source": source.key,
        }
        for name, entry in source.manifest["files"].items()
    ]


def holding(artifacts: Iterable[Artifact], file: str) -> list[tuple[Artifact, str]]:
    """(artifact, name in it) of each file with that SHA-256, or that name."""
    return [
        (one, name)
        for one in artifacts
        for name, entry in one.manifest["files"].items()
        if file in (entry["sha256"], name, name.rpartition("/")[2])
    ]


def _order(artifact: Artifact) -> tuple[int, str, str]:
    stage = NAMES.index(artifact.stage) if artifact.stage in NAMES else len(NAMES)
    return stage, artifact.manifest["created"], artifact.key
