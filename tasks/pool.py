"""Delegates training to a worker of the work pool `gpu`: another process, perhaps another machine.

Only names are passed: the worker finds the batches in the shared store and publishes the model
there, and this process takes it from there.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State, WorkerStatus
from prefect.client.schemas.sorting import ArtifactSort
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling

from pipelines.errors import FolioError
from pipelines.run.plan import Decision
from pipelines.run.retraining import Retraining
from pipelines.store.artifacts import Progress
from pipelines.store.live_progress import lines_of, progress_of
from tasks.synchronous import in_thread

POOL = "gpu"
DEPLOYMENT = "train/train"
POLL_SECONDS = 1.0
# A progress in Prefect, see Pace: 120 of 300 steps (40%), 12/s, 0:15 left · …
COUNTED = re.compile(
    r"(?P<done>[\d,.]+) of (?P<total>[\d,.]+) (?P<unit>\w+)[^·]*(· (?P<detail>.*))?"
)
MAX_TRIES = 5  # for a training whose process keeps dying; each continues from the last checkpoint


def hands_over(train_in: str) -> bool:
    """Whether to train in the pool: if required, or if possible and a worker is available."""
    return train_in == "pool" or (train_in == "auto" and _is_ready())


def _is_ready() -> bool:
    """Whether the pool has a worker, and the deployment that it would run."""
    try:
        with get_client(sync_client=True) as client:
            client.read_deployment_by_name(DEPLOYMENT)
            return has_worker(client)
    except (ObjectNotFound, httpx.HTTPError):
        return False


def has_worker(client: SyncPrefectClient, pool: str = POOL) -> bool:
    """Whether the work pool has a worker with a recent heartbeat."""
    return any(
        worker.status == WorkerStatus.ONLINE for worker in client.read_workers_for_work_pool(pool)
    )


@dataclass
class PoolTraining:
    """`PoolTraining(run, inputs, progress)(decision)` returns when the model is published.

    If the training process is killed, the training is submitted again, up to MAX_TRIES times. A
    restarted parent finds the training that it started. Raises FolioError with the worker's
    message.
    """

    run: Retraining
    inputs: dict[str, str]  # {stage: the key of its artifact}
    progress: Progress
    _told: int = field(default=0, init=False)  # lines of the training

    def __call__(self, decision: Decision) -> None:
        for attempt in range(1, MAX_TRIES + 1):
            state = self._wait(self._submitted(decision, attempt))
            if state.is_completed():
                return
            said = state.message or state.name
            if not state.is_crashed():
                raise FolioError(f"training in pool {POOL}: {said}")
            self.run.notice(
                f"{self.run.spec.name} · model: the training process died ({said}); "
                "restarting it from its last checkpoint"
            )
        raise FolioError(
            f"training in pool {POOL} died {MAX_TRIES} times; see the log of its worker, "
            "or train in this process with --train-in here"
        )

    def _submitted(self, decision: Decision, attempt: int) -> FlowRun:
        recipe, spec = decision.recipe, self.run.spec
        order = {
            **self.run.declared,
            "sample": spec.sample,
            "run": self.run.run,
            **self.inputs,
            "recipe": asdict(recipe),
            "force": decision.artifact is not None,
            "require_gpu": self.run.settings.gpu == "required",
        }
        return in_thread(
            run_deployment(
                DEPLOYMENT,
                parameters={"order": order},
                timeout=0,
                flow_run_name=f"{self.run.run}-model-{attempt}",
                idempotency_key=f"{self.run.run}-{recipe.key}-{attempt}",
            )
        )

    def _wait(self, training: FlowRun) -> State:
        try:
            while not (training.state and training.state.is_final()):
                time.sleep(POLL_SECONDS)
                training = self._looked_at(training)
            self._log_new_lines()
            with suppress(httpx.HTTPError), get_client(sync_client=True) as client:
                self._show(_latest_progress(client, training.id))  # how it ended
        except (KeyboardInterrupt, SystemExit):
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(training.id, Cancelling())
            raise
        return training.state

    def _looked_at(self, training: FlowRun) -> FlowRun:
        """The current state of the training; the last known one if the server does not answer."""
        try:
            with get_client(sync_client=True) as client:
                now = client.read_flow_run(training.id)
                if now.state and now.state.is_scheduled() and not has_worker(client):
                    self.progress(
                        0,
                        None,
                        f"waiting for a worker of pool {POOL}; start one with: "
                        f"folio up, or prefect worker start --pool {POOL}",
                    )
                elif now.state and now.state.is_running() and not self._shown_from_the_home():
                    self._show(_latest_progress(client, training.id))
                return now
        except httpx.HTTPError:
            return training

    def _shown_from_the_home(self) -> bool:
        """A worker on this machine notes the steps there; another only tells Prefect a share."""
        self._log_new_lines()
        found = progress_of(self.run.settings.runs.folder, self.run.run)
        if found is None or found["stage"] != "model" or not found["unit"]:
            return False
        self.progress(found["done"], found["total"], found["unit"])
        return True

    def _log_new_lines(self) -> None:
        for line in lines_of(self.run.settings.runs.folder, self.run.run)[self._told :]:
            self._told += 1
            self.run.log("model", line)

    def _show(self, artifact: Any) -> None:
        if artifact is None:
            return
        if found := COUNTED.match(artifact.description or ""):
            done, total = (float(found[part].replace(",", "")) for part in ("done", "total"))
            self.progress(done, total, " · ".join(filter(None, (found["unit"], found["detail"]))))
        else:
            self.progress(float(artifact.data), 100, f"% of {artifact.description}")


def _latest_progress(client: SyncPrefectClient, flow_run: UUID) -> Any:
    found = client.read_artifacts(
        artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run])),
        sort=ArtifactSort.UPDATED_DESC,
        limit=5,
    )
    return next((artifact for artifact in found if artifact.type == "progress"), None)
