"""Which runs are active: one file per run, locked by its process as long as that lives.

    runs/.live/<run>.json    describes the run; the kernel frees its lock however the process ends

A run whose process was killed is recognized by its free lock, without time-outs or a server.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError, UsageError
from pipelines.files.home import made
from pipelines.files.locks import is_locked, locked, try_lock
from pipelines.files.names import unsafe
from pipelines.files.small_files import read_object, set_aside
from pipelines.store.run_records import is_time

LIVE = ".live"  # in the folder of the run records


@contextmanager
def living(runs: Path, record: dict[str, Any]) -> Iterator[None]:
    """While inside, the run of `record` (which names it under "run") counts as active."""
    if unsafe(record["run"]) or "/" in record["run"]:
        raise UsageError(
            f"run {record['run']!r}: an id is used as a file name; leave it empty to get a new one"
        )
    folder = made(runs / LIVE)
    path = folder / f"{record['run']}.json"
    partial = folder / f".{path.name}.{os.getpid()}"
    with locked(partial) as file:  # before it is visible under its name
        try:
            file.truncate(0)
            json.dump(record | {"host": socket.gethostname(), "pid": os.getpid()}, file)
            file.flush()
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            _forget_notes(runs, record["run"])


def progress_file(runs: Path, run: str) -> Path:
    """Where pipelines/store/live_progress.py notes how far the run is."""
    return runs / LIVE / f"{run}.progress"


def log_file(runs: Path, run: str) -> Path:
    """Where it keeps the lines that the run's stages log."""
    return runs / LIVE / f"{run}.log"


def _forget_notes(runs: Path, run: str) -> None:
    progress_file(runs, run).unlink(missing_ok=True)
    log_file(runs, run).unlink(missing_ok=True)


def live_runs(runs: Path) -> list[dict[str, Any]]:
    """The record of each active run, with its host and pid; oldest first."""
    return [record for record, alive in _entries(runs) if alive]


def dead_runs(runs: Path) -> list[dict[str, Any]]:
    """The records of this machine's runs whose process is gone without reporting how it ended.

    They are listed until `forget_dead` removes them.
    """
    return [record for record, alive in _entries(runs) if not alive]


def forget_dead(runs: Path, run: str) -> None:
    """Forget a dead run; one that another process has resumed in the meantime stays."""
    path = runs / LIVE / f"{run}.json"
    if path.is_file() and (file := try_lock(path)) is not None:
        with file:
            path.unlink(missing_ok=True)
            _forget_notes(runs, run)
    elif path.is_dir() or path.is_symlink():  # not the id of a run
        set_aside(path)


def _entries(runs: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each entry and whether its run is alive. If the file is unreadable, only its name is known: a
    run that holds its lock may have started at any time."""
    here = socket.gethostname()
    for path in sorted((runs / LIVE).glob("[!.]*.json")):
        alive = is_locked(path)
        try:
            record = _read(path)
        except FileNotFoundError:
            continue  # it has just ended
        except UnreadableError:
            record = {"run": path.stem}
        # A lock held on another machine, over a shared folder, may not be visible here.
        yield record, alive or record.get("host", here) != here


def _read(path: Path) -> dict[str, Any]:
    record = read_object(path, run=str, host=str, pid=int)
    if record["run"] != path.stem or not is_time(record.get("started", "2026-01-01T00:00:00Z")):
        raise UnreadableError(f"{path}: not a file of an active run")
    return record
