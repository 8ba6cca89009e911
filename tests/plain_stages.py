"""The stages of a pipeline that starts from nothing, as most tests have it."""

from __future__ import annotations

from pipelines import stages

STAGES = tuple(stage for stage in stages.STAGES if stage.when is None)
NAMES = tuple(stage.name for stage in STAGES)


def inputs_of(stage: stages.Stage) -> tuple[str, ...]:
    return stage.reads(NAMES)
