"""The retraining flow, from the source to the release and its report."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.display.console import Console
from flows.parameters import Cluster, Mirror, Override, Pipeline, Profile, StageName, TrainIn
from pipelines.cluster.address import CLUSTER
from pipelines.cluster.engine import engine
from pipelines.declaration.load import FULL, absolute
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError
from pipelines.files.home import home_folder, private_files
from pipelines.files.machine import one_line
from pipelines.files.names import unsafe
from pipelines.network.credentials import MIRROR, looked_up_by
from pipelines.run.options import RunOptions, Selection
from pipelines.run.retraining import Retraining
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from pipelines.store.times import utc
from pipelines.upkeep.dashboard import dashboard_after
from tasks.failures import failed
from tasks.pool import hands_over
from tasks.secrets import secret_block
from tasks.stages import (
    build_corpus,
    download,
    draw_report,
    evaluate,
    mix_with_counting,
    register,
    take_start,
    tokenize,
    train,
    train_in_pool,
    write_batches,
)

MAX_ATTEMPTS = 5  # how many processes may die in a run before it is given up


GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|"
    "tau|upsilon|phi|chi|psi|omega"
)
# The names that Prefect's server and page give to runs, such as slick-manticore and psi209-cait-k.
GENERATED = re.compile(rf"[a-z]+-[a-z]+|({GREEK})\d*(-[a-z]+){{1,3}}")


def run_id() -> str:
    """The run's given name, or a new id: the name of the flow run and of the record."""
    if flow_run.run_count > 0:  # read before this attempt is counted
        return flow_run.name  # the run of a dead process is continued under its name
    given = flow_run.parameters
    if chosen := given.get("run"):
        return chosen
    if not GENERATED.fullmatch(flow_run.name):
        return flow_run.name
    return Runs.new_id(pipeline_name(given["pipeline"]))


def tag_as_sample() -> None:
    """Mark the flow run in Prefect: its results are samples."""
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
    cluster: Cluster | None = None,
    run: str | None = None,
) -> dict[str, Any] | State:
    """Retrain one pipeline; unchanged stages are reused. Returns the run's record.

    Args:
        pipeline: a name in the catalog, or the path of a declaration
        profile: a profile of the declaration; default: full, or that of the run in using
        overrides: changes values of the declaration: training.epochs=2, one an item
        only: rerun only this stage, on the existing artifacts
        since: rerun from this stage on
        until: stop after this stage
        using: an earlier run, on whose artifacts only or from builds
        train_in: pool, here, or auto: the pool gpu if it has a worker
        require_gpu: fail if there is no GPU, instead of training on the CPU
        mirror: folder or address to look for files first; default: FOLIO_MIRROR
        offline: do not use the network
        allow_sample: if the source cannot be reached, use the small sample text
        cluster: a Dask cluster for the stages corpus, tokens and batches; default: FOLIO_CLUSTER
        run: name of the run; default: the Run Name above, if you chose it, or a new one
    """
    if flow_run.run_count > MAX_ATTEMPTS:
        return Failed(
            message=f"given up: {MAX_ATTEMPTS} processes died in this run; check their logs, then "
            "run it again: it continues from the published artifacts"
        )
    with private_files(), Console() as console, looked_up_by(secret_block):
        settings = Settings.at(
            home_folder(),
            mirror=mirror or os.environ.get(MIRROR),
            offline=offline,
            allow_sample=allow_sample,
            progress=console.progress,
            gpu="required" if require_gpu else "any",
            log=get_run_logger().info,
        )
        with dashboard_after(settings, console.notice):
            try:
                options = RunOptions(
                    profile,
                    tuple(overrides),
                    Selection.of(only, since, until),
                    using,
                    flow_run.name,
                    flow_run.run_count,
                )
                with (
                    engine(cluster or os.environ.get(CLUSTER)) as steps,
                    Retraining(
                        pipeline,
                        options,
                        settings=replace(settings, steps=steps),
                        notice=console.notice,
                        on_sample=tag_as_sample,
                    ) as job,
                ):
                    _stages(job, train_in)
            except Exception as error:
                _record_refused(settings.runs, pipeline, profile, error)
                return failed(error)
    idle = job.record["state"] == "nothing-to-do"
    return Completed(name="Nothing to do" if idle else "Completed", data=job.record)


def _stages(job: Retraining, train_in: str) -> None:
    source = download(job)
    corpus = build_corpus(job, source)
    start = take_start(job)
    tokens = tokenize(job, corpus, start)
    batches = write_batches(job, tokens)
    model = (train_in_pool if hands_over(train_in) else train)(job, batches, start)
    mix = mix_with_counting(job, model, batches, tokens, corpus)
    metrics = evaluate(job, model, batches, tokens, corpus, mix)
    release = register(job, model, metrics, tokens, corpus, mix)
    draw_report(job, corpus, tokens, batches, model, mix, metrics, release)


def _record_refused(runs: Runs, pipeline: str, profile: str | None, error: Exception) -> None:
    """A run that was refused before it began is listed too: it may have been started from a page.
    Its settings are left out: they may contain a password."""
    if runs.has(flow_run.name) or unsafe(flow_run.name) or "/" in flow_run.name:
        return
    record = {
        "run": flow_run.name,
        "pipeline": pipeline_name(pipeline),
        "declared": absolute(pipeline),
        "profile": profile or FULL,
        "sample": False,
        "started": utc(datetime.now(UTC)),
        "attempt": flow_run.run_count,
        "state": "failed",
        "seconds": 0.0,
        "stages": [],
        "error": one_line(error),
    }
    with suppress(OSError, FolioError):  # the error that ended the run is more important
        runs.save(runs.checked(record))
