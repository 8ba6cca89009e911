"""Stops a Prefect server that nobody uses because its starter was killed.

Called in the server's own process, which leads its own process group. Each user of the server holds
users.lock in its folder.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from pipelines.files.locks import is_locked, try_lock

FOLDER = "_FOLIO_SERVER_FOLDER"  # passes the folder to a server that a home starts
LOOK_SECONDS = 1.0
UNUSED_SECONDS = 30.0  # time for the next run to adopt it
STOP_SECONDS = 5.0


def end_when_unused(unused_seconds: float = UNUSED_SECONDS) -> None:
    """Start a thread that ends this process and its group once users.lock was free for that long.

    Does nothing in a server that no home started, such as that of a systemd unit.
    """
    if folder := os.environ.get(FOLDER):
        threading.Thread(target=_watch, args=(Path(folder), unused_seconds), daemon=True).start()


def _watch(folder: Path, unused_seconds: float) -> None:
    last = time.monotonic()
    while True:
        time.sleep(min(LOOK_SECONDS, unused_seconds / 4))
        if is_locked(folder / "users.lock"):
            last = time.monotonic()
        elif time.monotonic() - last >= unused_seconds:
            with suppress(OSError):
                _end_unless_joined(folder)


def _end_unless_joined(folder: Path) -> None:
    """A run that wants to join waits for start.lock, which the end of this process frees."""
    if not folder.is_dir():
        _end()  # with its home deleted, nobody can join
    start = try_lock(folder / "start.lock")
    if start is None:
        return  # it is being joined or stopped
    with start:
        if not is_locked(folder / "users.lock"):
            _end()


def _end() -> None:
    os.killpg(0, signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.killpg(0, signal.SIGKILL)
