"""Notifications of failed and crashed runs: automations of the Prefect server that POST JSON.

The message is described in docs/notifications.md. The server sends it, so it does not depend on the
run's process. All functions here raise httpx.HTTPError if the server does not answer.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_UI_URL
from prefect.states import StateType
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.services.automations import install_automation
from pipelines.errors import UsageError
from pipelines.network.addresses import shown
from pipelines.report.links import addresses
from tasks.synchronous import in_thread

BLOCK = "folio-notify"
AUTOMATIONS = {StateType.FAILED: "folio: a run failed", StateType.CRASHED: "folio: a run crashed"}
# Not `train`: the run that requested the training retries it, or fails and says why.
FLOWS = ["retrain", "stage", "score"]
# A template for the server, with the run's values as JSON.
FIELDS = {
    "flow": "flow.name",
    "run": "flow_run.name",
    "state": "flow_run.state.name",
    "message": "flow_run.state.message",
}


def install_notifications(url: str) -> None:
    """POST each failure and crash to `url` only, replacing any earlier address.

    Raises UsageError if `url` is not a valid address.
    """
    _require_address(url)
    headers = SecretDict({"Content-Type": "application/json"})
    block = Webhook(url=SecretStr(url), headers=headers)
    document = in_thread(block.save(BLOCK, overwrite=True))
    with get_client(sync_client=True) as client:
        for automation in _automations(document):
            install_automation(client, automation)


def _require_address(url: str) -> None:
    if not _is_address(url):
        raise UsageError(
            f"{shown(url)}: not an http address; write it like https://example.org/hook"
        )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is not a number, an invalid IPv6 address
        return False
    return named and not any(map(str.isspace, url))


def _automations(block: UUID) -> list[AutomationCore]:
    return [
        AutomationCore(
            name=name,
            description=f"Sent to the webhook in the block {BLOCK}",
            trigger=EventTrigger(
                expect={"prefect.flow-run.*"},  # a state can have any name, such as TimedOut
                match={
                    "prefect.resource.id": "prefect.flow-run.*",
                    "prefect.state-type": state.value,
                },
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
            ),
            actions=[CallWebhook(block_document_id=block, payload=_payload())],
        )
        for state, name in AUTOMATIONS.items()
    ]


def _payload() -> str:
    """JSON, once the server has filled in the values."""
    page = addresses()["prefect"] or PREFECT_UI_URL.value()
    values = [f'"{name}": {{{{ {value} | tojson }}}}' for name, value in FIELDS.items()]
    url = json.dumps(f"{page}/runs/flow-run/{{{{ flow_run.id }}}}")
    return "{" + ", ".join([*values, f'"url": {url}']) + "}"
