"""Trains on a backend in a process of its own, since Keras keeps the one that it was imported with.

python -m tests.pipelines.model.train_on BACKEND KIND BATCHES FOLDER [KILL_AT]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.pipelines.model.test_stage import CLASSIFIER, TRAINING, WRITER, train

SPECS = {"classifier": CLASSIFIER.model_copy(update={"units": (5,)}), "language_model": WRITER}


def main(backend: str, kind: str, batches: str, folder: str, kill_at: str = "-1") -> None:
    def progress(done: float, total: float, unit: str) -> None:
        if done == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    settings = TRAINING.model_copy(update={"backend": backend})
    counts = train(Path(folder), Path(batches), SPECS[kind], settings, progress)
    print(counts["resumed"])


if __name__ == "__main__":
    main(*sys.argv[1:])
