"""Runs all services of a home in one supervising process: `folio up`.

up/lock        held by that process as long as it lives
up/up.json     its pid, the addresses, whether everything is ready
logs/up.log    the output of all of its processes
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import httpx

from flows.server.environment import changed, prefect_environment
from flows.server.idle_runs import deliver
from flows.server.interrupts import terminations_unwind
from flows.server.lifecycle import addressed, revive, settle_password, shared_server
from flows.server.server_process import Server, await_health
from flows.server.temporary import temporary_folder
from flows.services import mlflow_process
from flows.services.processes import LOG, Processes
from flows.web.home_pages import FIRST, served
from flows.web.reachable import answers
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import made
from pipelines.files.locks import is_locked, try_lock
from pipelines.files.whole_files import write_json
from pipelines.store.settings import Settings
from pipelines.upkeep.running import reloading

TEND_SECONDS = 1.0
SWEEP_SECONDS = 15.0
READY_SECONDS = 90
WORKER_QUERY_SECONDS = 2  # how often a worker polls for work; Prefect's 10 s feel slow here
HEARTBEAT_SECONDS = 30  # Prefect's minimum; automations.py waits for six
POOLS = CPU, GPU = ("cpu", "gpu")


@dataclass(frozen=True)
class Ports:
    prefect: int = 4200
    mlflow: int = 5000
    dashboard: int = 8080


def keep_up(
    settings: Settings,
    ports: Ports,
    ready: Callable[[dict[str, str | None]], None],
    say: Callable[[str], None],
    notify: str | None = None,
    password: bool | None = None,
    gpu: bool = True,
) -> None:
    """Start all services, call `ready` with the addresses, and keep them running until interrupted.

    `gpu` says whether to start a worker for trainings; without one, each run trains in its own
    process. `notify` is the address for notifications of failures, `password` whether the servers
    require a password; None leaves either unchanged. Raises UsageError if it is already running
    here or a port is taken, FolioError if something does not start. Leaves no process behind.
    """
    home = settings.home.absolute()
    with _only_one(home), terminations_unwind():
        _require_free(ports, home)
        settle_password(home, password)
        try:
            _run(replace(settings, home=home), ports, ready, say, notify, POOLS if gpu else (CPU,))
        except KeyboardInterrupt:
            say("stopping")


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    lock = try_lock(made(home / "up") / "lock")
    if lock is None:
        raise UsageError(f"folio up is already running in {home}; see: folio status")
    state = home / "up" / "up.json"
    with lock:
        state.unlink(missing_ok=True)  # of a killed one
        try:
            yield
        finally:
            state.unlink(missing_ok=True)


def _require_free(ports: Ports, home: Path) -> None:
    for name, port in vars(ports).items():
        if name == "prefect" and is_locked(home / "prefect" / "server.lock"):
            continue  # the server of an active run here: it is joined
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise UsageError(
                    f"port {port} of 127.0.0.1 is not available ({error.strerror}); "
                    f"choose another, such as --{name}-port {port + 1}"
                ) from error


def _run(
    settings: Settings,
    ports: Ports,
    ready: Callable[[dict[str, str | None]], None],
    say: Callable[[str], None],
    notify: str | None,
    pools: tuple[str, ...],
) -> None:
    home, prefect = settings.home, settings.home / "prefect"
    with ExitStack() as stack:
        temporary = stack.enter_context(temporary_folder(home / "up" / "tmp"))
        dashboard = partial(reloading, home / FIRST.lstrip("/"), settings.runs.folder)
        addresses = {
            "mlflow": mlflow_process.address(home, ports.mlflow),
            "dashboard": stack.enter_context(served(home, ports.dashboard, dashboard)),
        }
        server = stack.enter_context(shared_server(prefect, ports.prefect))
        addresses = {"prefect": server.url.removesuffix("/api"), **addresses}
        _note(home, addresses, ready=False)
        stack.enter_context(
            prefect_environment(_environment(home, server, addresses) | {"TMPDIR": str(temporary)})
        )
        processes = stack.enter_context(_processes(home, say))
        if addresses["mlflow"]:
            processes.start(
                "MLflow",
                mlflow_process.command(home, ports.mlflow),
                changed(os.environ, mlflow_process.environment(home)),
                whole=True,
            )
        page = processes.once([sys.executable, "-m", "flows.cli", "dashboard"])
        await_health(server, prefect)
        deliver(home, server.url)
        for problem in _install(settings, notify):
            say(f"not deployed: {problem}")
        for pool in pools:
            processes.start(f"the worker of pool {pool}", _worker(pool), os.environ)
        page.wait()
        _await_ready(addresses["mlflow"], pools)
        _note(home, addresses, ready=True)
        ready(addresses)
        _tend(processes, server, settings, say)


def _note(home: Path, addresses: dict[str, str | None], ready: bool) -> None:
    write_json(
        home / "up" / "up.json", {"pid": os.getpid(), "ready": ready, "addresses": addresses}
    )


def _environment(
    home: Path, server: Server, addresses: dict[str, str | None]
) -> dict[str, str | None]:
    """The environment of all services and of each run that a worker starts."""
    return {
        **addressed(server, home / "prefect"),
        "FOLIO_HOME": str(home),
        "FOLIO_PREFECT_UI": addresses["prefect"],
        "FOLIO_MLFLOW_UI": addresses["mlflow"],
        "FOLIO_DASHBOARD": addresses["dashboard"],
        "PREFECT_WORKER_QUERY_SECONDS": str(WORKER_QUERY_SECONDS),
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }


@contextmanager
def _processes(home: Path, say: Callable[[str], None]) -> Iterator[Processes]:
    """Keeps the processes running while inside. At the end, active runs are suspended."""
    from prefect.client.orchestration import get_client

    from flows.services.sweeping import begun, put_off

    processes, going_on = Processes(home / LOG, say), []
    with get_client(sync_client=True) as client:
        try:
            yield processes
        finally:
            with suppress(httpx.HTTPError):  # if the server is gone, the next sweep reports it
                going_on = begun(client)
            processes.stop()
            with suppress(httpx.HTTPError):
                put_off(client, going_on)


def _worker(pool: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        pool,
        "--name",
        f"{pool} of {socket.gethostname()}",
    ]


def _install(settings: Settings, notify: str | None) -> list[str]:
    """Returns what is wrong with declarations that could not be deployed."""
    from prefect.client.orchestration import get_client

    from flows.services.installation import install
    from flows.services.notifications import install_notifications
    from flows.services.sweeping import sweep

    with get_client(sync_client=True) as client:
        wrong = install(client, sys.executable)
    if notify:
        install_notifications(notify)
    sweep(settings.runs)
    return list(wrong.values())


def _await_ready(mlflow: str | None, pools: tuple[str, ...]) -> None:
    """Return when MLflow answers and each pool has its worker."""
    from prefect.client.orchestration import get_client

    from tasks.pool import has_worker

    deadline = time.monotonic() + READY_SECONDS
    with get_client(sync_client=True) as client:
        waiting: dict[str, Callable[[], bool]] = {
            "MLflow": lambda: not mlflow or answers(f"{mlflow}/health"),
            **{f"the worker of pool {pool}": partial(has_worker, client, pool) for pool in pools},
        }
        for name, is_there in waiting.items():
            while not is_there():
                if time.monotonic() > deadline:
                    raise FolioError(
                        f"{name} did not start within {READY_SECONDS} s; see {LOG} in the home"
                    )
                time.sleep(0.2)


def _tend(
    processes: Processes, server: Server, settings: Settings, say: Callable[[str], None]
) -> None:
    from flows.services.sweeping import sweep

    due = 0.0
    while True:
        if revive(settings.home / "prefect", server):
            say("the Prefect server died; restarting it")
        processes.tend()
        if time.monotonic() >= due:
            due = time.monotonic() + SWEEP_SECONDS
            for run in sweep(settings.runs):
                say(f"run {run}: its process was killed")
        time.sleep(TEND_SECONDS)
