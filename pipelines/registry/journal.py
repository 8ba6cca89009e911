"""The promotion journal: which version became champion when, why, and on what evidence.

`mlflow/journal.jsonl` in the home has one JSON object per line and is append-only. Each line
contains its own digest and that of the previous line, so that changed, removed or inserted lines
are detected.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from pipelines.errors import UnreadableError
from pipelines.files.digests import digest_json
from pipelines.files.home import made
from pipelines.files.names import unsafe
from pipelines.files.small_files import parse_object

Line = dict[str, Any]
DIGEST, PREVIOUS = "digest", "previous"
NUMBER = (int, type(None))  # of a version, or none
KINDS: dict[str, type | tuple[type, ...]] = {
    "number": int,
    PREVIOUS: (str, type(None)),
    DIGEST: str,
    "time": str,
    "who": str,
    "action": str,
    "model": str,
    "version": NUMBER,
    "former": NUMBER,
    "champion": NUMBER,
    "reason": str,
}


@dataclass(frozen=True)
class Journal:
    """The lines of the file `path`, which need not exist. Writers hold the registry's lock."""

    path: Path

    def lines(self, model: str | None = None) -> list[Line]:
        """All lines, or those of one model, oldest first; invalid lines are skipped.

        Raises UnreadableError if the file as a whole cannot be read.
        """
        return [
            line
            for _, line in self._read()
            if is_line(line) and (model is None or line["model"] == model)
        ]

    def is_whole(self) -> bool:
        """Whether all of it can be read; not whether all of it is true."""
        try:
            return all(is_line(line) for _, line in self._read())
        except UnreadableError:
            return False

    def sealed(self, entry: Line) -> Line:
        """The entry as the next line: numbered, after the current last line."""
        lines = self.lines()
        last = lines[-1] if lines else {}
        line = {"number": last.get("number", 0) + 1, PREVIOUS: last.get(DIGEST), **entry}
        return line | {DIGEST: digest_json(line)}

    def append(self, line: Line) -> None:
        """Write a sealed line; it is on disk when this returns. Half a line, which a power failure
        may have left, is removed first."""
        made(self.path.parent)
        with self.path.open("ab+") as file:
            file.truncate(self._whole_bytes())
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def problems(self) -> Iterator[str]:
        """Which lines were changed, in words."""
        before: str | None = None
        for number, line in self._read():
            where = f"{self.path}:{number}"
            if line is None or DIGEST not in line:
                yield f"{where}: not a line of the journal"
                continue
            if not is_sealed(line):
                yield f"{where}: was changed after it was written"
            elif line.get(PREVIOUS) != before or line.get("number") != number:
                yield f"{where}: does not follow the previous line: a line was removed or inserted"
            elif not is_line(line):
                yield f"{where}: not a line of the journal"
            before = line.get(DIGEST)

    def _read(self) -> Iterator[tuple[int, Line | None]]:
        """(number from 1, the object in that line, or None if there is none)."""
        for number, text in enumerate(self._bytes().splitlines(), 1):
            try:
                yield number, parse_object(text, f"{self.path}:{number}")
            except UnreadableError:
                yield number, None

    def _whole_bytes(self) -> int:
        """Bytes up to the last line end."""
        return self._bytes().rfind(b"\n") + 1

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self.path.is_symlink():
                return b""
            raise UnreadableError(
                f"{self.path}: the journal cannot be read ({error.strerror}); restore it, "
                "or move it away: a new one then begins with the current champions"
            ) from error


def is_line(found: Line | None) -> TypeGuard[Line]:
    """Whether it is a complete line with a valid model name. Names are used in paths and in queries
    to MLflow."""
    return (
        found is not None
        and all(
            isinstance(found.get(key, ""), kind) and key in found for key, kind in KINDS.items()
        )
        and is_name(found["model"])
    )


def is_name(model: str) -> bool:
    """Whether this is a valid name of a registered model."""
    return unsafe(model) is None and not set(model) & set("/:'\"")


def is_sealed(line: Line) -> bool:
    """Whether it is unchanged."""
    return line.get(DIGEST) == digest_json(
        {key: value for key, value in line.items() if key != DIGEST}
    )


def who() -> str:
    """The user and the machine."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def reigns(lines: list[Line]) -> list[int]:
    """The champions of one model to which rollbacks lead back, the current one last.

    A promotion adds one; a rollback removes the last.
    """
    stack: list[int] = []
    for line in lines:
        champion = line.get("champion")
        if champion is None:
            stack = []
        elif line.get("action") == "rollback" and champion in stack:
            del stack[stack.index(champion) + 1 :]
        elif not stack or stack[-1] != champion:
            stack.append(champion)
    return stack


def withdrawn(lines: Iterable[Line], versions: Collection[int]) -> str | None:
    """When a rollback removed one of the versions, which contain the same package, if none of them
    has been champion since."""
    when = None
    for line in lines:
        if line.get("action") == "rollback" and line.get("former") in versions:
            when = line["time"]
        elif line.get("champion") in versions:
            when = None
    return when
