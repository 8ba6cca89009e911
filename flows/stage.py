"""One stage again, for the form in Prefect's page: what `folio run NAME --only STAGE` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import State, flow

from flows.parameters import Mirror, Override, Pipeline, Profile, StageName, TrainIn
from flows.retrain import retrain, run_id


@flow(name="stage", flow_run_name=run_id, persist_result=False)
def stage(
    pipeline: Pipeline,
    stage: StageName,
    all_below: bool = False,
    using: str | None = None,
    profile: Profile | None = None,
    overrides: Sequence[Override] = (),
    train_in: TrainIn = "auto",
    require_gpu: bool = False,
    mirror: Mirror | None = None,
    offline: bool = False,
    run: str | None = None,
) -> dict[str, Any] | State:
    """Repeat one stage of a pipeline on what is there. Gives the run's record.

    Args:
        pipeline: a name of the catalog, or the path of a declaration
        stage: the one to repeat
        all_below: repeat all stages below it too
        using: an earlier run, whose artifacts above the stage are used
        profile: which profile; full, or that of the run named by using
        overrides: key=value for single values of the declaration
        train_in: pool, here, or auto: the pool gpu where it has a worker
        require_gpu: fail where there is no GPU, instead of training on the CPU
        mirror: folder or address where files are looked for first; FOLIO_MIRROR when empty
        offline: fetch nothing from the net
        run: id of the run; made up when empty
    """
    return retrain.fn(
        pipeline,
        profile,
        overrides,
        only=None if all_below else stage,
        since=stage if all_below else None,
        using=using,
        train_in=train_in,
        require_gpu=require_gpu,
        mirror=mirror,
        offline=offline,
    )
