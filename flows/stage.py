"""The flow that reruns one stage from a form in Prefect's UI, like `folio run NAME --only
STAGE`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prefect import State, flow

from flows.parameters import Cluster, Mirror, Override, Pipeline, Profile, StageName, TrainIn
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
    cluster: Cluster | None = None,
    run: str | None = None,
) -> dict[str, Any] | State:
    """Rerun one stage of a pipeline on the existing artifacts. Returns the run's record.

    Args:
        pipeline: a name in the catalog, or the path of a declaration
        stage: the stage to rerun
        all_below: also rerun all later stages
        using: an earlier run whose artifacts the stage builds on
        profile: a profile of the declaration; default: full, or that of the run in using
        overrides: changes values of the declaration: training.epochs=2, one an item
        train_in: pool, here, or auto: the pool gpu if it has a worker
        require_gpu: fail if there is no GPU, instead of training on the CPU
        mirror: folder or address to look for files first; default: FOLIO_MIRROR
        offline: do not use the network
        cluster: a Dask cluster for the stages corpus, tokens and batches; default: FOLIO_CLUSTER
        run: name of the run; default: the Run Name above, if you chose it, or a new one
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
        cluster=cluster,
    )
