"""Old runs in Prefect: flow runs with their task runs, logs and artifacts.

Prefect deletes its events itself, after PREFECT_SERVER_EVENTS_RETENTION_PERIOD (7 days). Without a
server, its table `flow_run` is read, which is not a public interface. Tested with Prefect 3.8.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from pipelines.errors import FolioError
from pipelines.files.sqlite_file import read_only

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FINAL = ("CANCELLED", "COMPLETED", "CRASHED", "FAILED")
RUN_ID = re.compile(r"\d{8}-\d{6}-.+-[0-9a-f]{4,6}")  # see Runs.new_id
PAGE = 200  # the API's maximum per request
LOG_SECONDS = 10  # the server deletes logs after it has responded
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class FlowRun:
    id: UUID
    name: str


def ended_before(home: Path, seconds: float) -> list[FlowRun]:
    """The flow runs that ended before that time (since 1970), oldest first.

    All flow runs in the home's own database, which is read without a server. At PREFECT_API_URL,
    which others may use too, only those named like Folio's runs.
    """
    limit = datetime.fromtimestamp(seconds, UTC)
    if os.environ.get("PREFECT_API_URL"):
        return [run for run in _asked(home, seconds) if RUN_ID.fullmatch(run.name)]
    path = home / "prefect" / "prefect.db"
    if not path.is_file():
        return []
    try:
        with read_only(path, LOG_SECONDS) as database:
            rows = database.execute(
                f"SELECT id, name FROM flow_run WHERE state_type IN {FINAL} AND end_time < ? "
                "ORDER BY end_time",
                (f"{limit:%Y-%m-%d %H:%M:%S.%f}",),
            ).fetchall()
    except sqlite3.DatabaseError as error:
        raise FolioError(
            f"{path}: Prefect's database cannot be read ({error}); start a run, which "
            "repairs what a kill left behind, or move the file away"
        ) from error
    return [FlowRun(UUID(key), name) for key, name in rows]


def delete_runs(home: Path, runs: Iterable[FlowRun]) -> Iterator[FlowRun]:
    """Delete flow runs and everything that belongs to them; yields the deleted ones.

    A flow run that was restarted in the meantime is kept.
    """
    from flows.server.lifecycle import prefect_api

    with prefect_api(home):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            deleted = [run for run in runs if _delete(client, run)]
            _await_logs(client, deleted)
    yield from deleted


def _asked(home: Path, seconds: float) -> Iterator[FlowRun]:
    from flows.server.lifecycle import prefect_api

    with prefect_api(home):
        from prefect.client.orchestration import get_client
        from prefect.client.schemas import filters
        from prefect.client.schemas.objects import StateType
        from prefect.types import DateTime

        final = [StateType(name) for name in FINAL]
        wanted = filters.FlowRunFilter(
            state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=final)),
            end_time=filters.FlowRunFilterEndTime(before_=DateTime.fromtimestamp(seconds, UTC)),
        )
        with get_client(sync_client=True) as client:
            offset = 0
            while page := client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=offset):
                yield from (FlowRun(run.id, run.name) for run in page)
                offset += PAGE


def _delete(client: SyncPrefectClient, run: FlowRun) -> bool:
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
    from prefect.exceptions import ObjectNotFound

    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
    try:
        state = client.read_flow_run(run.id).state
        if state is None or not state.is_final():
            return False
        while artifacts := client.read_artifacts(artifact_filter=of_run, limit=PAGE):
            for artifact in artifacts:
                client.delete_artifact(artifact.id)
        client.delete_flow_run(run.id)
    except ObjectNotFound:
        return False  # somebody else deleted it
    return True


def _await_logs(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    """Wait for the deletion, or the server would be stopped before."""
    from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

    deadline = time.monotonic() + LOG_SECONDS
    for start in range(0, len(runs), PAGE):
        ids = [run.id for run in runs[start : start + PAGE]]
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=ids))
        while client.read_logs(wanted, limit=1) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
