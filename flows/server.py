"""The Prefect server of a home: shared by all runs in it, started and stopped with them.

    prefect/server.json   url and pid of the server
    prefect/server.lock   held by the server process itself: free means that it is dead
    prefect/users.lock    held, shared, by each run that uses it: the last one stops the server
    prefect/start.lock    held while a server is being started, joined or stopped
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from flows.environment import (
    QUIET,
    changed,
    past_proxies,
    prefect_environment,
    reported,
    without_heartbeats,
)
from flows.interrupts import swallowed_ones_again
from flows.server_log import refusals_told, why_of
from pipelines.errors import FolioError
from pipelines.home import made
from pipelines.machine import require_open_files
from pipelines.store import write_json

BOOT_SECONDS = 60
STOP_SECONDS = 5  # then it is killed
POLL_SECONDS = 0.1
WATCH_SECONDS = 1.0  # between looks at whether the server lives
LONGEST_PAUSE = 30.0


@contextmanager
def prefect_api(home: Path) -> Iterator[str]:
    """The address of a Prefect API: PREFECT_API_URL, or the server of `home`.

    Enter it before anything imports prefect: inside, the environment is set so that Prefect talks
    to that address and prints nothing. On leaving, all that was reported has reached the API, and
    the server is stopped unless another run still uses it. Raises FolioError when it does not
    answer.
    """
    given = os.environ.get("PREFECT_API_URL")
    with terminations_unwind():
        if given:
            require_answer(given)
            with prefect_environment({}), reported():
                yield given
            return
        folder = home.absolute() / "prefect"
        with shared_server(folder) as server, prefect_environment(addressed(server, folder)):
            await_health(server, folder)
            with (refusals_told(folder / "server.log"), kept_alive(folder, server), reported(),
                  without_heartbeats()):
                yield server.url


def addressed(server: Server, folder: Path) -> dict[str, str | None]:
    """The environment in which Prefect talks to the server of a folder."""
    return {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(folder), "PREFECT_PROFILE": None,
            **past_proxies()}


@dataclass(frozen=True)
class Server:
    """A server process, perhaps still booting. `process` is None when another run started it."""

    url: str
    pid: int
    process: subprocess.Popen[bytes] | None = None


@contextmanager
def shared_server(folder: Path, port: int | None = None) -> Iterator[Server]:
    """The server of a folder, perhaps still booting; started at `port`, or at any free one.

    Who leaves last stops it. One that runs already keeps the port that it has.
    """
    require_open_files()
    made(folder)
    server = None
    with (folder / "users.lock").open("a") as users:
        try:
            with _locked(folder / "start.lock"):
                fcntl.flock(users, fcntl.LOCK_SH)
                server = _running(folder) or _start(folder, port or free_port())
            yield server
        finally:
            with _locked(folder / "start.lock"):
                if _last_of(users):
                    _stop(folder, server.process if server else None)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _last_of(users: IO[str]) -> bool:
    fcntl.flock(users, fcntl.LOCK_UN)
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def _running(folder: Path) -> Server | None:
    if not _alive(folder):
        return None
    try:
        noted = json.loads((folder / "server.json").read_bytes())
        return Server(noted["url"], noted["pid"])
    except (OSError, ValueError, KeyError) as error:
        raise FolioError(f"{folder}: a Prefect server runs here, but server.json does not say "
                         "where; stop it by hand (it has this folder as its working "
                         "folder)") from error


def address_of(folder: Path) -> str | None:
    """The API of the folder's server, or None while none runs."""
    server = _running(folder) if folder.is_dir() else None
    return server.url if server else None


def _alive(folder: Path) -> bool:
    """Whether the server process lives: the kernel frees its lock however it dies."""
    try:
        with (folder / "server.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


def revive(folder: Path, server: Server) -> bool:
    """Start a server that has died again, at the address that its users know. Tells whether."""
    with _locked(folder / "start.lock"):
        if _alive(folder):
            return False
        _start(folder, urlsplit(server.url).port)
        return True


@contextmanager
def kept_alive(folder: Path, server: Server) -> Iterator[None]:
    """While inside, a server that dies is started again: Prefect's client asks for a minute."""
    over = threading.Event()

    def watch() -> None:
        pause = WATCH_SECONDS
        while not over.wait(pause):
            if revive(folder, server):
                pause = min(2 * pause, LONGEST_PAUSE)  # it may die at once, again and again

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _start(folder: Path, port: int) -> Server:
    (folder / "server.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "flows.guarded_prefect",
               "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/api"
    changes = {**QUIET, "PREFECT_HOME": str(folder), "PREFECT_PROFILE": None,
               "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": None}  # its console is server.log
    with (folder / "server.lock").open("a") as alive, (folder / "server.log").open("wb") as log:
        fcntl.flock(alive, fcntl.LOCK_EX)
        process = subprocess.Popen(
            command, cwd=folder, env=changed(os.environ, changes), stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True, pass_fds=(alive.fileno(),))
    write_json(folder / "server.json", {"url": url, "pid": process.pid})
    return Server(url, process.pid, process)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stop(folder: Path, process: subprocess.Popen[bytes] | None) -> None:
    """End the server, whoever started it; at once when this is interrupted."""
    server = _running(folder)
    if server is not None:
        try:
            _signal(server, signal.SIGTERM)
            _wait_for_death(folder)
        finally:
            if _alive(folder):
                _signal(server, signal.SIGKILL)
                _wait_for_death(folder)
    (folder / "server.json").unlink(missing_ok=True)
    if process is not None:
        process.wait(STOP_SECONDS)


def _signal(server: Server, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, number)  # it leads its own session: the group has its number


def _wait_for_death(folder: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while _alive(folder) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 2)


def await_health(server: Server, folder: Path) -> None:
    """Return when the server answers. Raises FolioError when it ended, or took BOOT_SECONDS."""
    deadline, log = time.monotonic() + BOOT_SECONDS, folder / "server.log"
    while not answers(f"{server.url}/health"):
        if not _alive(folder):
            raise FolioError(f"the Prefect server ended while it started{why_of(log)}")
        if time.monotonic() > deadline:
            raise FolioError(f"{server.url}: the Prefect server did not answer within "
                             f"{BOOT_SECONDS} s{why_of(log)}")
        time.sleep(POLL_SECONDS)


def answers(address: str) -> bool:
    """Whether a server of this machine is ready there."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def require_answer(url: str) -> None:
    """Raises FolioError when nothing answers at PREFECT_API_URL."""
    try:
        urlopen(f"{url.rstrip('/')}/health", timeout=5).close()
    except HTTPError:
        pass  # it answers; whether it lets us in is Prefect's to say
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise FolioError(f"PREFECT_API_URL={url}: does not answer ({reason}); start that server, "
                         "or unset PREFECT_API_URL to use Folio's own") from error


@contextmanager
def terminations_unwind() -> Iterator[None]:
    """SIGTERM and SIGHUP leave through the `finally` blocks, as Ctrl-C does."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, _leave)
                  for number in (signal.SIGTERM, signal.SIGHUP)
                  if signal.getsignal(number) is signal.SIG_DFL}
    try:
        with swallowed_ones_again():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
