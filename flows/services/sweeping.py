"""Ends runs whose process died without a report, in Prefect and in the run records.

A live worker notices the death of a process that it started. This covers all other deaths: of the
worker itself, of the machine, of a `folio run`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, State

from flows.deployments import CPU, GPU
from flows.services.automations import AGAIN
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError, UnreadableError
from pipelines.registry.lookup import waiting
from pipelines.store.live_runs import dead_runs, forget_dead, live_runs
from pipelines.store.run_records import Runs
from pipelines.tracking.live import end_killed

PENDING_AT_MOST = timedelta(minutes=5)  # a process is started within seconds
UNTOLD_AT_MOST = timedelta(minutes=5)  # an ended run tries to report to Prefect for a minute
AGAIN_WITHIN = timedelta(minutes=2)  # the server tries a crashed run again after 20 seconds
FORGOTTEN_SINCE = timedelta(days=1)  # at most: what crashed before stays as it is
GONE = "its process was killed"
PUT_OFF = "stopped with its worker; it continues when a worker is available"
BEGUN = (StateType.RUNNING, StateType.CANCELLING, StateType.PENDING)


def sweep(runs: Runs) -> list[str]:
    """End each dead run of this machine, and the other runs in `stuck`. Returns the ids of the dead
    ones.

    If no Prefect server answers, this is left to the next sweep.
    """
    swept = []
    with get_client(sync_client=True) as client, suppress(httpx.HTTPError):
        dead = dead_runs(runs.folder)
        for run, state in stuck(client, runs):
            client.set_flow_run_state(run.id, state, force=True)
        for record in dead:
            if not runs.has(record["run"]):
                with suppress(UnreadableError):  # of a training, or not completely known
                    runs.save(runs.checked(_record(record)))
            _end_training(runs, record)
            forget_dead(runs.folder, record["run"])
            swept.append(record["run"])
    return swept


def _end_training(runs: Runs, record: dict[str, Any]) -> None:
    """In MLflow, unless another process is at it. A tracking server that is away changes nothing:
    when the run is continued, so is its training."""
    run, pipeline = record.get("part_of", record["run"]), record.get("pipeline")
    busy = {one.get("part_of", one["run"]) for one in live_runs(runs.folder)}
    if pipeline and run not in busy:
        with suppress(Exception):  # the libraries raise many kinds
            end_killed(runs.folder.parent, pipeline_name(pipeline), run)


def stuck(client: SyncPrefectClient, runs: Runs) -> Iterator[tuple[FlowRun, State]]:
    """Flow runs that are active only in Prefect, with their true states."""
    dead = {record["run"] for record in dead_runs(runs.folder)}
    live = {record["run"] for record in live_runs(runs.folder)}
    now = datetime.now(UTC)
    for run in _flow_runs(client, (*BEGUN, StateType.PAUSED)):
        if run.state is None:
            continue
        age = now - run.state.timestamp
        if run.state.is_paused():
            if _is_decided(run, runs.folder.parent):
                yield run, Completed(name="Decided", message="by command; see folio models")
        elif run.state.is_pending():
            if age > PENDING_AT_MOST and run.work_pool_name in (CPU, GPU):
                yield run, Crashed(message="its process was never started")
        elif run.name in dead:
            yield run, _interrupted(run, f"{GONE}; published artifacts are kept")
        elif run.name not in live and age > UNTOLD_AT_MOST and runs.has(run.name):
            record = runs.get(run.name)
            if now - _end_of(record) > UNTOLD_AT_MOST:
                yield run, _recorded(record)
    yield from _forgotten(client, runs, live)


def _forgotten(
    client: SyncPrefectClient, runs: Runs, live: set[str]
) -> Iterator[tuple[FlowRun, State]]:
    """Crashed runs of workers that the server was to try again, had it not been killed as well."""
    now = datetime.now(UTC)
    since = filters.FlowRunFilterEndTime(after_=now - FORGOTTEN_SINCE)
    for run in _flow_runs(client, (StateType.CRASHED,), since):
        of_worker = run.deployment_id is not None and run.work_pool_name == CPU
        if not of_worker or run.name in live or run.state is None:
            continue
        if now - run.state.timestamp > AGAIN_WITHIN:
            record = runs.get(run.name) if runs.has(run.name) else {"state": "failed"}
            ended_well = record["state"] != "failed"
            yield run, _recorded(record) if ended_well else _interrupted(run, AGAIN)


def _is_decided(run: FlowRun, home: Path) -> bool:
    """Whether it asks for the approval of a version that waits no longer."""
    name, version = run.parameters.get("pipeline"), run.parameters.get("version")
    if "approve" not in run.tags or not isinstance(name, str):
        return False
    try:
        return waiting(home, name) != version
    except FolioError:  # the registry does not answer
        return False


def _end_of(record: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(record["started"]) + timedelta(seconds=record["seconds"])


def _recorded(record: dict[str, Any]) -> State:
    """How a run ended that could not report it because Prefect was not reachable."""
    if record["state"] == "failed":
        return Failed(message=record["error"])
    idle = record["state"] == "nothing-to-do"
    return Completed(name="Nothing to do" if idle else "Completed")


def _record(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a run that could not write its own."""
    known = {name: value for name, value in record.items() if name not in ("pid", "host")}
    error = f"{GONE}; run it again: it continues from the published artifacts"
    return known | {
        "state": "failed",
        "seconds": 0.0,
        "stages": [],
        "metrics": {},
        "version": None,
        "verdict": None,
        "report": None,
        "stale": [],
        "error": error,
    }


def begun(client: SyncPrefectClient) -> list[FlowRun]:
    """The flow runs that workers of our pools have started."""
    pools = filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[CPU, GPU]))
    return list(_flow_runs(client, BEGUN, work_pool_filter=pools))


def put_off(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    """Let the next worker continue the runs that were stopped with their worker."""
    for run in runs:
        now = client.read_flow_run(run.id)
        if now.state and (now.state.type in BEGUN or now.state.is_crashed()):
            client.set_flow_run_state(run.id, _interrupted(now, PUT_OFF), force=True)


def _interrupted(run: FlowRun, said: str) -> State:
    """A worker's run is continued. A training is submitted again by its run, and without a worker
    nothing would continue a run."""
    return (AwaitingRetry if run.work_pool_name == CPU else Crashed)(message=said)


def _flow_runs(
    client: SyncPrefectClient,
    states: tuple[StateType, ...],
    ended: filters.FlowRunFilterEndTime | None = None,
    **others: Any,
) -> Iterator[FlowRun]:
    state = filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=list(states)))
    wanted = filters.FlowRunFilter(state=state, end_time=ended)
    yield from client.read_flow_runs(flow_run_filter=wanted, **others)
