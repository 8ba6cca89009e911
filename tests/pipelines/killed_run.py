"""A run without Prefect whose process is killed (kill -9) in the middle of one of its stages.

The kill comes when the stage begins to write its manifest: its files are there, and none is
published.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings


def killed_run(home: str, pipeline: str, stage: str) -> None:
    folder = f"{home}/store/{stage}/.tmp-"

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if (
            event == "open"
            and isinstance(given[0], str)
            and given[0].startswith(folder)
            and "/.manifest.json." in given[0]
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    retrain_plain(pipeline, settings=Settings.at(Path(home)))
