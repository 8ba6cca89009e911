"""Real processes of Folio that begin quickly: forked from one that has imported it.

    python -m torture.forge

reads orders as JSON lines, {"function": "module:name", "given": […], "log": path, "home": path},
forks a process for each, and writes {"pid"} when it has begun and {"status"} when it has ended. The
working directory and PYTHONPATH decide which copy of Folio it is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

# What a run imports, as far as it may be imported before a fork.
IMPORTED = (
    "mlflow.tracking",
    "mlflow.store.db.utils",
    "matplotlib.figure",
    "sklearn.linear_model",
    "pyarrow.parquet",
    "pipelines.run.retraining",
    "pipelines.report.stage",
    "pipelines.release.stage",
    "torture.work",
    "torture.power",
)


class Forge:
    """Starts one such process at a time. `copy`: the folder of the Folio that it imports; `log`:
    what it says itself."""

    def __init__(self, copy: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "torture.forge"],
            cwd=copy,
            env={**environment, "PYTHONPATH": str(copy)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("wb"),
            text=True,
        )
        self._answer()  # it is ready

    def begin(self, function: str, given: list[Any], home: Path, log: Path) -> int:
        """The process id."""
        assert self._process.stdin is not None
        order = {"function": function, "given": given, "log": str(log), "home": str(home)}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._answer()["pid"]

    def end(self) -> int:
        """How the process ended: its exit code, or minus the signal that killed it."""
        return self._answer()["status"]

    def run(self, function: str, given: list[Any], home: Path, log: Path) -> int:
        self.begin(function, given, home, log)
        return self.end()

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the process that forks others has ended: {said}")
        return json.loads(line)


def serve() -> None:
    from pipelines.model.backend import load_keras

    load_keras("tensorflow", threads=2)
    for module in IMPORTED:
        import_module(module)
    _say({"pid": os.getpid()})
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _carry_out(json.loads(line))
        _say({"pid": pid})
        _, status = os.waitpid(pid, 0)
        _say({"status": os.waitstatus_to_exitcode(status)})


def _carry_out(order: dict[str, Any]) -> None:
    """Does not return."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["FOLIO_HOME"] = order["home"]
    module, _, name = order["function"].partition(":")
    code = 70
    try:
        code = getattr(import_module(module), name)(*order["given"]) or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(answer: dict[str, Any]) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    serve()
