"""Finds a server among this machine's processes when the file that describes it is missing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil


def works_in(pid: int, folder: Path) -> bool:
    """Whether that process is alive and its working directory is the folder, as for a home's
    server."""
    with suppress(psutil.Error, OSError, ValueError, OverflowError):
        return os.path.samefile(psutil.Process(pid).cwd(), folder)
    return False


def leader_in(folder: Path) -> int | None:
    """The process in the folder that leads its own session."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if works_in(process.pid, folder) and os.getsid(process.pid) == process.pid:
                return process.pid
    return None


def listening_port(pid: int) -> int | None:
    """The local port on which a process listens."""
    with suppress(psutil.Error):
        for one in psutil.Process(pid).net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr.ip == "127.0.0.1":
                return one.laddr.port
    return None
