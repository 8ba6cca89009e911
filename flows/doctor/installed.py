"""Checks whether a Prefect server still has what `installation` installed, and has workers."""

from __future__ import annotations

from collections.abc import Iterator

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import WorkerStatus, WorkPool

from flows.deployments import GPU, upstream
from flows.services.automations import automations as declared_automations
from flows.services.automations import follower_name
from flows.services.deployed import declared, installed, undeployed
from flows.services.installation import LIMITS, deployable, lets_commands_in
from pipelines.declaration.load import load_catalog
from pipelines.upkeep.findings import FIX, Finding, Repair


def is_bare(client: SyncPrefectClient) -> bool:
    """Whether the server has nothing of Folio."""
    pools = {pool.name for pool in client.read_work_pools()}
    return not pools & set(LIMITS) and not installed(client)


def pools(client: SyncPrefectClient, again: Repair) -> Iterator[Finding]:
    found = {pool.name: pool for pool in client.read_work_pools()}
    for name in LIMITS:
        pool = found.get(name)
        if pool is None:
            yield Finding("pools", "problem", f"there is no work pool {name}", FIX, again)
        elif pool.is_paused:
            yield Finding(
                "pools",
                "problem",
                f"work pool {name} is paused: its runs do not start",
                f"{FIX}, or: prefect work-pool resume {name}",
                again,
            )
        else:
            yield _limited(client, pool)
        if pool is not None and lets_commands_in(pool):
            yield Finding(
                "pools",
                "problem",
                f"work pool {name} lets a run set the command that its worker executes",
                FIX,
                again,
            )


def _limited(client: SyncPrefectClient, pool: WorkPool) -> Finding:
    paused = [
        queue.name for queue in client.read_work_queues(work_pool_name=pool.name) if queue.is_paused
    ]
    if paused:
        return Finding(
            "pools",
            "problem",
            f"queue {paused[0]} of work pool {pool.name} is paused: its runs do not start",
            f"prefect work-queue resume {paused[0]} --pool {pool.name}",
        )
    if pool.concurrency_limit == 0:
        return Finding(
            "pools",
            "problem",
            f"the concurrency limit of work pool {pool.name} is 0: its runs do not start",
            f"prefect work-pool set-concurrency-limit {pool.name} 1",
        )
    return Finding(
        "pools",
        "ok",
        f"work pool {pool.name} is active; concurrency limit: {pool.concurrency_limit or 'none'}",
    )


def workers(client: SyncPrefectClient) -> Iterator[Finding]:
    for pool in (one.name for one in client.read_work_pools() if one.name in LIMITS):
        known = client.read_workers_for_work_pool(pool)
        online = [one.name for one in known if one.status == WorkerStatus.ONLINE]
        heard = max((at for one in known if (at := one.last_heartbeat_time)), default=None)
        if online and heard:
            yield Finding(
                "workers",
                "ok",
                f"pool {pool}: {', '.join(online)}, last heartbeat at {heard:%H:%M:%S} UTC",
            )
            continue
        since = f" since {heard:%Y-%m-%d %H:%M} UTC" if heard else ""
        so = (
            "each run trains in its own process"
            if pool == GPU
            else "runs of deployments do not start"
        )
        yield Finding(
            "workers",
            "warning" if pool == GPU else "problem",
            f"pool {pool} has had no worker heartbeat{since}: {so}",
            f"folio up, or: prefect worker start --pool {pool}",
        )


def deployments(client: SyncPrefectClient, again: Repair) -> Iterator[Finding]:
    specs, invalid = deployable()
    for name, problem in invalid.items():
        if name not in load_catalog()[1]:  # `declarations` reports these
            yield Finding("deployments", "problem", problem, "change schedule.cron in that file")
    found = {name: one for name, one in installed(client).items() if one.name not in invalid}
    wrong = undeployed(declared(specs), found, invalid)
    for text in wrong.values():
        yield Finding("deployments", "problem", text, FIX, again)
    off = sorted(
        name
        for name, one in found.items()
        if one.paused or any(not schedule.active for schedule in one.schedules)
    )
    for name in off:
        yield Finding(
            "deployments",
            "warning",
            f"{name} or one of its schedules is paused: it does not start by itself",
            f"enable it in Prefect's UI, or: prefect deployment schedule resume {name} ID",
        )
    if not wrong and not off:
        yield Finding(
            "deployments", "ok", f"{len(found)}, as in prefect.yaml; all schedules are active"
        )


def automations(client: SyncPrefectClient, again: Repair) -> Iterator[Finding]:
    known = {one.name: one for one in client.read_automations()}
    lost = {one.name: "a killed run may stay Running forever" for one in declared_automations()}
    lost |= {
        follower_name(name, above): f"a new champion of {above} does not retrain {name}"
        for name, above in upstream(deployable()[0]).items()
    }
    wrong = [name for name in lost if name not in known or not known[name].enabled]
    for name in wrong:
        so = "is disabled" if name in known else "is missing"
        text = f"the automation “{name}” {so}: {lost[name]}"
        yield Finding("automations", "problem", text, FIX, again)
    if not wrong:
        yield Finding("automations", "ok", f"{len(lost)}, all enabled")
