"""An earlier run, named by --using: a single stage is repeated on just what that run had."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError, UsageError
from pipelines.run.execute import StageResult
from pipelines.run.plan import Selection
from pipelines.store.artifacts import Store
from pipelines.store.settings import Settings


@dataclass(frozen=True)
class EarlierRun:
    """The record of an earlier run, and its artifacts."""

    record: dict[str, Any]

    @classmethod
    def of(cls, run: str, selection: Selection, settings: Settings) -> EarlierRun:
        if not selection.forced:
            raise UsageError(
                f"--using {run}: say which stage is to be repeated on that run's "
                "artifacts, with --only or --from"
            )
        return cls(settings.runs.get(run))

    @property
    def sample(self) -> bool:
        return self.record["sample"]

    def declared(
        self, pipeline: str, profile: str | None, overrides: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]]:
        """Profile and overrides: that run's, the given ones on top."""
        name = Path(pipeline).stem
        if name != self.record["pipeline"]:
            raise UsageError(
                f"--using {self.record['run']}: that was a run of "
                f"{self.record['pipeline']}, not of {name}"
            )
        if profile is not None:
            return profile, overrides
        return self.record["profile"], (*self.record.get("overrides", ()), *overrides)

    def result(self, stage: str, store: Store) -> StageResult:
        """The stage as that run had it, checked. Raises FolioError when it is there no longer."""
        started = time.perf_counter()
        keys = {entry["stage"]: entry["key"] for entry in self.record["stages"]}
        if not keys.get(stage):
            raise FolioError(
                f"run {self.record['run']} has no {stage} to build on; `folio show "
                f"{self.record['run']}` lists what it has"
            )
        artifact = store.open(stage, keys[stage])
        return StageResult(
            stage,
            "reuse",
            f"as run {self.record['run']} had it",
            round(time.perf_counter() - started, 3),
            artifact,
        )
