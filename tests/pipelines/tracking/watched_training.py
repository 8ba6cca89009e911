"""A training without Prefect that is killed, or fails, in its second epoch, once MLflow has the
first."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import FolioError
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import Progress
from pipelines.store.settings import Settings


def killed_training(home: str, pipeline: str) -> None:
    train_until(home, pipeline, lambda: os.kill(os.getpid(), signal.SIGKILL))


def failing_training(home: str, pipeline: str) -> None:
    def fail() -> None:
        raise FolioError("no more")

    train_until(home, pipeline, fail)


def train_until(home: str, pipeline: str, end: Callable[[], None]) -> None:
    database = Path(home) / "mlflow" / "mlflow.db"

    def progress(stage: str) -> Progress:
        def note(done: float, total: float | None, unit: str) -> None:
            if stage == "model" and "epoch 2/" in unit:
                await_points(database)
                assert "mlflow" not in sys.modules, "its import costs the training seconds"
                end()

        return note

    retrain_plain(pipeline, settings=Settings.at(Path(home), progress=progress))


def await_points(database: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with sqlite3.connect(database) as rows:
            if rows.execute("SELECT 1 FROM metrics WHERE key = 'validation_loss'").fetchone():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)
