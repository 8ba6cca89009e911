"""Which runs go on right now: a file a run, locked by its process for as long as that lives.

    runs/.live/<run>.json    what the run is; the kernel frees its lock however the process ends

So a run whose process was killed is known by its free lock, without time-outs and without a server.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.home import made
from pipelines.locks import is_locked, try_lock

LIVE = ".live"  # under the folder of the run records


@contextmanager
def living(runs: Path, record: dict[str, Any]) -> Iterator[None]:
    """While inside, the run of `record` (which names it under "run") counts as going on."""
    folder = made(runs / LIVE)
    path = folder / f"{record['run']}.json"
    partial = folder / f".{path.name}.{os.getpid()}"
    with partial.open("w+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # before it is seen under its name
        json.dump(record | {"host": socket.gethostname(), "pid": os.getpid()}, file)
        file.flush()
        partial.replace(path)
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


def _entries(runs: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    for path in sorted((runs / LIVE).glob("[!.]*.json")):
        try:
            alive = is_locked(path)
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            continue  # it ended just now
        except json.JSONDecodeError:  # a machine that lost power in the middle of writing
            record, alive = {"run": path.stem}, False
        # The lock of another machine, over a shared folder, may not be seen from here.
        yield record, alive or record.get("host", socket.gethostname()) != socket.gethostname()

