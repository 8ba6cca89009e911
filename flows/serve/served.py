"""The version that a server answers with: the champion of the moment, or a fixed version."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError
from pipelines.registry.lookup import named_version
from pipelines.registry.versions import Version
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import package_of
from pipelines.store.times import utc

LOOK_SECONDS = 2.0  # between two looks for another champion


@dataclass(frozen=True)
class Loaded:
    predictor: Predictor
    version: int
    since: str


class Served:
    """`loaded` is replaced when there is another champion."""

    def __init__(self, home: Path, name: str, version: int | None = None) -> None:
        """Raises FolioError if there is no such version, or its package is not intact."""
        self.home, self.name, self.fixed = home, name, version
        self.problem: str | None = None
        self.loaded = _loaded(home, named_version(home, name, version))

    def look(self) -> None:
        """Load the champion if it is another one by now. If that fails, the loaded one stays, and
        `problem` says why."""
        if self.fixed is not None:
            return
        try:
            version = named_version(self.home, self.name)
            if version.number != self.loaded.version:
                self.loaded = _loaded(self.home, version)
                print(f"{self.name}: version {version.number} is champion now", file=sys.stderr)
            self.problem = None
        except FolioError as error:
            if str(error) != self.problem:
                print(f"{error}; version {self.loaded.version} still answers", file=sys.stderr)
            self.problem = str(error)

    def health(self) -> dict[str, Any]:
        described = {
            "status": "ok" if self.problem is None else "stale",
            "pipeline": self.name,
            "version": self.loaded.version,
            "kind": self.loaded.predictor.kind,
            "sample": self.loaded.predictor.sample,
            "loaded": self.loaded.since,
        }
        return described | ({"problem": self.problem} if self.problem else {})


def _loaded(home: Path, version: Version) -> Loaded:
    predictor = Predictor.load(package_of(home, version), NUMPY)
    return Loaded(predictor, version.number, utc(datetime.now(UTC)))
