"""The process of a home's Prefect server: finds, starts, awaits and stops it.

prefect/server.json   url and pid of the server
prefect/server.lock   held by the server process itself; if it is free, the server is dead
prefect/server.log    its output
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.server.environment import QUIET, changed
from flows.server.process_table import leader_in, listening_port, works_in
from flows.server.server_log import why_of
from flows.server.temporary import private_folder
from flows.web.orphaned import FOLDER
from flows.web.passwords import client_environment, server_environment
from flows.web.reachable import answers
from pipelines.errors import FolioError, UnreadableError
from pipelines.files.locks import is_locked, locked
from pipelines.files.small_files import read_object
from pipelines.files.sqlite_file import address_of, is_plain
from pipelines.files.whole_files import write_json

BOOT_SECONDS = 120  # 6 on an idle machine
STOP_SECONDS = 5  # then it is killed
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Server:
    """A server process, perhaps still starting. `process` is None if another run started it."""

    url: str
    pid: int
    process: subprocess.Popen[bytes] | None = None


def running(folder: Path) -> Server | None:
    """The folder's server. If server.json does not describe it, it is found by its process."""
    if not is_alive(folder):
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
        remedy = f"stop it with: kill {pid}" if pid else f"its working directory is {folder}"
        raise FolioError(
            f"{folder}: a Prefect server (pid {pid or 'unknown'}) is running here, but "
            f"server.json has no address; {remedy}"
        )
    server = Server(f"http://127.0.0.1:{port}/api", pid)
    _note(folder, server)
    return server


def _note(folder: Path, server: Server) -> None:
    if (path := folder / "server.json").is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    write_json(path, {"url": server.url, "pid": server.pid})


def is_alive(folder: Path) -> bool:
    """Whether the server process is alive: the kernel frees its lock however it dies."""
    return is_locked(folder / "server.lock", alone=True)


def start(folder: Path, port: int) -> Server:
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
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": None,  # its output goes to server.log
        **_database(folder),
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


def _database(folder: Path) -> dict[str, str]:
    """Prefect would make an address of its home's path as it is, which not every path allows."""
    named = {"PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"}
    driver, database = "sqlite+aiosqlite", folder.absolute() / "prefect.db"
    if named & os.environ.keys() or is_plain(database):
        return {}
    return {"PREFECT_SERVER_DATABASE_CONNECTION_URL": address_of(database, driver, driver)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(folder: Path, process: subprocess.Popen[bytes] | None) -> None:
    """Stop the server, whoever started it; immediately if this is interrupted."""
    server = running(folder)
    if server is not None:
        try:
            _signal(server, signal.SIGTERM)
            _wait_for_death(folder)
        finally:
            if is_alive(folder):
                _signal(server, signal.SIGKILL)
                _wait_for_death(folder)
    (folder / "server.json").unlink(missing_ok=True)
    if process is not None:
        process.wait(STOP_SECONDS)


def _signal(server: Server, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(server.pid, number)  # it leads its own session, so its pid is the group's id


def _wait_for_death(folder: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while is_alive(folder) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS / 2)


def await_health(server: Server, folder: Path) -> None:
    """Return when the server answers. Raises FolioError if it ended or took BOOT_SECONDS."""
    deadline, log = time.monotonic() + BOOT_SECONDS, folder / "server.log"
    while not answers(f"{server.url}/health"):
        if not is_alive(folder):
            raise FolioError(f"the Prefect server ended while starting{why_of(log)}")
        if time.monotonic() > deadline:
            raise FolioError(
                f"{server.url}: the Prefect server did not answer within "
                f"{BOOT_SECONDS} s{why_of(log)}"
            )
        time.sleep(POLL_SECONDS)
