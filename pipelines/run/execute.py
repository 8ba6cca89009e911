"""Executes one stage: decides like the plan, then reuses the artifact or builds it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError, PendingError, UsageError
from pipelines.files.home import CHECKOUT, PROJECT
from pipelines.run.changes import differing, listed
from pipelines.run.options import Selection
from pipelines.run.plan import Decision, decide
from pipelines.run.upstream import started
from pipelines.stages import Stage, stage_named
from pipelines.store.artifacts import Artifact, Recipe, Workspace
from pipelines.store.live_progress import kept, noted
from pipelines.store.processor import another_processor, processor, processors
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from pipelines.tracking.live import Training, training_run

TRAINED = "model"  # the stage with epochs
BY_ANOTHER = "built by another run in the meantime"  # why it is reused after all
OTHERWISE = "rebuilt with other bytes than it had"
REPLACED = "replaced"  # in a manifest: the digest of the damaged artifact in whose place it is


@dataclass(frozen=True)
class StageResult:
    """The result of one stage. `seconds` is wall time, including the checks. `former` is the
    damaged artifact that was rebuilt with other bytes, if it was."""

    stage: str
    action: str
    reason: str
    seconds: float
    artifact: Artifact
    former: Artifact | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "action": self.action,
            "reason": self.reason,
            "seconds": self.seconds,
            "path": str(self.artifact.path),
            "key": self.artifact.key,
        }


def execute_stage(
    stage: Stage,
    spec: Spec,
    inputs: Mapping[str, Artifact],
    settings: Settings,
    selection: Selection = Selection(),
    run: str | None = None,
) -> StageResult:
    """The stage's artifact, reused or built, with what was done and why.

    `run` names the run in the manifest. Raises UsageError if `selection` builds on an artifact that
    does not exist, and the errors of the stage itself.
    """
    began, store = time.perf_counter(), settings.store_of(stage)
    start = started(spec, settings) if stage.upstream and not inputs else None
    if start:
        spec, inputs = start.spec, start.artifacts
    decision = decide(stage, spec, inputs, settings, selection)
    action, reason, artifact = decision.action, decision.reason, decision.artifact
    reason = start.named_in(reason) if start else reason
    said = None
    if action == "reuse" and artifact is not None:
        artifact, said = store.share(artifact)
        if not store.hold(artifact):
            action, reason = "run", "its artifact was just removed"
    if action != "reuse" and selection.needs_existing(stage.name):
        raise UsageError(
            f"there is no {stage.name} artifact to build on ({reason}); run without --only/--from"
        )
    if action != "reuse" and settings.reuse_only:
        raise PendingError(f"{spec.name}: {stage.name} must run ({reason})")
    if action != "reuse" or artifact is None:
        artifact, built = _obtain(stage, decision, spec, inputs, settings, run)
        artifact, said = store.share(artifact)
        if not built:
            action, reason = "reuse", BY_ANOTHER
    former = replaced(decision, artifact) or replaced_before(artifact, settings.runs, run)
    reason = "; ".join(filter(None, (reason, OTHERWISE if former else None, said)))
    seconds = round(time.perf_counter() - began, 3)
    return StageResult(stage.name, action, reason, seconds, artifact, former)


def replaced(decision: Decision, artifact: Artifact) -> Artifact | None:
    """The damaged artifact that was to be rebuilt, if this one has other bytes. Those of a release
    and a report may be others."""
    before = decision.damaged
    if before is None or before.digest == artifact.digest:
        return None
    return before if stage_named(decision.stage).shared else None


def replaced_before(artifact: Artifact, runs: Runs, run: str | None) -> Artifact | None:
    """The same if an earlier process of this run rebuilt it and was killed before it could stop.
    Only its digest is known: the rest is this one's. None if a record says it: the run was stopped
    for it, and whoever retries it knows."""
    origin, stage = artifact.manifest, artifact.stage
    before = origin.get(REPLACED)
    if run is None or origin.get("run") != run or before in (None, artifact.digest):
        return None
    said = [one for record in runs if record["run"] == run for one in record["stages"]]
    if any(one["key"] == artifact.key and OTHERWISE in one["reason"] for one in said):
        return None
    former = replace(artifact, manifest=origin | {"digest": before})
    return former if stage_named(stage).shared else None


def refuse_other_bytes(pipeline: str, result: StageResult, below: Sequence[str]) -> None:
    """Raises FolioError if an artifact was rebuilt with other bytes, and the stages `below`, which
    were made of those that it had, were to be reused."""
    if result.former is None or not below:
        return
    now, before = result.artifact, result.former
    files = listed(differing(now.manifest["files"], before.manifest["files"]))
    other = another_processor(processors(before.manifest), processors(now.manifest))
    made_there = f"made on another processor: {other}" if other else ""
    known = ", ".join(filter(None, (files, made_there)))
    known = f" ({known})" if known else ""
    was = "was" if len(below) == 1 else "were"
    raise FolioError(
        f"{pipeline}: {result.stage} artifact {now.key[:12]} was damaged, and {OTHERWISE}"
        f"{known}; {', '.join(below)} {was} made of the former bytes, so the run "
        "stopped here. `folio plan` shows what must run now; run again to do it"
    )


def _obtain(
    stage: Stage,
    decision: Decision,
    spec: Spec,
    inputs: Mapping[str, Artifact],
    settings: Settings,
    run: str | None,
) -> tuple[Artifact, bool]:
    origin = {
        "pipeline": spec.name,
        "profile": spec.profile,
        "seed": spec.select(stage.config).get("seed", spec.seed),
        "sample": spec.sample,
        "git_commit": git_commit(),
        "processor": processor(),
        "run": run,
        REPLACED: decision.damaged.digest if decision.damaged else None,
    }
    progress, log, training = settings.progress(stage.name), settings.log, None
    if run is not None:
        progress = noted(settings.runs.folder, run, stage.name, progress)
        log = kept(settings.runs.folder, run, log)
        if stage.name == TRAINED:
            training = _training(decision.recipe, settings, run, origin)
    return settings.store_of(stage).obtain(
        decision.recipe,
        partial(_build, stage, spec, inputs, training),
        manifest=origin,
        force=decision.artifact is not None,
        progress=progress,
        mirror=settings.mirror,
        offline=settings.offline,
        gpu=settings.gpu,
        log=log,
        steps=settings.steps,
    )


def _training(recipe: Recipe, settings: Settings, run: str, origin: Mapping[str, Any]) -> Training:
    tags = {"folio.profile": str(origin["profile"])}
    if origin["sample"]:
        tags["folio.sample"] = "true"
    if origin["git_commit"]:
        tags["mlflow.source.git.commit"] = origin["git_commit"]
    return Training(settings.home, origin["pipeline"], run, recipe.key, recipe.config, tags)


def _build(
    stage: Stage,
    spec: Spec,
    inputs: Mapping[str, Artifact],
    training: Training | None,
    work: Workspace,
) -> dict[str, Any]:
    config = spec.select(stage.config)
    if training is None:
        return stage.build(inputs, config, work)
    with training_run(training, work.log) as epochs:
        return stage.build(inputs, config, replace(work, epochs=epochs))


def draw_report(inputs: Mapping[str, Artifact], settings: Settings) -> Artifact:
    """The report of these artifacts, regardless of the current declaration."""
    stage, origin = stage_named("report"), inputs["model"].manifest
    declared = {name: origin[name] for name in ("profile", "seed", "sample")}
    spec = Spec.model_construct(name=origin["pipeline"], **declared)
    return execute_stage(stage, spec, inputs, settings, Selection((*inputs, stage.name))).artifact


@cache
def git_commit() -> str | None:
    """The commit of this code, or None outside a checkout (or without git)."""
    if not CHECKOUT:
        return None  # the repository around an installed Folio is another project's
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
