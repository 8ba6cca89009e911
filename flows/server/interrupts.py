"""Keeps termination signals from being lost in destructors.

A signal's exception is raised wherever the main thread currently is. In a destructor or a callback
of the garbage collector, of which Prefect's clients have many, Python only reports it as ignored,
and the run would continue as if nobody had pressed Ctrl-C.
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

AGAIN_SECONDS = 0.02  # the destructor has finished by then


@contextmanager
def swallowed_ones_again() -> Iterator[None]:
    """While inside, a signal whose exception Python had to ignore is sent again."""
    before = sys.unraisablehook

    def resend(ignored: sys.UnraisableHookArgs) -> None:
        number = _signal_of(ignored.exc_value)
        if number is None:
            before(ignored)
        else:  # not threading.Thread, because the main thread may hold its locks
            _thread.start_new_thread(_send, (number,))

    sys.unraisablehook = resend
    try:
        yield
    finally:
        sys.unraisablehook = before


def _signal_of(error: BaseException | None) -> int | None:
    """The signal that such an exception represents."""
    if isinstance(error, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return error.code - 128
    return getattr(error, "signal", None)  # as in Prefect's TerminationSignal


def _send(number: int) -> None:
    time.sleep(AGAIN_SECONDS)
    os.kill(os.getpid(), number)


@contextmanager
def terminations_unwind() -> Iterator[None]:
    """Let SIGTERM and SIGHUP leave through the `finally` blocks, like Ctrl-C."""
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
