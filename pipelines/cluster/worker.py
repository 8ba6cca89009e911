"""What a worker of the cluster does: one step at a time, if it would write the same bytes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pipelines.cluster.agreement import fingerprint
from pipelines.errors import FolioError
from pipelines.steps.step import Done, Step, run_step

ALONE = threading.Lock()  # a process has one umask, and readers change other things of it


def sees(place: str) -> bool:
    """Whether this worker has the folder, too."""
    return Path(place).is_dir()


def do(place: str, step: Step, wanted: str, umask: int) -> Done:
    """The step, done by this worker. `wanted` is the fingerprint of the one who asks. Raises
    FolioError if this worker differs (it may have come late), or does not see the folder."""
    from distributed import get_worker

    address = get_worker().address
    if fingerprint() != wanted:
        raise FolioError(
            f"worker {address} has another Folio or other libraries; install the same there"
        )
    if not sees(place):
        raise FolioError(unseen(address, place))
    with ALONE:
        before = os.umask(umask)  # what it writes becomes a part of the home
        try:
            return run_step(Path(place), step)
        finally:
            os.umask(before)


def unseen(address: str, place: str) -> str:
    return (
        f"worker {address} does not see {place}; give it the home's file system, at the same path"
    )
