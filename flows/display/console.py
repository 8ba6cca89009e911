"""Shows the progress of a run on standard error, so that standard output stays free."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, TextIO

from flows.display.terminal import guarded, rich_console
from pipelines.files.home import made
from pipelines.report.visible import visible
from pipelines.store.artifacts import Progress
from pipelines.store.live_progress import Pace

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LOG_SECONDS = 5.0  # between lines in a log
NATIVE_LOG = "logs/native.log"  # in the home
SCREEN_SECONDS = 0.1  # between updates on a terminal


class Console:
    """`with Console() as console:` gives `progress(stage)` for a stage and `notice(text)` for a
    line.

    On a terminal, one line is updated; in a log, at most one line is written every LOG_SECONDS.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._bar: _Bar | None = None

    def notice(self, text: str) -> None:
        """Print a separate line; this ends the progress line, if any."""
        self.close()
        _shown(text, self._stream)

    def progress(self, stage: str) -> Progress:
        """The Progress of one stage; the next notice ends it."""
        self.close()
        if self._stream.isatty():
            self._bar = _Bar(stage, self._stream, self._clock)
            return self._bar
        return _Log(stage, self._stream, self._clock)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _shown(text: str, stream: TextIO) -> None:
    """If the reader is gone, such as a killed worker, the run goes on and shows nothing more."""
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())


class _Log:
    def __init__(self, stage: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stage, self._stream, self._clock = stage, stream, clock
        self._pace, self._due = Pace(), clock() + LOG_SECONDS
        self._said: str | None = None

    def __call__(self, done: float, total: float | None, unit: str) -> None:
        now = self._clock()
        text = self._pace.describe(done, total, unit, now)
        news = not done and not total and unit != self._said
        if news or now >= self._due:
            self._due, self._said = now + LOG_SECONDS, unit
            _shown(f"{self._stage}: {text}", self._stream)


class _Bar:
    def __init__(self, stage: str, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stage, self._stream, self._clock = stage, stream, clock
        self._pace, self._due = Pace(), 0.0
        self._rich: RichProgress | None = None

    def __call__(self, done: float, total: float | None, unit: str) -> None:
        now = self._clock()
        if now < self._due and done != total:
            return
        self._due = now + SCREEN_SECONDS
        text = self._pace.describe(done, total, unit, now)
        if self._rich is None:
            self._rich = self._started()
        self._rich.update(self._task, completed=done, total=total or None, text=visible(text))

    def _started(self) -> RichProgress:
        from rich.progress import BarColumn, Progress, TextColumn

        shown = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=rich_console(self._stream),
            transient=True,
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )  # else Rich would interpret escapes in the text
        self._task = shown.add_task(self._stage, total=None, text="")
        shown.start()
        return shown

    def stop(self) -> None:
        if self._rich is not None:
            self._rich.stop()
            self._rich = None


def _opened(log: Path) -> BinaryIO:
    """If the home is not writable, these messages are discarded."""
    try:
        return (made(log.parent) / log.name).open("ab")
    except OSError:
        return open(os.devnull, "ab")


@contextmanager
def native_notices_to(log: Path) -> Iterator[None]:
    """Redirects what C++ libraries write to descriptor 2 to `log`; Python's output stays on screen.

    TensorFlow prints a dozen lines about the processor before it reads any of its settings.
    """
    screen, python = os.dup(2), sys.stderr
    with _opened(log) as file, os.fdopen(screen, "w", buffering=1) as ours:
        python.flush()
        os.dup2(file.fileno(), 2)
        shown = guarded(ours)  # kept until the end: it closes the descriptor when deleted
        sys.stderr = shown
        try:
            yield
        finally:
            shown.flush()
            sys.stderr = python
            os.dup2(screen, 2)
