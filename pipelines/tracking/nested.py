"""The MLflow run of a comparison or a search, with a nested run for each variant.

What MLflow does not take is reported in one line and costs nothing else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.errors import first_line
from pipelines.mlflow_private.run_tables import NAME, Point
from pipelines.tracking.runs import PARENT, Tracking, as_params, tracking_at

SOURCE = {"mlflow.source.name": "folio", "mlflow.source.type": "LOCAL"}
NOTE = "mlflow.note.content"
SEARCH = "folio.search"  # tag of a parent that a later call continues


@dataclass(frozen=True)
class Tried:
    """Settings and how they did: `measure` is the figure on validation that ranks, None if they
    failed. `runs` are those of Folio."""

    label: str
    settings: Mapping[str, Any]
    runs: tuple[str, ...]
    measure: str
    value: float | None
    error: str | None = None

    @property
    def points(self) -> list[Point]:
        """Not under the name of the curve, which has a point for each epoch."""
        if self.value is None or not math.isfinite(self.value):
            return []
        return [Point(f"best_{self.measure}", self.value, _now(), 0)]

    @property
    def status(self) -> str:
        return "FAILED" if self.error else "FINISHED"


class Parent:
    """`add` each variant once it has ended, then `choose`. The first one added opens the run."""

    def __init__(
        self, home: Path, pipeline: str, name: str, search: str, notice: Callable[[str], None]
    ) -> None:
        self._pipeline, self._name = pipeline, name
        self._search, self._notice = search, notice
        self._tracking = tracking_at(home)
        self._began, self._experiment, self._run = _now(), "", ""

    def add(self, tried: Tried) -> None:
        self._attempt(lambda tracking: self._add(tracking, tried), opening=True)

    def choose(self, best: Tried, count: int) -> None:
        value = "" if best.value is None else f", {best.measure.replace('_', ' ')} {best.value:.6g}"
        text = f"Choice of {count}: {best.label}{value} (run {best.runs[-1]})"
        tags = {NOTE: text, "folio.choice": best.label}
        self._attempt(lambda tracking: tracking.log(self._run, best.points, tags=tags))

    def end(self, status: str) -> None:
        self._attempt(lambda tracking: tracking.update(self._run, status, _now()))

    def _attempt(self, work: Callable[[Tracking], None], opening: bool = False) -> None:
        if self._tracking is None or not (self._run or opening):
            return
        try:
            work(self._tracking)
        except Exception as error:  # the libraries raise many kinds
            self._notice(f"not in MLflow: {first_line(error)[:300]}")
            self._tracking = None

    def _open(self, tracking: Tracking) -> None:
        self._experiment = tracking.experiment(self._pipeline)
        known = tracking.find(self._experiment, SEARCH, self._search)
        if known:
            self._run = known[0].id
            tracking.update(self._run, "RUNNING")
        else:
            self._run = tracking.create(self._experiment, self._name, self._began)
            tracking.log(self._run, tags={SEARCH: self._search, **SOURCE})

    def _add(self, tracking: Tracking, tried: Tried) -> None:
        if not self._run:
            self._open(tracking)
        trained = [self._training(tracking, run, tried) for run in tried.runs]
        if len(trained) == 1:
            (child,) = trained
        else:
            child = self._new(tracking, tried.label, tried.status)
            for run in trained:
                tracking.log(run, tags={PARENT: child})
        tags = {PARENT: self._run, NOTE: tried.error or tried.label}
        tracking.log(child, tried.points, as_params(tried.settings), tags)

    def _training(self, tracking: Tracking, run: str, tried: Tried) -> str:
        """The run of the training; a new one if none was needed, or possible."""
        found = tracking.find(self._experiment, NAME, run)
        return found[0].id if found else self._new(tracking, run, tried.status)

    def _new(self, tracking: Tracking, name: str, status: str) -> str:
        run = tracking.create(self._experiment, name, _now())
        tracking.update(run, status, _now())
        tracking.log(run, tags=SOURCE)
        return run


@contextmanager
def parent_run(
    home: Path, pipeline: str, name: str, search: str, notice: Callable[[str], None]
) -> Iterator[Parent]:
    """A run `name`, or the one that has been opened for the same `search` before; active while
    inside."""
    parent, status = Parent(home, pipeline, name, search, notice), "KILLED"
    try:
        yield parent
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        parent.end(status)


def _now() -> int:
    return int(1000 * time.time())
