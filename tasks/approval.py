"""Asks for approval in Prefect: starts the run that waits for a person's answer."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from pipelines.run.execute import StageResult
from pipelines.run.retraining import Notice
from tasks.artifacts import unseen
from tasks.pool import has_worker
from tasks.synchronous import in_thread

POOL = "cpu"


def ask_for_approval(pipeline: str, release: StageResult | None, notice: Notice) -> None:
    """If the version waits for approval, and a worker could ask for it."""
    if not release or release.action == "reuse" or release.artifact.counts["verdict"] != "waits":
        return
    with unseen(notice, f"{pipeline}: the question for approval"):
        if _can_ask(deployment := f"approve/{pipeline}-approve"):
            in_thread(
                run_deployment(
                    deployment,
                    parameters={"version": release.artifact.counts["version"]},
                    timeout=0,
                    as_subflow=False,
                    idempotency_key=f"approve-{release.artifact.key}",
                )
            )


def _can_ask(deployment: str) -> bool:
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            return False
        return has_worker(client, POOL)
