"""An earlier run, named by --using: a single stage is rerun on that run's artifacts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError, UsageError
from pipelines.run.execute import StageResult
from pipelines.run.options import Selection
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
                f"--using {run}: name the stage to rerun on that run's artifacts, with "
                "--only or --from"
            )
        return cls(settings.runs.get(run))

    @property
    def sample(self) -> bool:
        return self.record["sample"]

    def declared(
        self, pipeline: str, profile: str | None, overrides: tuple[str, ...]
    ) -> tuple[str, tuple[str, ...]]:
        """Profile and overrides: that run's, with the given ones added."""
        name = pipeline_name(pipeline)
        if name != self.record["pipeline"]:
            raise UsageError(
                f"--using {self.record['run']}: that is a run of "
                f"{self.record['pipeline']}, not of {name}"
            )
        if profile is not None:
            return profile, overrides
        return self.record["profile"], (*self.record.get("overrides", ()), *overrides)

    def result(self, stage: str, store: Store) -> StageResult:
        """The stage's artifact in that run, checked. Raises FolioError if it no longer exists."""
        started = time.perf_counter()
        keys = {entry["stage"]: entry["key"] for entry in self.record["stages"]}
        if not keys.get(stage):
            raise FolioError(
                f"run {self.record['run']} has no {stage} artifact to build on; `folio "
                f"show {self.record['run']}` lists what it has"
            )
        artifact = store.open(stage, keys[stage])
        return StageResult(
            stage,
            "reuse",
            f"from run {self.record['run']}",
            round(time.perf_counter() - started, 3),
            artifact,
        )
