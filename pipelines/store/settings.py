"""Where a run reads and writes, and how it may download."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.stages import Stage
from pipelines.steps.here import HERE
from pipelines.steps.step import Executor
from pipelines.store.artifacts import GpuWish, Log, Progress, Store, silent, unheard
from pipelines.store.run_records import Runs


def no_progress(stage: str) -> Progress:
    return silent


@dataclass(frozen=True)
class Settings:
    """Where a run reads and writes, and how it may download. Not part of any key."""

    home: Path
    store: Store
    runs: Runs
    mirror: str | None = None
    offline: bool = False
    allow_sample: bool = False
    gpu: GpuWish = "any"
    progress: Callable[[str], Progress] = no_progress  # a stage's name to its progress callback
    reuse_only: bool = False  # a stage that would have to run raises PendingError
    log: Log = unheard
    steps: Executor = HERE  # where the parts of the data stages are done

    @classmethod
    def at(cls, home: Path, remote: str | None = None, **others: Any) -> Settings:
        """The settings of the store and the runs under `home`.

        `remote` (FOLIO_STORE by default), such as s3://bucket/folio, shares the artifacts.
        """
        store = Store(home / "store", remote or os.environ.get("FOLIO_STORE"))
        return cls(home, store, Runs(home / "runs"), **others)

    def store_of(self, stage: Stage) -> Store:
        """Where a stage's artifacts are looked up and published."""
        return self.store if stage.shared else self.store.local
