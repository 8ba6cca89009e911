"""Runs whose process is gone without a word: ended in Prefect, told in the run records.

A worker that lives notices the death of a process that it started; this is for all other deaths:
the worker's own, the machine's, that of a `folio run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Crashed, State

from flows.deployments import CPU, GPU
from pipelines.liveness import bury, dead_runs
from pipelines.runs import Runs

PENDING_AT_MOST = timedelta(minutes=5)  # a process is started within seconds
GONE = "its process was killed"
GOING_ON = (StateType.RUNNING, StateType.CANCELLING)
BEGUN = (*GOING_ON, StateType.PENDING)


def sweep(runs: Runs) -> list[str]:
    """End each dead run of this machine. Returns their ids.

    In Prefect it becomes CRASHED, upon which a run of a deployment is tried again (see
    installation.py); without a Prefect server that answers it is left for the next sweep.
    """
    swept = []
    with get_client(sync_client=True) as client, suppress(httpx.HTTPError):
        for record in dead_runs(runs.folder):
            _end(client, record["run"])
            if "part_of" not in record and not runs.has(record["run"]):
                runs.save(_record(record))
            bury(runs.folder, record["run"])
            swept.append(record["run"])
        _end_unborn(client)
    return swept


def _end(client: SyncPrefectClient, name: str) -> None:
    for run in _flow_runs(client, filters.FlowRunFilterName(any_=[name]), GOING_ON):
        client.set_flow_run_state(run.id, Crashed(message=f"{GONE}; what it published stays"),
                                  force=True)


def _end_unborn(client: SyncPrefectClient) -> None:
    """Runs whose worker died before it had started their process."""
    for run in begun(client):
        if run.state.is_pending() and run.state.timestamp < datetime.now(UTC) - PENDING_AT_MOST:
            client.set_flow_run_state(run.id, Crashed(message="its process was never started"),
                                      force=True)


def _record(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that could not write its own."""
    known = {name: value for name, value in record.items() if name not in ("pid", "host")}
    error = f"{GONE}; run it again: it goes on from what was published"
    return known | {"state": "failed", "seconds": 0.0, "stages": [], "metrics": {},
                    "version": None, "verdict": None, "report": None, "stale": [], "error": error}


def begun(client: SyncPrefectClient) -> list[FlowRun]:
    """The flow runs that workers of our pools have begun."""
    pools = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[CPU, GPU]))
    return list(_flow_runs(client, None, BEGUN, work_pool_filter=pools))


def put_off(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    """Have those that were stopped with their worker taken up again by the next one.

    A training is handed over anew by the run that it is part of.
    """
    for run in runs:
        now = client.read_flow_run(run.id)
        if now.state and (now.state.type in BEGUN or now.state.is_crashed()):
            client.set_flow_run_state(run.id, _for_later(now), force=True)


def _for_later(run: FlowRun) -> State:
    said = "stopped with its worker; it goes on when there is one again"
    return (Crashed if run.work_pool_name == GPU else AwaitingRetry)(message=said)


def _flow_runs(client: SyncPrefectClient, name: filters.FlowRunFilterName | None,
               states: tuple[StateType, ...], **others: Any) -> Iterator[FlowRun]:
    state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states)))
    yield from client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(name=name, state=state), **others)
