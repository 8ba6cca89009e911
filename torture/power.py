"""A run that ends as in a power failure: what was not synced to the disk is lost.

Renames are lost, each by chance, unless their folder was synced afterwards; a file loses its
content unless it was synced after its last change. SQLite syncs by itself, unseen, so its databases
are left alone.
"""

from __future__ import annotations

import os
import random
import signal
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from torture import work

SPARED = (".db", "-wal", "-shm", "-journal")


def run(home: str, pipeline: str, lasts: int, seed: str) -> int:
    """The power fails at the rename or sync of that number."""
    recorder = Recorder(Path(home), lasts, random.Random(seed))
    for name in ("fsync", "rename", "replace"):
        setattr(os, name, recorder.watched(name, getattr(os, name)))
    return work.run(home, pipeline)


class Recorder:
    """Sees each rename and sync; at the last one it undoes what would be lost, and dies."""

    def __init__(self, home: Path, lasts: int, chance: random.Random) -> None:
        self._home, self._left, self._chance = home, lasts, chance
        self._began = time.time_ns()
        self._synced: dict[int, tuple[int, int]] = {}  # {inode: (size, time of change)}
        self._renamed: list[tuple[str, str, str | None]] = []  # from, to, what was there before
        self._rename = os.rename

    def watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def watch(*given: Any, **options: Any) -> Any:
            if name == "fsync":
                done = call(*given)
                self._note_sync(given[0])
            else:
                before = self._kept(given[1])
                done = call(*given, **options)
                self._renamed.append((os.fspath(given[0]), os.fspath(given[1]), before))
            self._left -= 1
            if self._left == 0:
                self._fail()
            return done

        return watch

    def _note_sync(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            self._renamed = [one for one in self._renamed if not self._is_in(one[1], found)]
        else:
            self._synced[found.st_ino] = (found.st_size, found.st_mtime_ns)

    @staticmethod
    def _is_in(path: str, folder: os.stat_result) -> bool:
        try:
            return os.stat(os.path.dirname(path) or ".").st_ino == folder.st_ino
        except OSError:
            return False

    def _kept(self, path: Any) -> str | None:
        """A second name of what is about to be replaced."""
        kept = f"{os.fspath(path)}.before-{self._left}"
        with suppress(OSError):
            os.link(path, kept)
            return kept
        return None

    def _fail(self) -> None:
        for source, target, before in reversed(self._renamed):
            with suppress(OSError):
                if self._chance.random() < 0.5:
                    self._rename(target, source)
                    if before:
                        self._rename(before, target)
        for path in self._home.rglob("*"):
            with suppress(OSError):
                if ".before-" in path.name:
                    path.unlink()
                elif self._is_lost(path) and self._chance.random() < 0.7:
                    os.truncate(path, 0)
        os.kill(os.getpid(), signal.SIGKILL)

    def _is_lost(self, path: Path) -> bool:
        found = path.lstat()
        return (
            stat.S_ISREG(found.st_mode)
            and found.st_mtime_ns >= self._began
            and not path.name.endswith(SPARED)
            and self._synced.get(found.st_ino) != (found.st_size, found.st_mtime_ns)
        )
