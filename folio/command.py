"""Calls the `folio` command in a process of its own.

A run sets up Prefect, a backend of Keras and handlers of signals for its whole process. In a
notebook or another program these belong to the user, and what a training needs is freed with it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

from pipelines.errors import FolioError, UsageError
from pipelines.files.home import PROJECT

PREFIX = "folio: "  # of the line in which a command says why it failed
MIRROR = "FOLIO_MIRROR"  # may contain a password, which arguments would show to everyone


def answer_of(arguments: Sequence[str], mirror: str | None = None) -> Any:
    """What a command prints with --json. Its other lines appear on standard error as they come.

    Raises FolioError, or UsageError, with the line in which the command says why it failed.
    """
    # -P: modules in the working folder must not be taken for Folio's.
    command = [sys.executable, "-P", "-m", "flows.cli", *arguments, "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=_environment(mirror), encoding="utf-8", **pipes) as process:
        assert process.stdout and process.stderr
        lines: list[str] = []
        reader = threading.Thread(target=_shown, args=(process.stderr, lines))
        reader.start()
        try:
            printed = process.stdout.read()
            code = process.wait()
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)  # a notebook's is sent to the kernel alone
            process.wait()
            raise
        finally:
            reader.join()
    if code:
        raise _failure(code, printed, lines)
    return json.loads(printed)


def _environment(mirror: str | None) -> dict[str, str]:
    """With which the command is of this Folio, wherever it was imported from."""
    found = dict(os.environ)
    paths = filter(None, [str(PROJECT), found.get("PYTHONPATH")])
    return found | {"PYTHONPATH": os.pathsep.join(paths)} | ({MIRROR: mirror} if mirror else {})


def _shown(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line.strip())
        if not line.startswith(PREFIX):  # that one is the exception's
            print(line, end="", file=sys.stderr, flush=True)


def _failure(code: int, printed: str, lines: list[str]) -> FolioError:
    """From the record of a failed run, else from the last line."""
    answer = json.loads(printed) if printed else []
    records = answer if isinstance(answer, list) else [answer]
    said = [record["error"] for record in records if record.get("error")]
    said += [line.removeprefix(PREFIX) for line in lines if line.startswith(PREFIX)]
    kind = UsageError if code == UsageError.exit_code else FolioError
    return kind(said[0] if said else f"the command ended with code {code}: {lines[-1:]}")
