"""Installs on a Prefect server what runs need: work pools, deployments and automations.

    python -m flows.services.installation

installs them on the server at PREFECT_API_URL, as `folio up` does on its own server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from flows.deployments import CPU, FILE, GPU, deployments, upstream
from flows.schedules import refuse_misread
from flows.server.environment import changed
from flows.services.automations import automations, install_automation, install_followers
from pipelines.declaration.load import catalog_names, load_spec
from pipelines.errors import FolioError
from pipelines.files.home import home_folder, made, private_files
from pipelines.files.machine import refusal_in
from pipelines.network.addresses import shown

LIMITS = {CPU: None, GPU: 1}  # concurrency limit: one training per GPU
# What would let a run in a process pool execute something other than its flow.
EXECUTED = ("command", "env", "working_dir")
TAG = "folio"


def install(client: SyncPrefectClient, log: Path) -> None:
    """Work pools, deployments and automations; existing ones are updated."""
    for pool, limit in LIMITS.items():
        _install_pool(client, pool, limit)
    for name in catalog_names():
        if schedule := load_spec(name).schedule:
            refuse_misread(name, schedule)
    _deploy(log)
    _remove_strangers(client)
    for automation in automations():
        install_automation(client, automation)
    install_followers(client, upstream())


def _install_pool(client: SyncPrefectClient, name: str, limit: int | None) -> None:
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
                base_job_template=job_template(),
            )
        )
        return
    client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
    if found.type == ProcessWorker.type:
        client.update_work_pool(name, WorkPoolUpdate(base_job_template=job_template()))


def job_template() -> dict[str, Any]:
    """The template of the process worker, except that a run cannot set the command, directory or
    environment. The server rejects a template that names a variable in only one of its halves."""
    template = ProcessWorker.get_default_base_job_template()
    for part in (template["job_configuration"], template["variables"]["properties"]):
        for name in EXECUTED:
            part.pop(name, None)
    template["variables"]["additionalProperties"] = False
    return template


def lets_commands_in(pool: WorkPool) -> bool:
    """Whether a run in a process pool can be given a command, an environment or a folder."""
    if pool.type != ProcessWorker.type:
        return False
    variables = pool.base_job_template.get("variables", {})
    named = {*variables.get("properties", {}), *pool.base_job_template.get("job_configuration", {})}
    return bool(named & set(EXECUTED)) or variables.get("additionalProperties") is not False


def _deploy(log: Path) -> None:
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    quiet: Mapping[str, str | None] = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": None}
    done = subprocess.run(
        command,
        cwd=FILE.parent,
        env=changed(os.environ, quiet),
        check=False,
        capture_output=True,
        text=True,
    )
    with log.open("a", encoding="utf-8") as file:
        file.write(done.stdout + done.stderr)
    if done.returncode:
        why = refusal_in(done.stdout + done.stderr, log.parent) or f"see {log}"
        raise FolioError(f"{FILE}: `prefect deploy --all` failed; {why}")


def _remove_strangers(client: SyncPrefectClient) -> None:
    """Deployments from an earlier prefect.yaml whose pipelines no longer exist."""
    wanted = {(entry["entrypoint"], entry["name"]) for entry in deployments()["deployments"]}
    for found in client.read_deployments(limit=200):
        if TAG in found.tags and (found.entrypoint, found.name) not in wanted:
            client.delete_deployment(found.id)


def main() -> None:
    try:
        with private_files():
            _install_there()
    except FolioError as error:
        sys.exit(f"folio: {error}")


def _install_there() -> None:
    from flows.server.lifecycle import prefect_api
    from flows.services.notifications import install_notifications
    from flows.services.processes import LOG

    if not os.environ.get("PREFECT_API_URL"):
        raise FolioError(
            "PREFECT_API_URL: set it to the server, such as http://127.0.0.1:4200/api; "
            "folio up manages the server of a home"
        )
    log = home_folder() / LOG
    made(log.parent)
    with prefect_api(home_folder()) as url:
        with get_client(sync_client=True) as client:
            install(client, log)
        if address := os.environ.get("FOLIO_NOTIFY"):
            install_notifications(address)
    print(f"installed pools, deployments and automations at {shown(url)}")


if __name__ == "__main__":
    main()
