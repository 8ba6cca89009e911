"""Shows the progress of training in Prefect."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from pipelines.run.retraining import Notice
from pipelines.store.artifacts import Progress
from pipelines.store.live_progress import Pace
from tasks.artifacts import artifact_key, unseen
from tasks.synchronous import in_thread

PROGRESS_SECONDS = 2  # between updates of a progress artifact: each is a request
PATIENCE = 20  # after a request, wait this many times its duration before the next


class ProgressArtifact:
    """A Progress that is shown in Prefect. If Prefect does not answer, this is reported once."""

    def __init__(self, key: str, notice: Notice) -> None:
        self._key, self._notice = key, notice
        self._id: UUID | None = None
        self._due, self._pace = 0.0, Pace()
        self._told = False

    def __call__(self, done: float, total: float | None, unit: str) -> None:
        started = time.monotonic()
        said = self._pace.describe(done, total, unit, started)
        last = total is not None and done >= total
        if not total or (started < self._due and not last):
            return
        with unseen(self._tell, self._key):
            self._publish(min(100.0, 100 * done / total), said)
        ended = time.monotonic()
        self._due = ended + max(PROGRESS_SECONDS, PATIENCE * (ended - started))

    def _publish(self, percent: float, said: str) -> None:
        if self._id is None:
            self._id = in_thread(create_progress_artifact(percent, self._key, said))
        else:
            update_progress_artifact(self._id, percent, said)

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._notice(text)


def watched(
    pipeline: str, progress: Callable[[str], Progress], notice: Notice
) -> Callable[[str], Progress]:
    """`progress`, also shown in Prefect."""
    artifact = ProgressArtifact(artifact_key(pipeline, "progress"), notice)

    def of_stage(stage: str) -> Progress:
        shown = progress(stage)

        def both(done: float, total: float | None, unit: str) -> None:
            shown(done, total, unit)
            artifact(done, total, unit)

        return both

    return of_stage
