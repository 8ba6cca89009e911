"""Does steps on a Dask cluster."""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from pipelines.cluster.address import processes
from pipelines.cluster.agreement import Description, difference, fingerprint
from pipelines.cluster.local import local_cluster
from pipelines.cluster.worker import sees, unseen
from pipelines.errors import FolioError, first_line
from pipelines.steps.step import Done, Report, Step

ANSWER_SECONDS = 10  # for the scheduler to answer
WORKER_SECONDS = 60  # for the first worker to come
TICK_SECONDS = 2.0  # between counts of the workers
CLOSE_SECONDS = 5  # for the cluster to take leave
# What Dask's client raises when the scheduler is not there any more.
GONE = (OSError, TimeoutError, asyncio.CancelledError, CancelledError)


class Ran(NamedTuple):
    """A step that a worker has done: in which process, how long, and how much memory that had at
    most."""

    step: str
    where: str
    seconds: float
    peak_bytes: int


class Dask:
    """An Executor on the cluster at `address`, see `address.checked`. It connects when there is
    something to do."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._cluster: Any = None
        self._client: Any = None
        self._ran: list[Ran] = []

    def taken(self) -> list[Ran]:
        """The steps that were done since the last call."""
        ran, self._ran = self._ran, []
        return ran

    def run(
        self, place: Path, steps: Sequence[Step], report: Report, unit: str, threads: int = 2
    ) -> list[Done]:
        if not steps:
            return []
        client = self._connected(report)
        self._agree(client, place)
        waiting = _Waiting(self, client, place, steps)
        try:
            done = waiting.results(report, unit)
        finally:
            waiting.cancel()
        for step, one in zip(steps, done, strict=True):
            how = one.ran
            self._ran.append(Ran(step.name, how["where"], how["seconds"], how["peak_bytes"]))
        return done

    def look(self) -> tuple[int, list[str]]:
        """How many workers there are, and a line for each that would be refused. Raises FolioError
        if no scheduler answers."""
        self._client = self._client or self._opened()
        return self.workers(), list(self._differences(self._client))

    def cpu_seconds(self) -> list[float]:
        """What each worker has used."""
        return list(self._client.run(time.process_time).values())

    def workers(self) -> int:
        """How many there are now."""
        try:
            return len(self._client.nthreads())
        except GONE:
            return 0

    def close(self) -> None:
        for one in (self._client, self._cluster):
            if one is not None:
                one.close(timeout=CLOSE_SECONDS)
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
        for wrong in self._differences(client):
            raise FolioError(wrong)
        for worker, found in sorted(client.run(sees, str(place), on_error="return").items()):
            if found is not True:
                raise FolioError(unseen(worker, str(place)))

    def _differences(self, client: Any) -> Iterator[str]:
        """A line for each worker that would write other bytes."""

        def description() -> Description:
            """Inside a function, so that it is sent whole: see `_sent_whole`."""
            from pipelines.cluster.agreement import described

            return described()

        for worker, found in sorted(client.run(description, on_error="return").items()):
            if isinstance(found, BaseException):
                why = first_line(found)[:200]
                yield f"worker {worker} cannot use Folio ({why}); install the same Folio there"
            elif wrong := difference(worker, found):
                yield wrong


class _Waiting:
    """Steps that have been handed over, and what has come back."""

    def __init__(self, dask: Dask, client: Any, place: Path, steps: Sequence[Step]) -> None:
        self._dask, self._client, self._steps = dask, client, steps
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._futures: list[Any] = []
        run = uuid4().hex
        for number, step in enumerate(steps):
            given = pickle.dumps((str(place), step, fingerprint(), _umask()))
            future = client.submit(_sent_whole(), given, key=f"{step.name}-{run}", pure=False)
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
                found[number] = self._result(number)
                done, needed = done + 1, needed - (number < first)
            elif number < first:
                needed = number - sum(other < number for other in found)
                first = number
                self._cancelled(self._futures[number + 1 :])
        if first < total:
            raise self._error(first)
        report(total, total, said)
        return [found[number] for number in range(total)]

    def _result(self, number: int) -> Done:
        """Of a step that is finished."""
        try:
            return self._futures[number].result()
        except GONE as error:
            raise self._gone() from error

    def _error(self, number: int) -> BaseException:
        """Of a step that failed, or was given up."""
        try:
            error = self._futures[number].exception(timeout=ANSWER_SECONDS)
        except GONE:
            return self._gone()
        if type(error).__name__ == "KilledWorker":
            return FolioError(
                f"cluster {self._dask.address}: step {self._steps[number].name} ended several "
                "workers, one after another: they need more memory, or their logs say more; "
                "finished steps are kept"
            )
        return error or self._gone()

    def _gone(self) -> FolioError:
        return FolioError(
            f"cluster {self._dask.address}: the scheduler is gone; start it and run again: "
            "finished steps are kept"
        )

    def cancel(self) -> None:
        """What is not finished is not needed any more."""
        self._cancelled([future for future in self._futures if not future.done()])

    def _cancelled(self, futures: list[Any]) -> None:
        if futures and self._client.status == "running":
            with suppress(*GONE):
                self._client.cancel(futures, force=True)


def _sent_whole() -> Callable[[bytes], Done]:
    """What a worker calls with a pickled step. A worker that cannot read what it is sent asks for
    it for ever; this can be read without Folio, and fails there with an error."""

    def call(given: bytes) -> Done:
        import pickle

        from pipelines.cluster.worker import do

        return do(*pickle.loads(given))

    return call


def _counted(workers: int) -> str:
    return f"{workers} worker{'s' if workers != 1 else ''}"


def _umask() -> int:
    """This process's."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
