"""Does steps in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.parallel import mapped
from pipelines.steps.step import Done, Report, Step, listening, run_step


class Here:
    """An Executor on threads of this process."""

    def run(
        self, place: Path, steps: Sequence[Step], report: Report, unit: str, threads: int = 2
    ) -> list[Done]:
        alone = report if len(steps) == 1 else None

        def done(step: Step) -> Done:
            with listening(alone):
                return run_step(place, step)

        found = []
        for one in mapped(done, steps, threads):
            found.append(one)
            report(len(found), len(steps), unit)
        return found


HERE = Here()
