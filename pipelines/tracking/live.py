"""The MLflow run of a training while it lasts, with a point an epoch.

A thread of its own writes it, so that a slow or absent tracking server costs the training nothing.
"""

from __future__ import annotations

import getpass
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.errors import first_line
from pipelines.mlflow_private.run_tables import NAME, Point
from pipelines.store.artifacts import Epochs
from pipelines.tracking.runs import MODEL, Tracking, as_params, tracking_at, training_tag

LAST_SECONDS = 300  # for the last points; the first database of a home takes a while to make
NOT_A_METRIC = ("epoch", "steps")
Row = dict[str, float]


@dataclass(frozen=True)
class Training:
    """What is being trained: `run` is Folio's run, `key` that of the model."""

    home: Path
    pipeline: str
    run: str
    key: str
    config: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def training_run(training: Training, notice: Callable[[str], None]) -> Iterator[Epochs]:
    """While inside, the training has an active run in MLflow; afterwards one that has finished,
    failed or was killed. An earlier attempt's is continued, unless its model is registered.

    `notice` gets one line if MLflow does not answer; nothing is ever raised.
    """
    writer = _Writer(training)
    status = "KILLED"
    try:
        yield writer.note
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        writer.end(status)
        if writer.problem is not None:
            notice(
                f"not in MLflow while it lasts: {writer.problem}; a registration adds the epochs"
            )


class _Writer:
    def __init__(self, training: Training) -> None:
        self._training, self._began, self._news = training, _now(), threading.Event()
        self._history: list[Row] = []
        self._seconds: list[float] = []
        self._status: str | None = None
        self._run: str | None = None
        self._tracking: Tracking | None = None
        self._done: set[int] = set()  # epochs that MLflow has
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def note(self, history: list[Row], seconds: list[float]) -> None:
        """All epochs so far; those that MLflow has already are not written again."""
        self._history, self._seconds = list(history), list(seconds)
        self._news.set()

    def end(self, status: str) -> None:
        self._status = status
        self._news.set()
        self._thread.join(LAST_SECONDS)

    def _follow(self) -> None:
        while True:
            ended = self._status
            self._news.clear()
            try:
                self._write(ended)
                self.problem = None
            except Exception as error:  # the libraries raise many kinds
                self.problem = first_line(error)[:300]
            if ended is not None:
                return
            self._news.wait()

    def _write(self, ended: str | None) -> None:
        if self._run is None:
            self._tracking = tracking_at(self._training.home)
            if self._tracking is None:
                return
            self._run = self._opened(self._tracking)
        assert self._tracking is not None
        points = list(self._points())
        if points:
            self._tracking.log(self._run, points)
            self._done.update(point.step for point in points)
        if ended is not None:
            self._tracking.update(self._run, ended, _now())

    def _opened(self, tracking: Tracking) -> str:
        """A new run, or the one that this training continues."""
        training = self._training
        experiment = tracking.experiment(training.pipeline)
        found = tracking.find(experiment, MODEL, training_tag(training.key))
        if found:
            run = found[0].id
            tracking.update(run, "RUNNING", name=training.run)
            self._done = tracking.steps(run, "loss")
        else:
            run = tracking.create(experiment, training.run, self._began)
        tags = {
            MODEL: training_tag(training.key),
            "mlflow.source.name": "folio",
            "mlflow.source.type": "LOCAL",
            "mlflow.user": getpass.getuser(),
        }
        tracking.log(run, params=as_params(training.config), tags=tags | dict(training.tags))
        return run

    def _points(self) -> Iterator[Point]:
        now = _now()
        for row, seconds in zip(self._history, self._seconds, strict=False):
            epoch = int(row["epoch"])
            if epoch not in self._done:
                yield from points_of(row, seconds, now)


def points_of(row: Row, seconds: float, timestamp: int) -> Iterator[Point]:
    """The figures of an epoch."""
    for key, value in {**row, "epoch_seconds": seconds}.items():
        if key not in NOT_A_METRIC and value is not None and math.isfinite(value):
            yield Point(key, value, timestamp, int(row["epoch"]))


def end_killed(home: Path, pipeline: str, run: str) -> None:
    """Mark the active training of a run whose process is gone."""
    if (tracking := tracking_at(home)) is not None:
        for found in tracking.find(tracking.experiment(pipeline), NAME, run):
            if found.status == "RUNNING":
                tracking.update(found.id, "KILLED", _now())


def _now() -> int:
    return int(1000 * time.time())
