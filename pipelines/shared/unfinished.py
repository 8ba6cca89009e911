"""The unfinished work of a stage, so that another home goes on with it after a death.

unfinished/<stage>/<key>/<how much was done>-<SHA-256>.tar

An object holds the files of one moment. It is written under a new name each time, and its writer
then deletes the one before: no other home ever sees a mixture.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import threading
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from pipelines.errors import FolioError, UnreadableError
from pipelines.files.digests import digest_file
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json
from pipelines.shared.place import Place, SharedStoreError

UNFINISHED = "unfinished"
NAME = re.compile(r"(\d{15})-([0-9a-f]{64})\.tar")
NOTE = ".shared.json"  # {"done": how far it was when it was last copied}
MOMENT, PACKED, TAKEN = ".shared-moment", ".shared-packed", ".shared-taken"
Progress = Callable[[float, float | None, str], None]


class Work(Protocol):
    """A stage's workspace."""

    @property
    def progress(self) -> Progress: ...
    @property
    def log(self) -> Callable[[str], None]: ...


def unfinished_work(stage: str, key: str) -> str:
    """Where it lies."""
    return f"{UNFINISHED}/{stage}/{key}"


def forget(place: Place, below: str) -> None:
    """Delete the unfinished work at `below`."""
    for name in place.names(below):
        place.delete(name)


class Unfinished:
    """The work at `below` in the place, and in the folder `scratch` here: the files that match
    `names`, of which the first is written last. `report` counts what is done; during it, the stage
    writes nothing."""

    def __init__(
        self,
        place: Place,
        below: str,
        scratch: Path,
        names: tuple[str, ...],
        work: Work,
        copied: Callable[[], None] = lambda: None,
    ) -> None:
        """`copied` is called in another thread whenever a state was copied."""
        self.place, self.below, self.scratch, self.names = place, below, scratch, names
        self._progress, self._say = work.progress, work.log
        self._uploads = _Uploads(place, below, copied)
        self._moments = 0
        for left in scratch.glob(".shared-*"):  # of a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        self._seen: tuple[int, int, int] | None = None  # as `_last`, when it was last copied
        self._told: str | None = None

    # Going on

    def resume(self) -> None:
        """Take the furthest whole work of any home, if it is further than the one here."""
        try:
            found = sorted(self.place.names(self.below), reverse=True)
            for name in found:
                match = NAME.fullmatch(name.rpartition("/")[2])
                if match and int(match[1]) > self._done() and self._taken(name, match[2]):
                    self._note(int(match[1]))
                    self._seen = self._last()
                    self._say(f"goes on from what another home did before (step {int(match[1]):,})")
                    return
        except SharedStoreError as error:
            self._say(f"the work of other homes was not looked for: {error}")

    def _taken(self, name: str, digest: str) -> bool:
        folder, packed = self.scratch / TAKEN, self.scratch / PACKED
        try:
            there = self.place.find(name)
            if there is None or self.place.bring(name, packed, there.bytes) != digest:
                raise UnreadableError("is not what was written")
            _unpack(packed, folder, self.names)
            for path in sorted(folder.iterdir(), key=lambda one: one.name == self.names[0]):
                path.replace(self.scratch / path.name)  # in the order in which they were written
            return True
        except UnreadableError as error:
            self._say(f"{name} in {self.place} {error}; it is not used")
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            packed.unlink(missing_ok=True)

    # Letting others go on

    def report(self, done: float, total: float | None, unit: str) -> None:
        """Passes it on, and has a new state of the files copied."""
        self._progress(done, total, unit)
        last = None if total is None else self._last()
        if last is None or last == self._seen:
            return
        self._seen = last
        self._moments += 1
        moment = self.scratch / f"{MOMENT}-{self._moments}"
        moment.mkdir()
        for path in self._files():
            _link(path, moment / path.name)
        self._note(int(done))
        self._uploads.add(int(done), moment)
        problem = self._uploads.problem()
        if problem is not None and problem != self._told:
            self._told = problem
            self._say(f"others cannot go on with this work if it is killed: {problem}")

    def close(self, at_once: bool) -> None:
        """End the copying, after the last moment or `at_once`."""
        self._uploads.close(at_once)

    def _files(self) -> list[Path]:
        return [
            path
            for path in sorted(self.scratch.iterdir())
            if path.is_file() and any(fnmatchcase(path.name, name) for name in self.names)
        ]

    def _last(self) -> tuple[int, int, int] | None:
        """What tells apart the states of the file that is written last."""
        try:
            there = (self.scratch / self.names[0]).stat()
        except FileNotFoundError:
            return None
        return there.st_ino, there.st_mtime_ns, there.st_size

    def _note(self, done: int) -> None:
        write_json(self.scratch / NOTE, {"done": done})

    def _done(self) -> int:
        """How far the work here is, at least."""
        if self._last() is None:
            return -1
        with suppress(FileNotFoundError, UnreadableError):
            return read_object(self.scratch / NOTE, done=int)["done"]
        return 0


class _Uploads:
    """Copies moments in a thread: the newest, if they come faster than they are copied."""

    def __init__(self, place: Place, below: str, copied: Callable[[], None]) -> None:
        self._place, self._below, self._copied = place, below, copied
        self._changed = threading.Condition()
        self._next: tuple[int, Path] | None = None
        self._ended = False
        self._problem: str | None = None
        self._before: str | None = None
        self._thread: threading.Thread | None = None

    def add(self, done: int, moment: Path) -> None:
        with self._changed:
            skipped, self._next = self._next, (done, moment)
            self._changed.notify()
        if skipped:
            shutil.rmtree(skipped[1], ignore_errors=True)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()

    def problem(self) -> str | None:
        """What went wrong since this was last asked."""
        with self._changed:
            problem, self._problem = self._problem, None
        return problem

    def close(self, at_once: bool) -> None:
        """Ends after the last moment; `at_once`: after the one that is being copied."""
        with self._changed:
            self._ended = True
            if at_once:
                self._next = None
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._next or self._ended)
                if self._next is None:
                    return
                (done, moment), self._next = self._next, None
            try:
                self._copy(done, moment)
            except (FolioError, OSError) as error:
                with self._changed:
                    self._problem = str(error)
            finally:
                shutil.rmtree(moment, ignore_errors=True)

    def _copy(self, done: int, moment: Path) -> None:
        packed = moment / PACKED
        files = sorted(moment.iterdir())
        with tarfile.open(packed, "w") as tar:
            for path in files:
                tar.add(path, path.name)
        name = f"{self._below}/{done:015d}-{digest_file(packed)}.tar"
        self._place.put(name, packed)
        before, self._before = self._before, name
        if before is not None and before != name:
            self._place.delete(before)
        self._copied()


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)  # each state is a file of its own, so this one stays as it is
    except OSError:
        shutil.copyfile(path, target)


def _unpack(packed: Path, folder: Path, names: tuple[str, ...]) -> None:
    """Only plain files with such names. Raises UnreadableError for anything else."""
    folder.mkdir()
    try:
        with tarfile.open(packed, "r:") as tar:
            for member in tar:
                allowed = any(fnmatchcase(member.name, name) for name in names)
                if not member.isreg() or "/" in member.name or not allowed:
                    raise UnreadableError("has files that do not belong there")
                if source := tar.extractfile(member):
                    with source, (folder / member.name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (tarfile.TarError, EOFError) as error:
        raise UnreadableError("is not a tar file") from error
    if not (folder / names[0]).is_file():
        raise UnreadableError(f"has no {names[0]}")
