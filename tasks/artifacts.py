"""What a stage leaves in Prefect for a person to look at: counts, progress, the loss curve."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from pipelines.execute import StageResult
from pipelines.store import Progress

PROGRESS_SECONDS = 2  # between updates of a progress artifact: each is a request
MAX_ROWS = 200  # of a table


def artifact_key(pipeline: str, name: str) -> str:
    """Prefect allows lower case letters, digits and dashes."""
    return f"{pipeline}-{name}".replace("_", "-")


def publish_counts(pipeline: str, result: StageResult) -> None:
    """A table of what the stage counted, whether it ran now or long ago."""
    rows = [{"count": name, "value": value} for name, value in flat(result.artifact.counts)]
    if len(rows) > MAX_ROWS:
        rows[MAX_ROWS:] = [{"count": "…", "value": f"{len(rows) - MAX_ROWS} more"}]
    create_table_artifact(
        rows, artifact_key(pipeline, result.stage),
        f"{result.stage} of {pipeline}: {result.action} ({result.reason}), "
        f"{result.seconds:.1f} s\n\n`{result.artifact.path}`")


def flat(counts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, readable value) of nested counts."""
    for name, value in counts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _readable(value)


def _readable(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_readable, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


class ProgressArtifact:
    """A Progress that shows in Prefect. When Prefect does not answer, the work goes on."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._id: UUID | None = None
        self._due = 0.0
        self._lost = False

    def __call__(self, done: float, total: float | None, unit: str) -> None:
        last = total is not None and done >= total
        if self._lost or not total or (time.monotonic() < self._due and not last):
            return
        self._due = time.monotonic() + PROGRESS_SECONDS
        try:
            self._publish(min(100.0, 100 * done / total), unit)
        except httpx.HTTPError:
            self._lost = True

    def _publish(self, percent: float, unit: str) -> None:
        if self._id is None:
            self._id = create_progress_artifact(percent, self._key, unit)
        else:
            update_progress_artifact(self._id, percent, unit)


def watched(pipeline: str, progress: Callable[[str], Progress]) -> Callable[[str], Progress]:
    """`progress`, shown in Prefect as well."""
    artifact = ProgressArtifact(artifact_key(pipeline, "progress"))

    def of_stage(stage: str) -> Progress:
        shown = progress(stage)

        def both(done: float, total: float | None, unit: str) -> None:
            shown(done, total, unit)
            artifact(done, total, unit)

        return both

    return of_stage


def publish_loss_curve(pipeline: str, model: Path) -> None:
    """The losses by epoch, from the model artifact's history, as a small picture."""
    import pyarrow.parquet as pq

    from pipelines.plots import loss_curve_png

    history = pq.read_table(model / "history.parquet")
    # Prefect stores the picture whole, and refuses a large one.
    picture = base64.b64encode(loss_curve_png(history)).decode()
    last = ", ".join(f"{name} {values[-1]:,.4g}" for name, values in history.to_pydict().items())
    create_markdown_artifact(f"![loss by epoch](data:image/png;base64,{picture})\n\n{last}",
                             artifact_key(pipeline, "loss"), f"Loss of {pipeline} by epoch")
