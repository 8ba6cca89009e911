"""The options of one run, in addition to the pipeline and the home."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.run.plan import Selection


@dataclass(frozen=True)
class RunOptions:
    """`using` names an earlier run: stages before the rerun take their artifacts from that run, and
    profile and overrides too if none are given. `run` is the id, by default a new one; `attempt`
    counts the processes that have tried this run. If `recorded` is false, nothing is written about
    the run, for a read-only home."""

    profile: str | None = None
    overrides: tuple[str, ...] = ()
    selection: Selection = Selection()
    using: str | None = None
    run: str | None = None
    attempt: int = 1
    recorded: bool = True
