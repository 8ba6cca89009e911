"""The promotion journal: who became champion when, why, and on what evidence. Append-only.

`mlflow/journal.jsonl` of the home has a JSON object a line. Each holds the digest of the line
before it and its own, so that a line that was changed, taken out or put in shows.
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
    """The lines of the file `path`, which need not exist yet. Writers hold the registry's lock."""

    path: Path

    def lines(self, model: str | None = None) -> list[Line]:
        """All lines, or those of one model, oldest first; what is no line is left out.

        Raises UnreadableError when the file as a whole cannot be read.
        """
        return [
            line
            for _, line in self._read()
            if is_line(line) and (model is None or line["model"] == model)
        ]

    def is_whole(self) -> bool:
        """Whether all that it holds can be read; not whether all of that is true."""
        try:
            return all(is_line(line) for _, line in self._read())
        except UnreadableError:
            return False

    def sealed(self, entry: Line) -> Line:
        """The entry as the next line: numbered, after the line that is last now."""
        lines = self.lines()
        last = lines[-1] if lines else {}
        line = {"number": last.get("number", 0) + 1, PREVIOUS: last.get(DIGEST), **entry}
        return line | {DIGEST: digest_json(line)}

    def append(self, line: Line) -> None:
        """Write a sealed line, on the disk when this returns. Half a line, which a power cut may
        have left, goes first."""
        made(self.path.parent)
        with self.path.open("ab+") as file:
            file.truncate(self._whole_bytes())
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def problems(self) -> Iterator[str]:
        """What is not as it was written, in words, by line."""
        before: str | None = None
        for number, line in self._read():
            where = f"{self.path}:{number}"
            if line is None or DIGEST not in line:
                yield f"{where}: not a line of the journal"
                continue
            if not is_sealed(line):
                yield f"{where}: was changed after it was written"
            elif line.get(PREVIOUS) != before or line.get("number") != number:
                yield f"{where}: does not follow the line before it: a line was taken out or put in"
            elif not is_line(line):
                yield f"{where}: not a line of the journal"
            before = line.get(DIGEST)

    def _read(self) -> Iterator[tuple[int, Line | None]]:
        """(number from 1, the object in that line, or None where there is none)."""
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
                f"{self.path}: the journal cannot be read ({error.strerror}); restore it, or move "
                "it away: a new one then begins with the champions as they are"
            ) from error


def is_line(found: Line | None) -> TypeGuard[Line]:
    """Whether it has all that a line has. Models are named in folders and in questions to MLflow:
    a name that may stand in neither is none."""
    return (
        found is not None
        and all(
            isinstance(found.get(key, ""), kind) and key in found for key, kind in KINDS.items()
        )
        and is_name(found["model"])
    )


def is_name(model: str) -> bool:
    """Whether a registered model may be called so."""
    return unsafe(model) is None and not set(model) & set("/:'\"")


def is_sealed(line: Line) -> bool:
    """Whether it is as it was written."""
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
    """The champions of one model that rollbacks lead back through, the present one last.

    A promotion adds one; a rollback takes the last away.
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
    """When a rollback took one of the versions, which hold the same package, from its place, if
    none of them was champion again since."""
    when = None
    for line in lines:
        if line.get("action") == "rollback" and line.get("former") in versions:
            when = line["time"]
        elif line.get("champion") in versions:
            when = None
    return when
