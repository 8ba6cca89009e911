"""Shows an active run of any process: the steps, the loss and the time left, until it ends."""

from __future__ import annotations

import time
from typing import Any

from flows.display.console import Console
from pipelines.errors import UsageError
from pipelines.store.live_progress import lines_of, progress_of
from pipelines.store.live_runs import live_runs
from pipelines.store.settings import Settings

LOOK_SECONDS = 1.0


def follow(settings: Settings, wanted: str) -> dict[str, Any]:
    """The record of the run, once it has ended. `wanted`: its id, a prefix of it, or latest.

    Raises UsageError if there is no such run.
    """
    runs, shown, stage, told = settings.runs.folder, None, None, 0
    run = _named(settings, wanted)
    with Console() as console:
        while run in _active(settings):
            for line in lines_of(runs, run)[told:]:
                console.notice(line)
                told, stage = told + 1, None  # a notice ends the progress line
            found = progress_of(runs, run)
            if found is not None:
                if found["stage"] != stage:
                    stage = found["stage"]
                    shown = console.progress(stage)
                if shown is not None and found["unit"]:
                    shown(found["done"], found["total"], found["unit"])
            time.sleep(LOOK_SECONDS)
    return settings.runs.get(run)


def _active(settings: Settings) -> list[str]:
    return [record["run"] for record in live_runs(settings.runs.folder) if "part_of" not in record]


def _named(settings: Settings, wanted: str) -> str:
    active = _active(settings)
    if wanted == "latest" and active:
        return active[-1]
    found = [run for run in active if run.startswith(wanted)]
    if len(found) > 1:
        raise UsageError(f"{len(found)} active runs start with {wanted!r}: {', '.join(found)}")
    return found[0] if found else settings.runs.get(wanted)["run"]
