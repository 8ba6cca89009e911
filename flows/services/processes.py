"""Restarts processes that die, and ends them all when their supervisor ends, for whatever reason.

On Linux, a process can request a signal when its parent dies, and adopt its orphaned descendants.
Elsewhere, neither is possible, and only an orderly end stops all processes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from pipelines.files.home import made

SET_PARENT_DEATH_SIGNAL, SET_CHILD_SUBREAPER = 1, 36  # of prctl
STOP_SECONDS = 10  # then a process is killed
LONGEST_PAUSE = 60  # seconds before a process that keeps dying is restarted


@dataclass
class Kept:
    """One process and how often it died. `pause` doubles until it lives for LONGEST_PAUSE
    seconds."""

    command: list[str]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]
    whole: bool
    started: float = field(default_factory=time.monotonic)
    pause: float = 0.5
    due: float | None = None  # when to restart it


class Processes:
    """Keeps processes running; their output goes to `log`, reports about them to `say`."""

    def __init__(self, log: Path, say: Callable[[str], None]) -> None:
        made(log.parent)
        self._log, self._say = log, say
        self._kept: dict[str, Kept] = {}
        self._sessions: set[int] = set()  # of all processes that were ever started
        adopt_orphans()

    def start(
        self, name: str, command: list[str], environment: Mapping[str, str], whole: bool = False
    ) -> None:
        """`whole`: when it dies, what it has started ends too, and frees the port; else that goes
        on, as the runs of a worker do."""
        process = self._started(command, environment)
        self._kept[name] = Kept(command, environment, process, whole)

    def once(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Starts a process that is not restarted."""
        return self._started(command, os.environ)

    def tend(self) -> None:
        """Collect dead processes, and restart those that are kept once their pause is over."""
        for name, kept in self._kept.items():
            status = kept.process.poll()
            if status is not None:
                self._restart_when_due(name, kept, status)
        collect_orphans({kept.process.pid for kept in self._kept.values()})

    def stop(self) -> None:
        """End all processes and their descendants, with those of processes that were killed."""
        below = [process for kept in self._kept.values() for process in family(kept.process.pid)]
        below += _in_sessions(self._sessions)
        for kept in self._kept.values():
            if kept.process.poll() is None:
                kept.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for kept in self._kept.values():
            with suppress(subprocess.TimeoutExpired):
                kept.process.wait(max(0.0, deadline - time.monotonic()))
        end(
            [
                *below,
                *(
                    psutil.Process(kept.process.pid)
                    for kept in self._kept.values()
                    if kept.process.poll() is None
                ),
            ]
        )

    def _restart_when_due(self, name: str, kept: Kept, status: int) -> None:
        now = time.monotonic()
        if kept.due is None:
            lived = now - kept.started
            kept.pause = 0.5 if lived > LONGEST_PAUSE else min(LONGEST_PAUSE, 2 * kept.pause)
            kept.due = now + kept.pause
            if kept.whole:
                end(_in_sessions({kept.process.pid}))
            self._say(f"{name} ended ({_told(status)}); restarting it in {kept.pause:g} s")
        elif now >= kept.due:
            kept.process = self._started(kept.command, kept.environment)
            kept.started, kept.due = now, None

    def _started(
        self, command: list[str], environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._log.parent,
                start_new_session=True,
                preexec_fn=_as_child,
            )
        self._sessions.add(process.pid)
        return process


def _as_child() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # undo a script's `&`, which makes it ignored
    _prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants."""
    _prctl(SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def collect_orphans(own: set[int]) -> None:
    """Collect adopted children that have ended; `own` ones are left to their starters."""
    for child in psutil.Process().children():
        with suppress(psutil.Error, ChildProcessError):
            if child.pid not in own and child.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(child.pid, os.WNOHANG)


def family(pid: int) -> list[psutil.Process]:
    """All descendants of a process."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _in_sessions(leaders: set[int]) -> list[psutil.Process]:
    """Our descendants in the sessions of these processes, which may be gone, but not themselves."""
    found = []
    for process in family(os.getpid()):
        with suppress(ProcessLookupError):
            if process.pid not in leaders and os.getsid(process.pid) in leaders:
                found.append(process)
    return found


def end(processes: list[psutil.Process]) -> None:
    """Terminate the processes, and kill those still alive after STOP_SECONDS."""
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, STOP_SECONDS)
    for process in stubborn:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, STOP_SECONDS)


def _told(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit code {status}"


LOG = "logs/up.log"
