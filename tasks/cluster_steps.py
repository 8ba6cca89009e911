"""The data stages on a cluster, in Prefect: how far they are, and who did which step."""

from __future__ import annotations

from typing import Any

from prefect.artifacts import TableArtifact

from pipelines.cluster.dask import Dask, Ran
from pipelines.report.visible import visible
from pipelines.run.execute import StageResult
from pipelines.run.retraining import Notice, Retraining
from tasks.artifacts import MAX_ROWS, artifact_key, put, unseen
from tasks.progress import watched


def execute(run: Retraining, stage: str, inputs: tuple[StageResult, ...]) -> StageResult:
    """Like Retraining.execute; on a cluster with a moving progress and a table of the steps."""
    steps = run.settings.steps
    if not isinstance(steps, Dask):
        return run.execute(stage, inputs)
    progress = watched(run.spec.name, run.settings.progress, run.notice)
    try:
        return run.execute(stage, inputs, progress)
    finally:
        if done := steps.taken():
            _publish(run.spec.name, stage, done, run.notice)


def _publish(pipeline: str, stage: str, done: list[Ran], notice: Notice) -> None:
    """The longest steps of a stage."""
    longest = sorted(done, key=lambda one: -one.seconds)[:MAX_ROWS]
    seconds = sum(one.seconds for one in done)
    workers = len({one.where for one in done})
    said = f"{stage} of {pipeline}: {len(done):,} steps, {seconds:,.1f} s on {workers} workers"
    with unseen(notice, f"{pipeline} · {stage}: the table of steps"):
        key = artifact_key(pipeline, f"{stage}-steps")
        put(TableArtifact(table=list(map(_row, longest)), key=key, description=visible(said)))


def _row(one: Ran) -> dict[str, Any]:
    return {
        "step": visible(one.step),
        "process": visible(one.where),
        "seconds": f"{one.seconds:.1f}",
        "peak memory": f"{one.peak_bytes / 1e6:,.0f} MB",
    }
