"""A search without Prefect, whose process is killed (kill -9) in the training of one of its trials.

The kill comes when the model stage begins to write its manifest: trained, but not published."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipelines.declaration.load import load_spec
from pipelines.run.grid import overrides
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.run.search import search_in
from pipelines.store.settings import Settings


def searched(home: str, pipeline: str, trials: int, killed_in: int | None = None) -> None:
    settings = Settings.at(Path(home))
    with search_in(settings.home, load_spec(pipeline)) as search:
        while (number := len(search.trials) + 1) <= trials:
            if number == killed_in:
                _kill_when_trained(home)
            variant = search.ask()
            record = retrain_plain(
                pipeline,
                overrides=overrides(variant),
                settings=settings,
                selection=Selection.of(until="model"),
            )
            search.tell(variant, record, settings.store)


def _kill_when_trained(home: str) -> None:
    folder = f"{home}/store/model/.tmp-"

    def watch(event: str, given: tuple[Any, ...]) -> None:
        if event == "open" and str(given[0]).startswith(folder) and "/.manifest." in str(given[0]):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
