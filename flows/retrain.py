"""The table of contents: what a retraining is, from the source to the release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.states import Failed

from flows.console import Console
from pipelines.dashboard import dashboard_after
from pipelines.errors import FolioError
from pipelines.execute import Settings, home_folder
from pipelines.plan import Selection
from pipelines.retraining import Retraining
from pipelines.runs import Runs
from tasks.stages import (
    build_corpus,
    download,
    evaluate,
    register,
    tokenize,
    train,
    write_batches,
)


def run_id() -> str:
    """The id that the run was given, or a new one: the flow run's name and the record's."""
    given = flow_run.parameters
    return given.get("run") or Runs.new_id(Path(given["pipeline"]).stem)


def tag_as_sample() -> None:
    """Mark the flow run in Prefect: what it makes is for trying out."""
    with get_client(sync_client=True) as client:
        client.update_flow_run(flow_run.id, tags=[*flow_run.tags, "sample"])


@flow(name="retrain", flow_run_name=run_id, persist_result=False)
def retrain(pipeline: str, profile: str = "full", overrides: tuple[str, ...] = (),
            only: str | None = None, since: str | None = None, until: str | None = None,
            mirror: str | None = None, offline: bool = False, allow_sample: bool = False,
            run: str | None = None) -> dict[str, Any] | State:
    """Retrain one pipeline; what has not changed is reused. Gives the run's record.

    Args:
        pipeline: a name of the catalog, or the path of a declaration
        profile: which of its profiles
        overrides: key=value for single values of the declaration
        only: repeat this stage alone, on what is there
        since: repeat from this stage on
        until: leave out what lies below this stage
        mirror: folder or address where the source's files are looked for first
        offline: fetch nothing from the net
        allow_sample: when the source cannot be reached, go on with the small sample
        run: id of the run; made up when empty
    """
    with Console() as console:
        settings = Settings.at(home_folder(), mirror=mirror, offline=offline,
                               allow_sample=allow_sample, progress=console.progress)
        try:
            with (dashboard_after(settings, console.notice),
                  Retraining(pipeline, profile, overrides, settings=settings,
                             selection=Selection.of(only, since, until), run=flow_run.name,
                             notice=console.notice, on_sample=tag_as_sample) as job):
                source = download(job)
                corpus = build_corpus(job, source)
                tokens = tokenize(job, corpus)
                batches = write_batches(job, tokens)
                model = train(job, batches)
                metrics = evaluate(job, model, batches, tokens, corpus)
                register(job, model, metrics, tokens)
        except FolioError as error:
            return Failed(message=str(error), data=error)
    return job.record
