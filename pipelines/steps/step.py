"""A step: a pure function from files to files that is done whole or not at all.

<place>/<name>               what steps have written
<place>/done/<step>.json     written last: a finished step is not repeated after a death

Several processes may do the same step at the same time: all write the same bytes.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pipelines.errors import UnreadableError
from pipelines.files.digests import digest_file
from pipelines.files.small_files import read_object

DONE = "done"
Report = Callable[[float, float | None, str], None]  # done, total if known, unit


@dataclass(frozen=True)
class Step:
    """`function(place, out, **arguments)` reads what it likes, writes only into the empty folder
    `out`, and returns what is small enough for JSON. It stands in a module, and its arguments can
    be pickled: another process may call it."""

    name: str
    function: Callable[..., dict[str, Any]]
    arguments: dict[str, Any] = field(default_factory=dict)


class Done(NamedTuple):
    """`found` is what the function returned; `files` are its files by name, in `place`, with their
    bytes and sha256; `ran` says where, how long, and with how much memory."""

    found: dict[str, Any]
    files: dict[str, dict[str, Any]]
    ran: dict[str, Any]


class Executor(Protocol):
    """Where steps are done. It decides nothing about their bytes, so it is in no key."""

    def run(
        self, place: Path, steps: Sequence[Step], report: Report, unit: str, threads: int = 2
    ) -> list[Done]:
        """Does the steps, and returns in their order what each has done. The error of the first
        one that fails is raised. `unit` says what a finished one counts as; `threads` is how many
        may run at a time in one process."""
        ...


def run_step(place: Path, step: Step) -> Done:
    """Does the step unless it is done already."""
    marker = place / DONE / f"{step.name}.json"
    if (found := finished(place, marker)) is not None:
        return found
    began = time.perf_counter()
    out = Path(tempfile.mkdtemp(prefix=f".{step.name}-", dir=place))
    try:
        answer = step.function(place, out, **step.arguments)
        ran = {
            "where": f"{socket.gethostname()}:{os.getpid()}",
            "seconds": round(time.perf_counter() - began, 3),
            "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        done = Done(answer, _described(out), ran)
        _keep(out, place, done.files)
        _mark(place, marker, done)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    return done


def finished(place: Path, marker: Path) -> Done | None:
    """What a step has done, if its files are still as it wrote them."""
    try:
        noted = read_object(marker, found=dict, files=dict, ran=dict)
    except (FileNotFoundError, UnreadableError):
        return None
    try:
        whole = all(
            (place / name).stat().st_size == one["bytes"]
            and digest_file(place / name) == one["sha256"]
            for name, one in noted["files"].items()
        )
    except (OSError, TypeError, KeyError):
        return None
    return Done(noted["found"], noted["files"], noted["ran"]) if whole else None


def move(place: Path, target: Path, files: Sequence[str]) -> None:
    """Files of finished steps, with their folder, to where the stage publishes them."""
    for name in files:
        _make_room(target, name)
        (place / name).rename(target / name)


_listener = threading.local()


def tell(done: float, total: float | None, unit: str) -> None:
    """What a step has to say while it runs; heard only in a process that listens."""
    heard: Report | None = getattr(_listener, "report", None)
    if heard is not None:
        heard(done, total, unit)


@contextmanager
def listening(report: Report | None) -> Iterator[None]:
    """Hears what the steps of this thread say."""
    _listener.report = report
    try:
        yield
    finally:
        _listener.report = None


def _described(out: Path) -> dict[str, dict[str, Any]]:
    paths = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {
        path.relative_to(out).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": digest_file(path),
        }
        for path in paths
    }


def _keep(out: Path, place: Path, files: dict[str, Any]) -> None:
    for name in files:
        _make_room(place, name)
        (out / name).replace(place / name)


def _make_room(root: Path, name: str) -> None:
    """The folders of a name below `root`, which itself is not made: a place is gone once its stage
    has ended, perhaps without a step that still runs somewhere."""
    for folder in reversed(Path(name).parents[:-1]):
        (root / folder).mkdir(exist_ok=True)


def _mark(place: Path, marker: Path, done: Done) -> None:
    """Not flushed to disk: after a power failure the digests tell what is whole."""
    marker.parent.mkdir(exist_ok=True)
    partial = place / f".{marker.name}-{socket.gethostname()}-{os.getpid()}"
    partial.write_text(json.dumps(done._asdict(), ensure_ascii=False), encoding="utf-8")
    partial.replace(marker)
