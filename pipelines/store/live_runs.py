"""Which runs go on right now: a file a run, locked by its process for as long as that lives.

    runs/.live/<run>.json    what the run is; the kernel frees its lock however the process ends

So a run whose process was killed is known by its free lock, without time-outs and without a server.
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

LIVE = ".live"  # under the folder of the run records


@contextmanager
def living(runs: Path, record: dict[str, Any]) -> Iterator[None]:
    """While inside, the run of `record` (which names it under "run") counts as going on."""
    if unsafe(record["run"]) or "/" in record["run"]:
        raise UsageError(
            f"run {record['run']!r}: an id names a file; leave it empty to have one made up"
        )
    folder = made(runs / LIVE)
    path = folder / f"{record['run']}.json"
    partial = folder / f".{path.name}.{os.getpid()}"
    with locked(partial) as file:  # before it is seen under its name
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


def live_runs(runs: Path) -> list[dict[str, Any]]:
    """What `living` was given of each run that goes on, with its host and pid; oldest first."""
    return [record for record, alive in _entries(runs) if alive]


def dead_runs(runs: Path) -> list[dict[str, Any]]:
    """The same of each run of this machine whose process is gone without having said how it ended.

    They are listed until `bury` forgets them.
    """
    return [record for record, alive in _entries(runs) if not alive]


def bury(runs: Path, run: str) -> None:
    """Forget a dead run; one that another process has taken up meanwhile stays."""
    path = runs / LIVE / f"{run}.json"
    if path.is_file() and (file := try_lock(path)) is not None:
        with file:
            path.unlink(missing_ok=True)
    elif path.is_dir() or path.is_symlink():  # nothing that a run ever locked
        set_aside(path)


def _entries(runs: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each entry and whether its run lives. Of one that cannot be read only its name is known:
    a run that holds its lock may have begun at any time."""
    here = socket.gethostname()
    for path in sorted((runs / LIVE).glob("[!.]*.json")):
        alive = is_locked(path)
        try:
            record = _read(path)
        except FileNotFoundError:
            continue  # it ended just now
        except UnreadableError:
            record = {"run": path.stem}
        # The lock of another machine, over a shared folder, may not be seen from here.
        yield record, alive or record.get("host", here) != here


def _read(path: Path) -> dict[str, Any]:
    record = read_object(path, run=str, host=str, pid=int)
    if record["run"] != path.stem or not is_time(record.get("started", "2026-01-01T00:00:00Z")):
        raise UnreadableError(f"{path}: not what a run wrote")
    return record
