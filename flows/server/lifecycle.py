"""The Prefect server of a home: shared by all runs, started and stopped with them.

prefect/users.lock    held, shared, by each run that uses the server; the last one stops it
prefect/start.lock    held while a server is being started, joined or stopped
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from flows.server.environment import past_proxies, prefect_environment, reported, without_heartbeats
from flows.server.idle_runs import deliver
from flows.server.interrupts import terminations_unwind
from flows.server.server_log import refusals_told
from flows.server.server_process import (
    Server,
    await_health,
    free_port,
    is_alive,
    running,
    start,
    stop,
)
from flows.web.passwords import changes, choose, client_environment
from flows.web.reachable import require_answer
from pipelines.errors import UsageError
from pipelines.files.home import made
from pipelines.files.locks import is_locked, locked, share
from pipelines.files.machine import require_open_files

WATCH_SECONDS = 1.0  # between checks whether the server is alive
LONGEST_PAUSE = 30.0


@contextmanager
def prefect_api(home: Path) -> Iterator[str]:
    """The address of a Prefect API: PREFECT_API_URL, or the server of `home`.

    Enter this before anything imports prefect: inside, the environment is set so that Prefect uses
    this address and prints nothing. On exit, everything reported has reached the API, and the
    server is stopped unless another run still uses it. Raises FolioError if it does not answer.
    """
    given = os.environ.get("PREFECT_API_URL")
    with terminations_unwind():
        if given:
            require_answer(given)
            with prefect_environment(entrance(home, given)), reported():
                yield given
            return
        folder = home.absolute() / "prefect"
        with shared_server(folder) as server, prefect_environment(addressed(server, folder)):
            await_health(server, folder)
            deliver(home, server.url)
            with (
                refusals_told(folder / "server.log"),
                kept_alive(folder, server),
                reported(),
                without_heartbeats(),
            ):
                yield server.url


def addressed(server: Server, folder: Path) -> dict[str, str | None]:
    """The environment in which Prefect uses the server of a folder."""
    return {
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILE": None,
        **past_proxies(),
        **client_environment(folder.parent),
    }


def entrance(home: Path, api: str) -> dict[str, str]:
    """The credentials for `api`: the home's password if it is the home's own server."""
    own = api.rstrip("/") == address_of(home / "prefect")
    return client_environment(home) if own else {}


@contextmanager
def shared_server(folder: Path, port: int | None = None) -> Iterator[Server]:
    """The server of a folder, perhaps still starting; it listens at `port`, or at any free one.

    The last user to leave stops it. A server that is already running keeps its port.
    """
    require_open_files()
    made(folder)
    users = folder / "users.lock"
    users.touch()
    server = held = None
    try:
        with locked(folder / "start.lock"):
            held = share(users)
            server = running(folder) or start(folder, port or free_port())
        yield server
    finally:
        with locked(folder / "start.lock"):
            if held is not None:
                os.close(held)
            if not is_locked(users):
                stop(folder, server.process if server else None)


def settle_password(home: Path, wanted: bool | None) -> None:
    """Create or remove the home's password. Raises UsageError while a run's server uses the old
    setting, or if the user has to choose explicitly."""
    folder = home / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "start.lock"):
        if changes(home, wanted) and is_alive(folder):
            raise UsageError(
                f"a run uses the Prefect server of {home}, so its password cannot change "
                "now; wait for the run to end (folio status shows it)"
            )
        choose(home, wanted)


def address_of(folder: Path) -> str | None:
    """The API of the folder's server, or None if none is running."""
    server = running(folder) if folder.is_dir() else None
    return server.url if server else None


def revive(folder: Path, server: Server) -> bool:
    """Restart a dead server at its old address. Returns whether it was restarted."""
    with locked(folder / "start.lock"):
        if is_alive(folder):
            return False
        start(folder, urlsplit(server.url).port or free_port())
        return True


@contextmanager
def kept_alive(folder: Path, server: Server) -> Iterator[None]:
    """While inside, a dead server is restarted: Prefect's client retries for a minute."""
    over = threading.Event()

    def watch() -> None:
        pause = WATCH_SECONDS
        while not over.wait(pause):
            if revive(folder, server):
                pause = min(2 * pause, LONGEST_PAUSE)  # it may die immediately, repeatedly

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def unused(folder: Path) -> Server | None:
    """A server left behind by killed runs, which nobody uses."""
    if not folder.is_dir() or is_locked(folder / "users.lock"):
        return None
    return running(folder)


def stop_unused(folder: Path) -> None:
    with locked(folder / "start.lock"):
        if not is_locked(folder / "users.lock"):
            stop(folder, None)
