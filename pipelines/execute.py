"""Carries out one stage: decide as the plan does, then take the artifact or make it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from pipelines.fingerprint import PROJECT
from pipelines.home import home_folder as home_folder
from pipelines.plan import Decision, Selection, decide
from pipelines.runs import Runs
from pipelines.spec import Spec
from pipelines.stages import Stage
from pipelines.store import Artifact, GpuWish, Progress, Store, Workspace, silent


def no_progress(stage: str) -> Progress:
    return silent


@dataclass(frozen=True)
class Settings:
    """Where a run reads and writes, and how it may fetch. Nothing of this is in any key."""

    home: Path
    store: Store
    runs: Runs
    mirror: str | None = None
    offline: bool = False
    allow_sample: bool = False
    gpu: GpuWish = "any"
    progress: Callable[[str], Progress] = no_progress  # a stage's name to where it reports

    @classmethod
    def at(cls, home: Path, remote: str | None = None, **others: Any) -> Settings:
        """The settings of the store and the runs under `home`.

        `remote` (FOLIO_STORE by default), such as s3://bucket/folio, shares the artifacts.
        """
        store = Store(home / "store", remote or os.environ.get("FOLIO_STORE"))
        return cls(home, store, Runs(home / "runs"), **others)

    def store_of(self, stage: Stage) -> Store:
        """Where a stage's artifacts are looked for and published."""
        return self.store if stage.shared else self.store.local


@dataclass(frozen=True)
class StageResult:
    """What became of one stage. `seconds` is wall time, the checks included."""

    stage: str
    action: str
    reason: str
    seconds: float
    artifact: Artifact

    def as_json(self) -> dict[str, Any]:
        return {"stage": self.stage, "action": self.action, "reason": self.reason,
                "seconds": self.seconds, "path": str(self.artifact.path),
                "key": self.artifact.key}


def execute_stage(stage: Stage, spec: Spec, inputs: Mapping[str, Artifact], settings: Settings,
                  selection: Selection = Selection(), run: str | None = None) -> StageResult:
    """The stage's artifact, reused or made, and what was done for it and why.

    `run` names the run in the manifest. Raises UsageError when `selection` builds on an artifact
    that is not there, and what the stage itself raises.
    """
    started, store = time.perf_counter(), settings.store_of(stage)
    decision = decide(stage, spec, inputs, settings, selection)
    action, reason, artifact = decision.action, decision.reason, decision.artifact
    if action == "reuse" and artifact is not None and not store.hold(artifact):
        action, reason = "run", "its artifact was removed just now"
    if action != "reuse" and selection.needs_existing(stage.name):
        raise UsageError(f"stage {stage.name} is not there to build on ({reason}); "
                         "run without --only/--from")
    if action != "reuse" or artifact is None:
        artifact, built = _obtain(stage, decision, spec, inputs, settings, run)
        if not built:
            action, reason = "reuse", "made meanwhile by another run"
    reason = "; ".join(filter(None, (reason, store.share(artifact))))
    return StageResult(stage.name, action, reason, round(time.perf_counter() - started, 3),
                       artifact)


def _obtain(stage: Stage, decision: Decision, spec: Spec, inputs: Mapping[str, Artifact],
            settings: Settings, run: str | None) -> tuple[Artifact, bool]:
    origin = {"pipeline": spec.name, "profile": spec.profile, "seed": spec.seed,
              "sample": spec.sample, "git_commit": git_commit(), "run": run}
    return settings.store_of(stage).obtain(
        decision.recipe, partial(_build, stage, spec, inputs), manifest=origin,
        force=decision.artifact is not None,
        progress=settings.progress(stage.name), mirror=settings.mirror, offline=settings.offline,
        gpu=settings.gpu)


def _build(stage: Stage, spec: Spec, inputs: Mapping[str, Artifact],
           work: Workspace) -> dict[str, Any]:
    return stage.build(inputs, spec.select(stage.config), work)


@cache
def git_commit() -> str | None:
    """The commit of this code, or None outside a repository (or without git)."""
    try:
        done = subprocess.run(["git", "-C", str(PROJECT), "rev-parse", "HEAD"],
                              capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
