"""Notifications of failed and crashed runs: automations of the Prefect server that POST JSON, write
to Slack or send mail.

docs/notifications.md describes the messages. The server sends them, so they do not depend on the
run's process. All functions here raise httpx.HTTPError if the server does not answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL
from prefect.states import StateType
from prefect.types import SecretDict
from pydantic import SecretStr

from flows.services.automations import install_automation
from flows.web.mail import Mail, is_mail_address
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
HEAD = "flow.name ~ ' ' ~ flow_run.name ~ ': ' ~ flow_run.state.name"
SIGNS = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
MAIL = ("mailto:", "mailtos:")
SLACK = "slack+"  # before the address of a service that takes Slack's messages
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")


def install_notifications(given: str) -> None:
    """Send each failure and crash to these addresses only, separated by white space, in place of
    any earlier ones.

    Raises UsageError if one is not a valid address.
    """
    actions = [_action(number, url) for number, url in enumerate(_addresses(given), 1)]
    with get_client(sync_client=True) as client:
        for automation in _automations(actions):
            install_automation(client, automation)
        _forget_others(client, {action.block_document_id for action in actions})


def _forget_others(client: SyncPrefectClient, used: Collection[UUID]) -> None:
    """Delete the earlier addresses, which may be secret."""
    for kind in (Webhook, Mail):
        with suppress(ObjectNotFound):  # nobody has used the type yet
            for one in client.read_block_documents_by_type(kind.get_block_type_slug()):
                if re.fullmatch(rf"{BLOCK}(-\d+)?", one.name or "") and one.id not in used:
                    client.delete_block_document(one.id)


def _addresses(given: str) -> list[str]:
    for url in given.split():
        _require_address(url)
    if not given.split():
        _require_address(given)
    return given.split()


def _action(number: int, url: str) -> CallWebhook | SendNotification:
    """The block with the address is named by its place in the list."""
    name = BLOCK if number == 1 else f"{BLOCK}-{number}"
    if url.startswith(MAIL):
        mail = in_thread(Mail(url=SecretStr(url)).save(name, overwrite=True))
        return SendNotification(
            block_document_id=mail, subject=f"folio: {{{{ {HEAD} }}}}", body=f"{{{{ {_text()} }}}}"
        )
    headers = SecretDict({"Content-Type": "application/json"})
    block = Webhook(url=SecretStr(url.removeprefix(SLACK)), headers=headers)
    document = in_thread(block.save(name, overwrite=True))
    payload = _slack_payload() if _is_slack(url) else _payload()
    return CallWebhook(block_document_id=document, payload=payload)


def _is_slack(url: str) -> bool:
    return url.startswith(SLACK) or urlsplit(url).hostname in SLACK_HOSTS


def _require_address(url: str) -> None:
    if url.startswith(MAIL):
        if not is_mail_address(url):
            raise UsageError(
                f"{shown(url)}: not an address for mail; write it like "
                "mailtos://USER:PASSWORD@smtp.example.org?from=folio@example.org&to=me@example.org"
            )
    elif not _is_address(url.removeprefix(SLACK)):
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


def _automations(actions: Sequence[CallWebhook | SendNotification]) -> list[AutomationCore]:
    return [
        AutomationCore(
            name=name,
            description=f"Sent to the address in the block {BLOCK}",
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
            actions=list(actions),
        )
        for state, name in AUTOMATIONS.items()
    ]


def _payload() -> str:
    """JSON, once the server has filled in the values."""
    values = [f'"{name}": {{{{ {value} | tojson }}}}' for name, value in FIELDS.items()]
    return "{" + ", ".join([*values, f'"url": {{{{ ({_page()}) | tojson }}}}']) + "}"


def _slack_payload() -> str:
    """What Slack would read as a link or as a call to everybody becomes plain text."""
    plain = "".join(f" | replace({sign!r}, {name!r})" for sign, name in SIGNS.items())
    return f'{{"text": {{{{ ({_text()}){plain} | tojson }}}}}}'


def _text() -> str:
    """All that a person reads, as an expression of the template."""
    return f"{HEAD} ~ '\\n' ~ (flow_run.state.message or '') ~ '\\n' ~ {_page()}"


def _page() -> str:
    """The address of the run's page, as an expression of the template."""
    page = addresses()["prefect"] or PREFECT_UI_URL.value()
    return f"{json.dumps(f'{page}/runs/flow-run/')} ~ flow_run.id"
