"""Runs the data stages of a declaration with many small steps, in a process of its own.

    python -m tests.cluster.driver HOME DECLARATION WHERE

Prints what is done, a line each: `step NAME PROCESS`, `progress TEXT`, at the end `digest STAGE
DIGEST`. A step that was done before has the process that did it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.batches import writer
from pipelines.cluster.engine import engine
from pipelines.corpus import reading, shards
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.steps.step import Done, Executor, Report, Step
from pipelines.store.settings import Settings

SMALL = (
    (reading, "PART_BYTES", 1),
    (shards, "SHARD_DOCUMENTS", 150),
    (writer, "BATCHES_PER_FILE", 2),
)
Heard = Callable[[str], None]


class Told:
    """An Executor that says what another has done. With a seed, the other is given the steps in
    another order."""

    def __init__(self, other: Executor, heard: Heard, seed: int | None = None) -> None:
        self._other, self._heard, self._seed = other, heard, seed

    def run(
        self, place: Path, steps: Sequence[Step], report: Report, unit: str, threads: int = 2
    ) -> list[Done]:
        order = list(range(len(steps)))
        if self._seed is not None:
            random.Random(self._seed).shuffle(order)

        def both(done: float, total: float | None, unit: str) -> None:
            self._heard(f"progress {done} {unit}")
            report(done, total, unit)

        given = self._other.run(place, [steps[at] for at in order], both, unit, threads)
        found = dict(zip(order, given, strict=True))
        for number, step in enumerate(steps):
            self._heard(f"step {step.name} {found[number].ran['where']}")
        return [found[number] for number in range(len(steps))]


def data_stages(
    home: Path, declaration: Path, where: str | None, heard: Heard, seed: int | None = None
) -> dict[str, str]:
    """{stage: digest} of the stages up to batches, in `home`."""
    with engine(where) as steps:
        settings = Settings.at(home, steps=Told(steps, heard, seed))
        record = retrain_plain(
            str(declaration),
            settings=settings,
            selection=Selection.of(until="batches"),
            notice=lambda text: None,
        )
    found = {
        one["stage"]: settings.store.find(one["stage"], one["key"]) for one in record["stages"]
    }
    return {stage: artifact.digest for stage, artifact in found.items() if artifact}


def main() -> None:
    home, declaration, where = sys.argv[1:]
    for module, name, value in SMALL:
        setattr(module, name, value)

    def heard(text: str) -> None:
        print(text, flush=True)

    given = None if where == "here" else where
    for stage, digest in data_stages(Path(home), Path(declaration), given, heard).items():
        heard(f"digest {stage} {digest}")


if __name__ == "__main__":
    main()
