"""Does steps on a Dask cluster."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipelines.cluster.address import processes
from pipelines.cluster.agreement import difference, fingerprint
from pipelines.cluster.local import local_cluster
from pipelines.cluster.worker import description, do, sees, unseen
from pipelines.errors import FolioError, first_line
from pipelines.steps.step import Done, Report, Step

ANSWER_SECONDS = 10  # for the scheduler to answer
WORKER_SECONDS = 60  # for the first worker to come
TICK_SECONDS = 2.0  # between counts of the workers


class Dask:
    """An Executor on the cluster at `address`, see `address.checked`. It connects when there is
    something to do."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._cluster: Any = None
        self._client: Any = None

    def run(
        self, place: Path, steps: Sequence[Step], report: Report, unit: str, threads: int = 2
    ) -> list[Done]:
        if not steps:
            return []
        client = self._connected(report)
        self._agree(client, place)
        waiting = _Waiting(self, client, place, steps)
        try:
            return waiting.results(report, unit)
        finally:
            waiting.cancel()

    def workers(self) -> int:
        """How many there are now."""
        try:
            return len(self._client.nthreads())
        except (OSError, TimeoutError):
            return 0

    def close(self) -> None:
        for one in (self._client, self._cluster):
            if one is not None:
                one.close()
        self._client = self._cluster = None

    def _connected(self, report: Report) -> Any:
        """The client, once there is a worker."""
        if self._client is not None and self._client.status != "running":
            self.close()
        if self._client is None:
            report(0, None, f"connecting to the cluster {self.address}")
            self._client = self._opened()
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except TimeoutError as error:
            raise FolioError(
                f"cluster {self.address}: it has had no worker for {WORKER_SECONDS} s; start one "
                f"with: dask worker {self.address}"
            ) from error
        return self._client

    def _opened(self) -> Any:
        from distributed import Client

        target: Any = self.address
        try:
            if count := processes(self.address):
                target = self._cluster = local_cluster(count)
            return Client(target, timeout=ANSWER_SECONDS, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise FolioError(
                f"cluster {self.address}: no scheduler answers ({first_line(error)[:200]}); start "
                "it (dask scheduler), correct the address, or run without --cluster"
            ) from error

    def _agree(self, client: Any, place: Path) -> None:
        """Raises FolioError if a worker would write other bytes, or does not see the folder."""
        for worker, found in sorted(client.run(description, on_error="return").items()):
            if isinstance(found, BaseException):
                raise FolioError(
                    f"worker {worker} cannot use Folio ({first_line(found)[:200]}); install the "
                    "same Folio there"
                ) from found
            if wrong := difference(worker, found):
                raise FolioError(wrong)
        for worker, found in sorted(client.run(sees, str(place), on_error="return").items()):
            if found is not True:
                raise FolioError(unseen(worker, str(place)))


class _Waiting:
    """Steps that have been handed over, and what has come back."""

    def __init__(self, dask: Dask, client: Any, place: Path, steps: Sequence[Step]) -> None:
        self._dask, self._client, self._steps = dask, client, steps
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._futures: list[Any] = []
        umask, run = _umask(), uuid4().hex
        for number, step in enumerate(steps):
            future = client.submit(
                do, str(place), step, fingerprint(), umask, key=f"{step.name}-{run}", pure=False
            )
            future.add_done_callback(lambda _, number=number: self._ended.put(number))
            self._futures.append(future)

    def results(self, report: Report, unit: str) -> list[Done]:
        """In the order of the steps, in whatever order they come. Of several errors the first
        step's is raised: it is the same one each time."""
        total, done = len(self._steps), 0
        said = f"{unit} · {_counted(self._dask.workers())}"
        found: dict[int, Done] = {}
        first = needed = total  # the first step that failed; results that are still to come
        while needed:
            report(done, total, said)
            try:
                number = self._ended.get(timeout=TICK_SECONDS)
            except queue.Empty:
                said = f"{unit} · {_counted(self._dask.workers())}"
                continue
            if self._futures[number].status == "finished":
                found[number] = self._futures[number].result()
                done, needed = done + 1, needed - (number < first)
            elif number < first:
                needed = number - sum(other < number for other in found)
                first = number
                self._client.cancel(self._futures[number + 1 :])
        if first < total:
            raise self._error(first)
        report(total, total, said)
        return [found[number] for number in range(total)]

    def _error(self, number: int) -> BaseException:
        step, address = self._steps[number].name, self._dask.address
        try:
            error = self._futures[number].exception(timeout=ANSWER_SECONDS)
        except Exception as problem:
            error = problem
        name = type(error).__name__
        if name == "KilledWorker":
            return FolioError(
                f"cluster {address}: step {step} ended several workers, one after another: they "
                "need more memory, or their logs say more; finished steps are kept"
            )
        if error is None or name in ("CancelledError", "FutureCancelledError", "CommClosedError"):
            return FolioError(
                f"cluster {address}: the scheduler is gone; start it and run again: finished steps "
                "are kept"
            )
        return error

    def cancel(self) -> None:
        """What is not finished is not needed any more."""
        if rest := [future for future in self._futures if not future.done()]:
            with suppress(OSError, TimeoutError):  # the scheduler may be gone
                self._client.cancel(rest, force=True)


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' if workers != 1 else ''}"


def _umask() -> int:
    """This process's."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
