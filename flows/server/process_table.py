"""Finds a server among this machine's processes, whatever became of the file that names it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil


def works_in(pid: int, folder: Path) -> bool:
    """Whether that process lives and works in the folder, as a home's Prefect server does."""
    with suppress(psutil.Error, OSError, ValueError, OverflowError):
        return os.path.samefile(psutil.Process(pid).cwd(), folder)
    return False


def leader_in(folder: Path) -> int | None:
    """The process in the folder that leads a session of its own."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if works_in(process.pid, folder) and os.getsid(process.pid) == process.pid:
                return process.pid
    return None


def listening_port(pid: int) -> int | None:
    """The port of this machine at which a process listens."""
    with suppress(psutil.Error):
        for one in psutil.Process(pid).net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.ip == "127.0.0.1":
                return one.laddr.port
    return None
