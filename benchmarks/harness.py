"""Measures the sides of a comparison alternately, each in a separate process.

A separate process gives each side its own peak memory, its own threads and its libraries' defaults;
with alternating rounds, a busy moment of the machine affects all sides equally.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pipelines.files.resource_use import Measurement

Turn = Callable[[], float]  # one measurement: seconds, or items per second


@dataclass(frozen=True)
class Conditions:
    """The conditions of a comparison. `quick` is for tests: tiny sizes, no meaningful figures."""

    home: Path  # artifacts that several comparisons read
    mirror: str | None = None
    repeats: int = 5
    quick: bool = False


@dataclass(frozen=True)
class Side:
    """`prepare(*arguments)` in a new process returns what is measured there.

    Everything before it returns (imports, compiling, a first call) is not measured.
    """

    prepare: Callable[..., Turn]
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Measured:
    """The measurements of one side, one per round; its process's peak memory; its preparation
    time."""

    values: tuple[float, ...]
    peak_bytes: int = 0
    ready_seconds: float = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def scaled(self, factor: float) -> Measured:
        return replace(self, values=tuple(value * factor for value in self.values))


def take_turns(sides: dict[str, Side], repeats: int) -> dict[str, Measured]:
    """Every side measured `repeats` times, one after another in each round."""
    values: dict[str, list[float]] = {name: [] for name in sides}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, side)) for name, side in sides.items()}
        for _ in range(repeats):
            for name, worker in workers.items():
                values[name].append(worker.turn())
        return {
            name: Measured(tuple(values[name]), worker.peak_bytes(), worker.ready_seconds)
            for name, worker in workers.items()
        }


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in a separate process, whose memory is then freed."""
    with Worker(function.__name__, Side(_only, (function, arguments))) as worker:
        return worker.turn()


def _only(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: function(*arguments)


class Worker:
    """One side, ready in its process. It measures on request and waits in between."""

    def __init__(self, name: str, side: Side) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, side), name=name)
        started = time.perf_counter()
        self._process.start()
        other.close()
        try:
            self._answer()
        except BaseException:
            self._end()
            raise
        self.ready_seconds = time.perf_counter() - started

    def turn(self) -> Any:
        self._pipe.send("turn")
        return self._answer()

    def peak_bytes(self) -> int:
        self._pipe.send("peak")
        return self._answer()

    def _answer(self) -> Any:
        try:
            problem, answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            problem = f"its process ended with {self._process.exitcode}"
        if problem:
            raise RuntimeError(f"{self.name}: {problem}")
        return answer

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._pipe.close()  # this ends the process
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection, side: Side) -> None:
    try:
        with Measurement() as measured:
            turn = side.prepare(*side.arguments)
            pipe.send((None, None))
            while (wish := _wish(pipe)) == "turn":
                pipe.send((None, turn()))
        if wish == "peak":
            pipe.send((None, measured.peak_bytes))
    except (Exception, SystemExit):
        pipe.send((traceback.format_exc(), None))


def _wish(pipe: Connection) -> str | None:
    try:
        return pipe.recv()
    except EOFError:
        return None


def timed(work: Callable[[], Any]) -> float:
    """The seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rate(step: Callable[[], Any], items: float, seconds: float = 1.0) -> Turn:
    """Items per second, over whole steps for at least that many seconds; a first step is left
    out."""
    step()

    def turn() -> float:
        steps, started = 0, time.perf_counter()
        while (passed := time.perf_counter() - started) < seconds or not steps:
            step()
            steps += 1
        return steps * items / passed

    return turn


def spread(widths: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` batches that represent an epoch: spread evenly over the widths."""
    order = np.argsort(widths, kind="stable")
    places = (np.arange(min(count, len(order))) + 0.5) * len(order) / min(count, len(order))
    return order[places.astype(int)]
