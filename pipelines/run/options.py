"""What is asked of one run, beside the pipeline and the home that it runs in."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.run.plan import Selection


@dataclass(frozen=True)
class RunOptions:
    """`using` names an earlier run: what lies above the repeated stage is taken as that run had it,
    and so are profile and overrides where none are given. `run` is the id, made up where there is
    none; `attempt` counts the processes that have tried this run. A run that is not `recorded`
    writes nothing of itself, in a home that can't be written.
    """

    profile: str | None = None
    overrides: tuple[str, ...] = ()
    selection: Selection = Selection()
    using: str | None = None
    run: str | None = None
    attempt: int = 1
    recorded: bool = True
