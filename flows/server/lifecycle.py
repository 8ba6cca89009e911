"""The Prefect server of a home: shared by all runs in it, started and stopped with them.

prefect/server.json   url and pid of the server
prefect/server.lock   held by the server process itself: free means that it is dead
prefect/users.lock    held, shared, by each run that uses it: the last one stops the server
prefect/start.lock    held while a server is being started, joined or stopped
"""

from __future__ import annotations

import os
import shutil
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
from urllib.parse import urlsplit

from flows.server.environment import (
    QUIET,
    changed,
    past_proxies,
    prefect_environment,
    reported,
    without_heartbeats,
)
from flows.server.interrupts import terminations_unwind
from flows.server.process_table import leader_in, listening_port, works_in
from flows.server.server_log import refusals_told, why_of
from flows.server.temporary import private_folder
from flows.web.orphaned import FOLDER
from flows.web.passwords import changes, choose, client_environment, server_environment
from flows.web.reachable import answers, require_answer
from pipelines.errors import FolioError, UnreadableError, UsageError
from pipelines.files.home import made
from pipelines.files.locks import is_locked, locked, share
from pipelines.files.machine import require_open_files
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json

BOOT_SECONDS = 120  # 6 on a machine that does nothing else
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
            with prefect_environment(entrance(home, given)), reported():
                yield given
            return
        folder = home.absolute() / "prefect"
        with shared_server(folder) as server, prefect_environment(addressed(server, folder)):
            await_health(server, folder)
            with (
                refusals_told(folder / "server.log"),
                kept_alive(folder, server),
                reported(),
                without_heartbeats(),
            ):
                yield server.url


def addressed(server: Server, folder: Path) -> dict[str, str | None]:
    """The environment in which Prefect talks to the server of a folder."""
    return {
        "PREFECT_API_URL": server.url,
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILE": None,
        **past_proxies(),
        **client_environment(folder.parent),
    }


def entrance(home: Path, api: str) -> dict[str, str]:
    """What lets clients into `api`: the home's password, if the home's own server answers there."""
    own = api.rstrip("/") == address_of(home / "prefect")
    return client_environment(home) if own else {}


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
    users = folder / "users.lock"
    users.touch()
    server = held = None
    try:
        with locked(folder / "start.lock"):
            held = share(users)
            server = _running(folder) or _start(folder, port or free_port())
        yield server
    finally:
        with locked(folder / "start.lock"):
            if held is not None:
                os.close(held)
            if not is_locked(users):
                _stop(folder, server.process if server else None)


def settle_password(home: Path, wanted: bool | None) -> None:
    """Make or remove the home's password. Raises UsageError while a run's server goes by the old
    way, or when it must be said whether there is to be one."""
    folder = home / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "start.lock"):
        if changes(home, wanted) and _alive(folder):
            raise UsageError(
                f"a run uses the Prefect server of {home}, whose password cannot "
                "change meanwhile; wait for its end (folio status shows it)"
            )
        choose(home, wanted)


def _running(folder: Path) -> Server | None:
    """The folder's server. One of which server.json does not tell is found by its process."""
    if not _alive(folder):
        return None
    try:
        noted = read_object(folder / "server.json", url=str, pid=int)
        if works_in(noted["pid"], folder):
            return Server(noted["url"], noted["pid"])
    except (FileNotFoundError, UnreadableError):
        pass
    pid = leader_in(folder)
    port = listening_port(pid) if pid else None
    if pid is None or port is None:
        stop = f"stop it with: kill {pid}" if pid else f"its working folder is {folder}"
        raise FolioError(
            f"{folder}: a Prefect server (pid {pid or 'unknown'}) runs here, but "
            f"server.json does not say where; {stop}"
        )
    server = Server(f"http://127.0.0.1:{port}/api", pid)
    _note(folder, server)
    return server


def _note(folder: Path, server: Server) -> None:
    if (path := folder / "server.json").is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    write_json(path, {"url": server.url, "pid": server.pid})


def address_of(folder: Path) -> str | None:
    """The API of the folder's server, or None while none runs."""
    server = _running(folder) if folder.is_dir() else None
    return server.url if server else None


def _alive(folder: Path) -> bool:
    """Whether the server process lives: the kernel frees its lock however it dies."""
    return is_locked(folder / "server.lock", alone=True)


def revive(folder: Path, server: Server) -> bool:
    """Start a server that has died again, at the address that its users know. Tells whether."""
    with locked(folder / "start.lock"):
        if _alive(folder):
            return False
        _start(folder, urlsplit(server.url).port or free_port())
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
    command = [
        sys.executable,
        "-m",
        "flows.web.prefect_app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    url = f"http://127.0.0.1:{port}/api"
    changes = {
        **QUIET,
        "PREFECT_HOME": str(folder),
        "PREFECT_PROFILE": None,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": None,  # its console is server.log
        FOLDER: str(folder),
        "TMPDIR": str(private_folder(folder / "tmp")),
        **server_environment(folder.parent),
        **client_environment(folder.parent),
    }
    with locked(folder / "server.lock") as alive, (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=changed(os.environ, changes),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(alive.fileno(),),
        )
    server = Server(url, process.pid, process)
    _note(folder, server)
    return server


def unused(folder: Path) -> Server | None:
    """A server that was left by runs that were killed: nobody uses it."""
    if not folder.is_dir() or is_locked(folder / "users.lock"):
        return None
    return _running(folder)


def stop_unused(folder: Path) -> None:
    with locked(folder / "start.lock"):
        if not is_locked(folder / "users.lock"):
            _stop(folder, None)


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
            raise FolioError(
                f"{server.url}: the Prefect server did not answer within "
                f"{BOOT_SECONDS} s{why_of(log)}"
            )
        time.sleep(POLL_SECONDS)
