"""What a Prefect server has of the deployments that are declared, and what it lacks."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import filters
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from flows.deployments import Specs, deployments
from flows.forms import form

TAG = "folio"
UNSCHEDULED = ("flows.stage.stage", "flows.score.score")  # their schedules are all their user's
Entry = dict[str, Any]  # of `deployments`


def full_name(entrypoint: str | None, name: str) -> str:
    """FLOW/NAME, as Prefect calls a deployment."""
    return f"{(entrypoint or '').rpartition('.')[2]}/{name}"


def declared(specs: Specs) -> dict[str, Entry]:
    return {
        full_name(entry["entrypoint"], entry["name"]): entry
        for entry in deployments(specs)["deployments"]
    }


def installed(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """{FLOW/NAME: deployment} of Folio's on the server."""
    ours = filters.DeploymentFilter(tags=filters.DeploymentFilterTags(all_=[TAG]))
    return {
        full_name(one.entrypoint, one.name): one
        for one in client.read_deployments(deployment_filter=ours, limit=200)
    }


def earlier_name(name: str) -> str:
    """What FLOW/PIPELINE-FLOW was called before: FLOW/PIPELINE."""
    flow, _, deployment = name.partition("/")
    return f"{flow}/{deployment.removesuffix(f'-{flow}')}"


def undeployed(
    wanted: dict[str, Entry], found: dict[str, DeploymentResponse], invalid: Container[str]
) -> dict[str, str]:
    """{FLOW/NAME: why it is not as declared}. A pipeline that is not valid now keeps its own."""
    kept = {name for name, one in found.items() if one.parameters.get("pipeline") in invalid}
    strange = found.keys() - kept - wanted.keys()
    wrong = {name: f"{name} is missing" for name in wanted.keys() - found.keys()}
    wrong |= {name: f"{name} is no longer declared" for name in strange}
    for name in wanted.keys() & found.keys():
        if parts := list(_differences(wanted[name], found[name])):
            wrong[name] = f"{name} differs from prefect.yaml in: {', '.join(parts)}"
    return dict(sorted(wrong.items()))


def deploy(
    client: SyncPrefectClient, entry: Entry, before: DeploymentResponse | None = None
) -> None:
    """Make the deployment, or replace the one `before`; what has no declared schedule keeps its
    user's."""
    declared = [
        DeploymentScheduleCreate(schedule=CronSchedule(**one)) for one in entry.get("schedules", ())
    ]
    users = [
        DeploymentScheduleCreate(
            schedule=one.schedule, active=one.active, parameters=one.parameters, slug=one.slug
        )
        for one in (before.schedules if before and entry["entrypoint"] in UNSCHEDULED else ())
    ]
    client.create_deployment(
        client.create_flow_from_name(entry["entrypoint"].rpartition(".")[2]),
        entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        entrypoint=entry["entrypoint"],
        parameters=entry["parameters"],
        work_pool_name=entry["work_pool"]["name"],
        schedules=[*declared, *users],
        parameter_openapi_schema=_form(entry),
        enforce_parameter_schema=entry["enforce_parameter_schema"],
        paused=False,
        pull_steps=[],
        job_variables={},
    )


def _differences(entry: Entry, found: DeploymentResponse) -> Iterator[str]:
    """The parts of a deployment that differ from the declaration. The user may add schedules."""
    if entry["entrypoint"] != found.entrypoint:
        yield "entrypoint"
    if entry["parameters"] != found.parameters:
        yield "parameters"
    if entry["work_pool"]["name"] != found.work_pool_name:
        yield "work pool"
    known = [
        (getattr(one.schedule, "cron", None), getattr(one.schedule, "timezone", None))
        for one in found.schedules
    ]
    if any((one["cron"], one["timezone"]) not in known for one in entry.get("schedules", ())):
        yield "schedule"
    if entry["description"] != found.description or not set(entry["tags"]) <= set(found.tags):
        yield "description"
    if _filled(_form(entry)) != _filled(found.parameter_openapi_schema or {}):
        yield "form"


def _form(entry: Entry) -> dict[str, Any]:
    return form(entry["entrypoint"], entry["parameters"].get("pipeline"))


def _filled(schema: dict[str, Any]) -> dict[str, Any]:
    """As in JSON, without empty values."""
    return {name: value for name, value in json.loads(json.dumps(schema)).items() if value}
