"""Installs on a Prefect server what runs need: work pools, deployments and automations.

    python -m flows.services.installation

installs them on the server at PREFECT_API_URL, as `folio up` does on its own server.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Container
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.deployments import CPU, GPU, Specs, upstream
from flows.schedules import refuse_misread
from flows.services.automations import automations, install_automation, install_followers
from flows.services.deployed import declared, deploy, earlier_name, installed, undeployed
from pipelines.declaration.load import load_catalog
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import home_folder, private_files
from pipelines.network.addresses import shown

LIMITS = {CPU: None, GPU: 1}  # concurrency limit: one training per GPU
# What would let a run in a process pool execute something other than its flow.
EXECUTED = ("command", "env", "working_dir")
OWN_COMMAND = re.compile(r"[^{}]+ -m prefect\.engine")


def install(client: SyncPrefectClient, python: str | None = None) -> dict[str, str]:
    """Work pools, deployments and automations; existing ones are updated. Returns what is wrong
    with the declarations of pipelines that could not be deployed.

    `python` is the interpreter of all workers, if they have the same.
    """
    for pool, limit in LIMITS.items():
        _install_pool(client, pool, limit, job_template(python))
    specs, wrong = deployable()
    install_deployments(client, specs, wrong)
    for automation in automations():
        install_automation(client, automation)
    install_followers(client, upstream(specs))
    return wrong


def deployable() -> tuple[dict[str, Spec], dict[str, str]]:
    """`load_catalog`, with the schedules that Prefect would read otherwise among the wrong."""
    specs, wrong = load_catalog()
    for name, spec in specs.items():
        try:
            if spec.schedule:
                refuse_misread(name, spec.schedule)
        except UsageError as error:
            wrong[name] = str(error)
    return {name: spec for name, spec in specs.items() if name not in wrong}, wrong


def _install_pool(
    client: SyncPrefectClient, name: str, limit: int | None, template: dict[str, Any]
) -> None:
    """An existing pool keeps its limit, which the user sets to the number of GPUs; a pool of
    another type, such as docker, also keeps its template."""
    try:
        found = client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type=ProcessWorker.type,
                concurrency_limit=limit,
                base_job_template=template,
            )
        )
        return
    client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
    if found.type == ProcessWorker.type:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))


def job_template(python: str | None = None) -> dict[str, Any]:
    """The template of the process worker, except that a run cannot set the command, directory or
    environment. The server rejects a template that names a variable in only one of its halves.

    Without a command, a worker starts three processes one after another for a run, each of which
    imports Prefect; with this one, a single one.
    """
    template = ProcessWorker.get_default_base_job_template()
    for part in (template["job_configuration"], template["variables"]["properties"]):
        for name in EXECUTED:
            part.pop(name, None)
    template["variables"]["additionalProperties"] = False
    if python:
        template["job_configuration"]["command"] = shlex.join([python, "-m", "prefect.engine"])
    return template


def lets_commands_in(pool: WorkPool) -> bool:
    """Whether a run in a process pool can be given a command, an environment or a folder."""
    if pool.type != ProcessWorker.type:
        return False
    variables = pool.base_job_template.get("variables", {})
    fixed = dict(pool.base_job_template.get("job_configuration", {}))
    if OWN_COMMAND.fullmatch(str(fixed.get("command"))):
        del fixed["command"]
    named = {*variables.get("properties", {}), *fixed}
    return bool(named & set(EXECUTED)) or variables.get("additionalProperties") is not False


def install_deployments(client: SyncPrefectClient, specs: Specs, wrong: Container[str]) -> None:
    """What is as declared is left alone, with the schedules that its user paused or added."""
    wanted, found = declared(specs), installed(client)
    for name in undeployed(wanted, found, wrong):
        if name in wanted:
            deploy(client, wanted[name], found.get(name) or found.get(earlier_name(name)))
        else:
            client.delete_deployment(found[name].id)


def main() -> None:
    try:
        with private_files():
            _install_there()
    except FolioError as error:
        sys.exit(f"folio: {error}")


def _install_there() -> None:
    from flows.server.lifecycle import prefect_api
    from flows.services.notifications import install_notifications

    if not os.environ.get("PREFECT_API_URL"):
        raise FolioError(
            "PREFECT_API_URL: set it to the server, such as http://127.0.0.1:4200/api; "
            "folio up manages the server of a home"
        )
    with prefect_api(home_folder()) as url:
        with get_client(sync_client=True) as client:
            for problem in install(client).values():
                print(f"not deployed: {problem}", file=sys.stderr)
        if address := os.environ.get("FOLIO_NOTIFY"):
            install_notifications(address)
    print(f"installed pools, deployments and automations at {shown(url)}")


if __name__ == "__main__":
    main()
