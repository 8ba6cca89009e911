"""Trains on JAX in a process of its own, since Keras keeps the backend it was imported with.

python -m tests.pipelines.model.train_on KIND BATCHES FOLDER [DEVICES [KILL_AT [EPOCHS]]]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from tests.pipelines.model.test_stage import CLASSIFIER, TRAINING, WRITER, train

SPECS = {"classifier": CLASSIFIER.model_copy(update={"units": (5,)}), "language_model": WRITER}


def main(
    kind: str, batches: str, folder: str, devices: str = "1", kill_at: str = "-1", epochs: str = "3"
) -> None:
    used = set()

    def progress(done: float, total: float, unit: str) -> None:
        from keras import distribution

        shared = distribution.distribution()
        used.add(1 if shared is None else shared.num_model_replicas)
        if done == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    given = {"backend": "jax", "devices": int(devices), "epochs": int(epochs)}
    settings = TRAINING.model_copy(update=given)
    counts = train(Path(folder), Path(batches), SPECS[kind], settings, progress)
    (count,) = used
    print(
        f"{count} device{'s' if count > 1 else ''}, "
        + ("continued" if counts["resumed"] else "from the start")
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
