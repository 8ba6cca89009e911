"""Checks the servers that a home uses. What is installed on the Prefect server is checked in
installed.py."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from flows.doctor import exposed_runs
from flows.server.environment import past_proxies, prefect_environment
from flows.server.lifecycle import address_of, entrance, prefect_api, stop_unused, unused
from flows.services.processes import LOG
from flows.services.status import is_answering
from flows.services.up_state import state_of
from flows.web.reachable import answers, require_answer
from pipelines.errors import FolioError
from pipelines.network.addresses import shown
from pipelines.store.live_runs import dead_runs
from pipelines.store.settings import Settings
from pipelines.upkeep.findings import FIX, Check, Finding, Repair, examined

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

SKEW_SECONDS = 5  # above this, heartbeats and schedules are misjudged
# Prefect's own timeouts, a minute per request and another for retries, are too long here.
LOOK = {"PREFECT_API_REQUEST_TIMEOUT": "10", "PREFECT_CLIENT_MAX_RETRIES": "1"}
LATE_AT_LEAST = timedelta(minutes=5)


def servers(settings: Settings) -> Iterator[Finding]:
    """The services of `folio up`, and everything about the Prefect server here or at
    PREFECT_API_URL."""
    state = state_of(settings.home)
    yield from _pages(state)
    given, own = os.environ.get("PREFECT_API_URL"), address_of(settings.home / "prefect")
    sweep = partial(_sweep, settings)
    yield from _dead(settings, sweep)
    if left := unused(settings.home / "prefect"):
        yield Finding(
            "server",
            "warning",
            f"the Prefect server of this home (pid {left.pid}) is used by no run",
            f"{FIX}, or: kill {left.pid}",
            partial(_end_left, settings),
        )
    if given:
        require_answer(given)
    elif own and not answers(f"{own}/health"):
        yield Finding(
            "server",
            "problem",
            f"the Prefect server of this home does not answer at {own}",
            "wait if it was just started; see its prefect/server.log",
        )
        return
    if api := given or own:
        yield from _asked(settings, api, bool(given or state), sweep)
    else:
        yield from exposed_runs.finding(exposed_runs.in_database(settings.home), settings.home)
        yield Finding(
            "server",
            "ok",
            "no Prefect server is running here: schedules do not start, and there is no UI",
            "folio up",
        )


def _pages(state: dict[str, Any] | None) -> Iterator[Finding]:
    if state and state["pid"] is None:
        yield Finding(
            "pages",
            "warning",
            "folio up has only just been started, or its up/up.json is unreadable",
            "try again in a moment; then: folio down, folio up",
        )
        return
    if state and not state["ready"]:
        yield Finding("pages", "ok", "folio up is still starting")
        return
    for name, address in (state["addresses"] if state else {}).items():
        if address and name != "prefect":
            there = is_answering(name, address)
            yield Finding(
                "pages",
                "ok" if there else "problem",
                f"{name} {'answers' if there else 'does not answer'} at {address}",
                None if there else f"see {LOG} in the home; then: folio down, folio up",
            )


def _dead(settings: Settings, sweep: Repair) -> Iterator[Finding]:
    for run in dead_runs(settings.runs.folder):
        yield Finding(
            "runs",
            "problem",
            f"the process of run {run['run']} was killed, but the run is still marked as running",
            FIX,
            sweep,
        )


def _end_left(settings: Settings) -> str:
    stop_unused(settings.home / "prefect")
    return "stopped the Prefect server that no run used"


def _sweep(settings: Settings) -> str:
    """On the running server, or on one started for it, because it has the history."""
    with prefect_api(settings.home):
        from flows.services.sweeping import sweep

        swept = sweep(settings.runs)
    killed = f"; killed runs: {', '.join(swept)}" if swept else ""
    return f"marked the ended runs in Prefect and in the run records{killed}"


@contextmanager
def _client(
    settings: Settings, api: str, patience: Mapping[str, str]
) -> Iterator[SyncPrefectClient]:
    with prefect_environment(
        {"PREFECT_API_URL": api, **past_proxies(), **patience, **entrance(settings.home, api)}
    ):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            yield client


def _asked(settings: Settings, api: str, lasting: bool, sweep: Repair) -> Iterator[Finding]:
    """`lasting`: the server is used by more than a single run."""
    with _client(settings, api, LOOK) as client:
        yield from _each(
            {
                "server": partial(_server, client, api),
                "runs": partial(_runs, client, settings, sweep),
                "secrets": partial(_exposed, client, settings),
            }
        )
        if lasting:
            again = partial(reinstall, settings, api)
            yield from _each({"pools": partial(_installation, client, shown(api), again)})
        else:
            yield Finding(
                "pools", "ok", "the server belongs to a single run; schedules need folio up"
            )


def _installation(client: SyncPrefectClient, api: str, again: Repair) -> Iterator[Finding]:
    from flows.doctor.installed import automations, deployments, is_bare, pools, workers

    if is_bare(client):
        yield Finding(
            "pools",
            "warning",
            f"nothing of Folio is installed at {api}: no schedules run there",
            f"{FIX}, or: python -m flows.services.installation",
            again,
        )
        return
    yield from _each(
        {
            "pools": partial(pools, client, again),
            "workers": partial(workers, client),
            "deployments": partial(deployments, client, again),
            "automations": partial(automations, client, again),
        }
    )


def _each(checks: dict[str, Check]) -> list[Finding]:
    return examined({name: partial(_in_time, check) for name, check in checks.items()})


def _in_time(check: Check) -> list[Finding]:
    try:
        return list(check())
    except httpx.TimeoutException as error:
        raise FolioError(
            "the Prefect server does not answer in time; try again: its SQLite database "
            "may have been locked. If this happens repeatedly, see PostgreSQL in "
            "docs/operating.md"
        ) from error


def reinstall(settings: Settings, api: str) -> str:
    """Installs again what the server at `api` should have."""
    with _client(settings, api, {}) as client:
        from flows.services.installation import install

        here = state_of(settings.home) is not None  # all workers are those of folio up
        install(client, sys.executable if here else None)
    return "reinstalled work pools, deployments and automations"


# The server


def _server(client: SyncPrefectClient, api: str) -> Iterator[Finding]:
    theirs, ours = client.api_version(), client.client_version()
    if theirs == ours:
        yield Finding("server", "ok", f"Prefect {theirs} answers at {shown(api)}")
    else:
        yield Finding(
            "server",
            "warning",
            f"{shown(api)} runs Prefect {theirs}, this machine {ours}",
            "install the same version on both",
        )
    yield _clock(client)


def _clock(client: SyncPrefectClient) -> Finding:
    before = time.time()
    date = client.hello().headers["date"]
    ahead = skew_seconds(parsedate_to_datetime(date).timestamp(), before, time.time())
    if abs(ahead) <= SKEW_SECONDS:
        return Finding("clock", "ok", "the clocks of the server and this machine agree")
    way = "ahead of" if ahead > 0 else "behind"
    return Finding(
        "clock",
        "problem",
        f"the server's clock is {abs(ahead):.0f} s {way} this "
        "machine's: schedules and heartbeats are misjudged",
        "synchronize both with NTP: timedatectl set-ntp true",
    )


def skew_seconds(said: float, before: float, after: float) -> float:
    """How far a clock is ahead that reported a time in whole seconds, at most a second old, between
    two local times; 0 if it may be correct. All in seconds since 1970."""
    return max(0.0, said - after) or min(0.0, said + 2 - before)


# Runs


def _runs(client: SyncPrefectClient, settings: Settings, sweep: Repair) -> Iterator[Finding]:
    from flows.services.sweeping import stuck

    dead = {run["run"] for run in dead_runs(settings.runs.folder)}  # reported already
    for run, state in stuck(client, settings.runs):
        if run.name not in dead:
            yield Finding(
                "runs",
                "problem",
                f"run {run.name} is {run.state_name} only in Prefect: "
                f"{state.message or 'it has ended'}",
                FIX,
                sweep,
            )
    for pipeline, (count, since) in _late(client).items():
        yield Finding(
            "runs",
            "warning",
            f"{count} of {pipeline} due since {since:%Y-%m-%d %H:%M} UTC and not started",
            "see the findings on pools and workers; a pool at its limit starts them later",
        )


def _exposed(client: SyncPrefectClient, settings: Settings) -> Iterator[Finding]:
    names = [run.name for run, _ in exposed_runs.on_server(client)]
    return exposed_runs.finding(names, settings.home)


def _late(client: SyncPrefectClient) -> dict[str, tuple[int, datetime]]:
    """{pipeline: number of overdue runs, since when}."""
    from prefect.client.schemas import filters
    from prefect.states import StateType
    from prefect.types import DateTime

    limit = DateTime.now(UTC) - LATE_AT_LEAST
    wanted = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(
            type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED])
        ),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=limit),
    )
    found: dict[str, tuple[int, datetime]] = {}
    for run in client.read_flow_runs(flow_run_filter=wanted, limit=200):
        name = run.parameters.get("pipeline", run.name)
        if due := run.expected_start_time:
            count, since = found.get(name, (0, due))
            found[name] = (count + 1, min(since, due))
    return found
