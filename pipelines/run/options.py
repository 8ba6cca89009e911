"""What a run is asked for, in addition to the pipeline and the home."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError
from pipelines.stages import NAMES, STAGES


@dataclass(frozen=True)
class Selection:
    """Which stages a run covers, and which of them are rerun even if nothing changed."""

    stages: tuple[str, ...] = NAMES
    forced: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, only: str | None = None, since: str | None = None, until: str | None = None
    ) -> Selection:
        """`only` one stage, or all `since` one are rerun on the existing earlier artifacts.

        `until` leaves out later stages; it does not force a rerun.
        """
        if sum(map(bool, (only, since, until))) > 1:
            raise UsageError("--only, --from and --until are mutually exclusive")
        if until:
            return cls(_up_to(until))
        if only:
            return cls(_up_to(only), (only,))
        if since:
            return cls(NAMES, NAMES[NAMES.index(since) :])
        return cls()

    def within(self, spec: Spec) -> Selection:
        """Without the stages that the pipeline does not have."""
        has = tuple(stage.name for stage in STAGES if spec.declares(stage.when))
        return replace(self, stages=tuple(name for name in self.stages if name in has))

    def needs_existing(self, stage: str) -> bool:
        """Before a rerun stage nothing is built: existing artifacts are used."""
        return bool(self.forced) and NAMES.index(stage) < NAMES.index(self.forced[0])


def _up_to(stage: str) -> tuple[str, ...]:
    """The stages up to one, and the report if there are figures to report."""
    stages = NAMES[: NAMES.index(stage) + 1]
    return (*stages, "report") if stage in ("metrics", "release") else stages


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
