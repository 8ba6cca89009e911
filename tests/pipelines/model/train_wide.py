"""Trains a network with enough work for several threads, in a process of its own.

python -m tests.pipelines.model.train_wide BACKEND BATCHES FOLDER [KILL_AT [THREADS]]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.pipelines.model.test_stage import TRAINING, WRITER, train

WIDE = WRITER.model_copy(update={"units": (256,)})


def main(backend: str, batches: str, folder: str, kill_at: str = "-1", threads: str = "2") -> None:
    def progress(done: float, total: float, unit: str) -> None:
        if done == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    settings = TRAINING.model_copy(update={"backend": backend, "threads": int(threads)})
    print(train(Path(folder), Path(batches), WIDE, settings, progress)["resumed"])


if __name__ == "__main__":
    main(*sys.argv[1:])
