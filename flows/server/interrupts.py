"""Signals that ask to end are not lost in destructors.

A signal's exception is raised wherever the main thread happens to be. In a destructor or a callback
of the garbage collector, of which Prefect's clients have many, Python only reports it as ignored,
and the run would go on as if nobody had pressed Ctrl-C.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

AGAIN_SECONDS = 0.02  # by then the destructor is over


@contextmanager
def swallowed_ones_again() -> Iterator[None]:
    """Inside, a signal whose exception Python could only ignore is sent once more."""
    before = sys.unraisablehook

    def resend(ignored: sys.UnraisableHookArgs) -> None:
        number = _signal_of(ignored.exc_value)
        if number is None:
            before(ignored)
        else:  # not threading.Thread, whose locks the main thread may hold just now
            _thread.start_new_thread(_send, (number,))

    sys.unraisablehook = resend
    try:
        yield
    finally:
        sys.unraisablehook = before


def _signal_of(error: BaseException | None) -> int | None:
    """The signal that such an exception stands for."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return error.code - 128
    return getattr(error, "signal", None)  # as Prefect's TerminationSignal has it


def _send(number: int) -> None:
    time.sleep(AGAIN_SECONDS)
    os.kill(os.getpid(), number)


@contextmanager
def terminations_unwind() -> Iterator[None]:
    """SIGTERM and SIGHUP leave through the `finally` blocks, as Ctrl-C does."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {
            number: signal.signal(number, _leave)
            for number in (signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is signal.SIG_DFL
        }
    try:
        with swallowed_ones_again():
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)
