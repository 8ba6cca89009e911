"""What is running in a home."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import httpx

from flows.server.environment import past_proxies, prefect_environment
from flows.server.lifecycle import address_of, entrance, unused
from flows.services.up_state import state_of
from flows.web.reachable import answers
from pipelines.store.live_runs import live_runs
from pipelines.store.settings import Settings
from pipelines.store.times import utc

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

NEXT_RUNS = 10  # shown


def status_of(settings: Settings) -> dict[str, Any]:
    """{up, addresses, answering, runs, left, workers, scheduled, undeployed}.

    `left`: {url, pid} of a Prefect server here that no run uses any more, else None.

    `runs` are this home's active runs. Workers, scheduled runs and `undeployed`, {deployment: why
    it is not as declared}, are reported by the Prefect server at PREFECT_API_URL, or by the home's
    own if it is running; else None.
    """
    state = state_of(settings.home)
    addresses = state["addresses"] if state else {}
    found = {
        "up": bool(state and state["ready"]),
        "addresses": addresses,
        "answering": {name: is_answering(name, address) for name, address in addresses.items()},
        "runs": live_runs(settings.runs.folder),
        "left": _left(settings),
        "workers": None,
        "scheduled": None,
        "undeployed": None,
    }
    api = os.environ.get("PREFECT_API_URL") or address_of(settings.home / "prefect")
    lasting = bool(found["up"]) or "PREFECT_API_URL" in os.environ  # not the server of one run
    return found | (_asked(api, entrance(settings.home, api), lasting) if api else {})


def _left(settings: Settings) -> dict[str, Any] | None:
    server = unused(settings.home / "prefect")
    return {"url": server.url, "pid": server.pid} if server else None


def is_answering(name: str, address: str | None) -> bool:
    """Whether any of the addresses of `folio up` answers."""
    paths = {"prefect": "/api/health", "mlflow": "/health", "dashboard": "/dashboard/index.html"}
    return address is not None and answers(f"{address}{paths[name]}")


def _asked(api: str, let_in: dict[str, str], lasting: bool) -> dict[str, Any]:
    with prefect_environment({"PREFECT_API_URL": api, **past_proxies(), **let_in}):
        from prefect.client.orchestration import get_client

        try:
            with get_client(sync_client=True) as client:
                return {
                    "workers": _workers(client),
                    "scheduled": _scheduled(client),
                    "undeployed": _undeployed(client) if lasting else None,
                }
        except httpx.HTTPError:
            return {}


def _undeployed(client: SyncPrefectClient) -> dict[str, str]:
    from flows.services.deployed import declared, installed, undeployed
    from flows.services.installation import deployable

    specs, wrong = deployable()
    return wrong | undeployed(declared(specs), installed(client), wrong)


def _workers(client: SyncPrefectClient) -> list[dict[str, Any]]:
    return [
        {
            "pool": pool.name,
            "worker": worker.name,
            "status": worker.status.value.lower(),
            "heard": utc(worker.last_heartbeat_time),
        }
        for pool in client.read_work_pools()
        for worker in client.read_workers_for_work_pool(pool.name)
    ]


def _scheduled(client: SyncPrefectClient) -> list[dict[str, Any]]:
    """The next run of each schedule and the runs that wait for a worker, in order of time."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import StateType

    state = filters.FlowRunFilterState(
        type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])
    )
    runs = client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(state=state),
        limit=200,
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
    )
    first: dict[Any, dict[str, Any]] = {}
    for run in runs:
        first.setdefault(
            run.deployment_id,
            {
                "pipeline": run.parameters.get("pipeline", run.name),
                "state": run.state_name,
                "at": utc(run.expected_start_time),
            },
        )
    return list(first.values())[:NEXT_RUNS]
