"""Runs the source stage of one pipeline in a home, for tests to watch, interrupt and kill.

    python -m tests.flows.one_run HOME PIPELINE leave|burst|wait|die

Prints the server's address when the run is over; then leaves, leaves right after a burst of BURST
tasks, waits for its standard input to end, or dies without a chance to tidy up.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from flows.server.lifecycle import prefect_api
from tasks.reporting import note_task_run

BURST = 60


def main(home: str, pipeline: str, then: str) -> None:
    os.environ["FOLIO_HOME"] = home
    with prefect_api(Path(home)) as url:
        from flows.retrain import retrain

        retrain(pipeline, only="source")
        print(url, flush=True)
        if then == "burst":
            burst()
        if then == "wait":
            sys.stdin.read()
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)


def burst() -> None:
    """Tasks that end sooner than they can be reported."""
    from prefect import flow, task
    from prefect.runtime import task_run

    @task
    def short() -> None:
        note_task_run(str(task_run.id))

    @flow
    def many() -> None:
        for _ in range(BURST):
            short()

    many()


if __name__ == "__main__":
    main(*sys.argv[1:])
