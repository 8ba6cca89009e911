"""Prefect automations for Folio: a silent run is marked as crashed, a crashed run is retried, and a
new champion retrains the pipelines that start from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.states import StateType

from tasks.events import CHAMPION_EVENT, resource_id

FOLLOWS = "folio upstream: "
# Six heartbeats missed. On SQLite, a busy Prefect server stores none for a minute and more; a run
# whose process is dead on this machine is found by its free lock, in seconds.
SILENCE = timedelta(seconds=180)
AFTERMATH = timedelta(seconds=20)  # a retry waits for the worker's second report of the death
AGAIN = "its process died; retried from the published artifacts"
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "AwaitingRetry", "Nothing to do")
EACH_RUN: dict[str, Any] = {
    "match": {"prefect.resource.id": "prefect.flow-run.*"},
    "for_each": {"prefect.resource.id"},
    "posture": Posture.Proactive,
    "threshold": 1,
}


def automations() -> list[AutomationCore]:
    return [_silent_has_crashed(), _crashed_is_tried_again()]


def _silent_has_crashed() -> AutomationCore:
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ENDS)},
        # Not approve: it is suspended at once, and its heartbeat may arrive after that.
        match_related=_of_flows("retrain", "stage", "score", "train"),
        within=SILENCE,
        **EACH_RUN,
    )
    return AutomationCore(
        name="folio: a silent run has crashed",
        trigger=trigger,
        enabled=True,
        description="A run without heartbeats does not stay Running forever",
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat")],
    )


def _crashed_is_tried_again() -> AutomationCore:
    """Only what a worker ran: it has a deployment."""
    trigger = EventTrigger(
        after={"prefect.flow-run.Crashed"},
        expect={"prefect.flow-run.AwaitingRetry"},
        match_related=[
            _of_flows("retrain", "stage", "score", "approve"),
            {"prefect.resource.role": "deployment", "prefect.resource.id": "prefect.deployment.*"},
        ],
        within=AFTERMATH,
        **EACH_RUN,
    )
    return AutomationCore(
        name="folio: a crashed run is tried again",
        trigger=trigger,
        enabled=True,
        description="It continues from the last artifact or the last checkpoint",
        actions=[
            ChangeFlowRunState(state=StateType.SCHEDULED, name="AwaitingRetry", message=AGAIN)
        ],
    )


def _of_flows(*names: str) -> dict[str, Any]:
    return {"prefect.resource.role": "flow", "prefect.resource.name": list(names)}


def follower_name(pipeline: str, upstream: str) -> str:
    return f"{FOLLOWS}{pipeline} follows {upstream}"


def follows(pipeline: str, upstream: str, deployment: UUID) -> AutomationCore:
    """Retrain a pipeline through its deployment when the one that it starts from has a new
    champion."""
    trigger = EventTrigger(
        expect={CHAMPION_EVENT},
        match={"prefect.resource.id": resource_id(upstream)},
        posture=Posture.Reactive,
        threshold=1,
    )
    return AutomationCore(
        name=follower_name(pipeline, upstream),
        trigger=trigger,
        enabled=True,
        description=f"{pipeline} starts from the champion of {upstream}",
        actions=[RunDeployment(deployment_id=deployment)],
    )


def install_followers(client: SyncPrefectClient, upstream: Mapping[str, str]) -> None:
    """One automation for each {pipeline: the one that it starts from}; others are deleted."""
    wanted = [
        follows(name, above, client.read_deployment_by_name(f"retrain/{name}").id)
        for name, above in upstream.items()
    ]
    for automation in wanted:
        install_automation(client, automation)
    names = {automation.name for automation in wanted}
    for found in client.read_automations():
        if found.name.startswith(FOLLOWS) and found.name not in names:
            client.delete_automation(found.id)


def install_automation(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """Create it, or replace the one with its name."""
    found = client.read_automations_by_name(automation.name)
    if found:
        client.update_automation(found[0].id, automation)
    else:
        client.create_automation(automation)
