"""The time of the command line when there is nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.data import imdb, made
from benchmarks.harness import Conditions, Measured, timed
from benchmarks.results import Row
from flows.server.lifecycle import shared_server
from flows.server.server_process import await_health

SMALL = (
    "tokens.max_tokens=50",
    "model.embedding=4",
    "model.units=[4]",
    "training.epochs=1",
    "registry.floor=0",
)


def compare(conditions: Conditions) -> Iterator[Row]:
    declared = imdb(conditions, *SMALL)
    made(conditions, declared, until="release")
    command = [
        "run",
        declared[0],
        "--profile",
        declared[1],
        *(part for text in declared[2] for part in ("--set", text)),
    ]
    with server(conditions.home):
        runs = command_seconds(conditions, command)
    yield Row.within(
        "idle/run",
        "folio run with nothing to do, server running",
        runs.median,
        "s",
        1.5,
        len(runs.values),
        "All of IMDb's artifacts exist and are checked by their digests.",
    )
    alone = command_seconds(conditions, command)
    yield Row.within(
        "idle/alone",
        "folio run with nothing to do, no server",
        alone.median,
        "s",
        2,
        len(alone.values),
    )
    for name, arguments, goal in (("help", ["--help"], 0.4), ("plan", ["plan", *command[1:]], 1)):
        found = command_seconds(conditions, arguments)
        yield Row.within(
            f"idle/{name}", f"folio {arguments[0]}", found.median, "s", goal, len(found.values)
        )


def command_seconds(
    conditions: Conditions, command: list[str], repeats: int | None = None
) -> Measured:
    """The seconds that `folio COMMAND` takes, measured from outside."""
    folio = Path(sys.executable).with_name("folio")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT")
    } | {"FOLIO_HOME": str(conditions.home)}

    def once() -> None:
        done = subprocess.run([folio, *command], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"folio {' '.join(command)}: {done.stderr[-2000:]}")

    return Measured(tuple(timed(once) for _ in range(repeats or conditions.repeats)))


@contextmanager
def server(home: Path) -> Iterator[str]:
    """The Prefect server of a home, running; its API's address."""
    with shared_server(home / "prefect") as running:
        await_health(running, home / "prefect")
        yield running.url
