"""The table of contents: what a retraining is, from the source to the release and its report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.display.console import Console
from flows.parameters import Mirror, Override, Pipeline, Profile, StageName, TrainIn
from pipelines.files.home import home_folder, private_files
from pipelines.network.credentials import MIRROR, looked_up_by
from pipelines.run.options import RunOptions
from pipelines.run.plan import Selection
from pipelines.run.retraining import Retraining
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import dashboard_after
from tasks.failures import failed
from tasks.pool import hands_over
from tasks.secrets import secret_block
from tasks.stages import (
    build_corpus,
    download,
    draw_report,
    evaluate,
    register,
    tokenize,
    train,
    train_in_pool,
    write_batches,
)

MAX_ATTEMPTS = 5  # processes that may die over one run before it is given up


def run_id() -> str:
    """The id that the run was given, or a new one: the flow run's name and the record's."""
    if flow_run.run_count > 0:  # asked before this attempt is counted
        return flow_run.name  # the run of a process that died goes on under its name
    given = flow_run.parameters
    return given.get("run") or Runs.new_id(Path(given["pipeline"]).stem)


def tag_as_sample() -> None:
    """Mark the flow run in Prefect: what it makes is for trying out."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=[*flow_run.tags, "sample"])


@flow(name="retrain", flow_run_name=run_id, persist_result=False)
def retrain(
    pipeline: Pipeline,
    profile: Profile | None = None,
    overrides: Sequence[Override] = (),
    only: StageName | None = None,
    since: StageName | None = None,
    until: StageName | None = None,
    using: str | None = None,
    train_in: TrainIn = "auto",
    require_gpu: bool = False,
    mirror: Mirror | None = None,
    offline: bool = False,
    allow_sample: bool = False,
    run: str | None = None,
) -> dict[str, Any] | State:
    """Retrain one pipeline; what has not changed is reused. Gives the run's record.

    Args:
        pipeline: a name of the catalog, or the path of a declaration
        profile: which of its profiles; full, or that of the run named by using
        overrides: key=value for single values of the declaration
        only: repeat this stage alone, on what is there
        since: repeat from this stage on
        until: leave out what lies below this stage
        using: an earlier run, on whose artifacts only or since repeat
        train_in: pool, here, or auto: the pool gpu where it has a worker
        require_gpu: fail where there is no GPU, instead of training on the CPU
        mirror: folder or address where files are looked for first; FOLIO_MIRROR when empty
        offline: fetch nothing from the net
        allow_sample: when the source cannot be reached, go on with the small sample
        run: id of the run; made up when empty
    """
    if flow_run.run_count > MAX_ATTEMPTS:
        return Failed(
            message=f"given up: {MAX_ATTEMPTS} processes died over it; look at their "
            "logs, then run it again: it goes on from what was published"
        )
    with private_files(), Console() as console, looked_up_by(secret_block):
        settings = Settings.at(
            home_folder(),
            mirror=mirror or os.environ.get(MIRROR),
            offline=offline,
            allow_sample=allow_sample,
            progress=console.progress,
            gpu="required" if require_gpu else "any",
        )
        try:
            with (
                dashboard_after(settings, console.notice),
                Retraining(
                    pipeline,
                    RunOptions(
                        profile,
                        tuple(overrides),
                        Selection.of(only, since, until),
                        using,
                        flow_run.name,
                        flow_run.run_count,
                    ),
                    settings=settings,
                    notice=console.notice,
                    on_sample=tag_as_sample,
                ) as job,
            ):
                source = download(job)
                corpus = build_corpus(job, source)
                tokens = tokenize(job, corpus)
                batches = write_batches(job, tokens)
                model = (train_in_pool if hands_over(train_in) else train)(job, batches)
                metrics = evaluate(job, model, batches, tokens, corpus)
                release = register(job, model, metrics, tokens, corpus)
                draw_report(job, corpus, tokens, batches, model, metrics, release)
        except Exception as error:
            return failed(error)
    idle = job.record["state"] == "nothing-to-do"
    return Completed(name="Nothing to do" if idle else "Completed", data=job.record)
