"""Commands that run pipelines and show past runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.app import app
from flows.cli.options import (
    AllowSample,
    AsJson,
    Backend,
    Cluster,
    Mirror,
    Name,
    Offline,
    Only,
    OnlyName,
    Overrides,
    Profile,
    RequireGpu,
    RunProfile,
    Since,
    TrainIn,
    Until,
    Using,
    answer,
    catalog_pipelines,
    overridden,
    place,
    selection,
    settings,
    stage,
    writable,
)
from flows.display import runs as display
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.store.settings import Settings

PENDING = 3


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the pipelines with their champions, metrics and last runs."""
    from pipelines.declaration.catalog import catalog_names
    from pipelines.declaration.load import load_catalog
    from pipelines.registry.lookup import champions

    here = settings()
    crowned, rows = champions(here.home), []
    specs, wrong = load_catalog()
    last: dict[str, dict[str, Any]] = {}
    for record in here.runs:
        last.setdefault(record["pipeline"], record)
    for name in [*catalog_names(), *sorted(set(last) - set(catalog_names()))]:
        record, champion = last.get(name) or {}, crowned.get(name)
        rows.append(
            {
                "pipeline": name,
                "title": specs[name].title if name in specs else "",
                "champion": champion,
                "last_run": record.get("started"),
                "state": record.get("state"),
                "problem": wrong.get(name),
            }
        )
    answer(rows, as_json, display.pipelines)


@app.command()
def plan(
    name: Name,
    profile: Profile = "full",
    overrides: Overrides = None,
    backend: Backend = None,
    only: Only = None,
    since: Since = None,
    mirror: Mirror = None,
    offline: Offline = False,
    as_json: AsJson = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="exit with code 3 if work is pending")
    ] = False,
) -> None:
    """Show what a run would do, stage by stage, and why. Runs nothing.

    \b
    Examples:
      folio plan imdb --profile quick
      folio plan imdb --set training.epochs=2
    """
    from pipelines.declaration.load import load_spec
    from pipelines.run.namesake import refuse_namesake
    from pipelines.run.plan import plan as decisions_of
    from pipelines.run.upstream import chain

    own = overridden(overrides, backend)
    spec = load_spec(name, profile, own)
    chain(name, profile, own)  # refuses a circle
    here = settings(mirror=mirror, offline=offline)
    refuse_namesake(name, here)
    decisions = decisions_of(spec, here, selection(only, since))
    stages = [decision.as_json() for decision in decisions]
    answer({"pipeline": spec.name, "profile": profile, "stages": stages}, as_json, display.plan)
    if exit_code and any(stage["action"] != "reuse" for stage in stages):
        raise typer.Exit(PENDING)


@app.command()
def run(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME…", help="pipelines to retrain", autocompletion=catalog_pipelines
        ),
    ],
    profile: RunProfile = None,
    only: Only = None,
    since: Since = None,
    until: Until = None,
    using: Using = None,
    overrides: Overrides = None,
    backend: Backend = None,
    train_in: TrainIn = "auto",
    require_gpu: RequireGpu = False,
    mirror: Mirror = None,
    offline: Offline = False,
    allow_sample: AllowSample = False,
    cluster: Cluster = None,
    with_upstream: Annotated[
        bool,
        typer.Option(
            "--with-upstream", help="first retrain the pipelines that these start from, in order"
        ),
    ] = False,
    no_register: Annotated[
        bool, typer.Option("--no-register", help="measure the model, but do not register it")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Retrain pipelines; unchanged stages are reused.

    \b
    Examples:
      folio run imdb --profile quick
      folio run imdb --from tokens --set tokens.min_count=3
      folio run imdb --only metrics --using 20261124-031500-imdb-5f0c
      folio run ./mine.yaml --mirror /srv/texts
      folio run imdb --with-upstream
      folio run imdb --no-register
      folio run imdb --cluster tcp://scheduler:8786
    """
    from flows.cli.declarations import notice_unscheduled
    from flows.cli.running import FlowOptions, run_upstream, run_variants, upstream_first
    from pipelines.cluster.address import checked

    own = overridden(overrides, backend)
    if no_register:
        if only or since or until:
            raise UsageError(
                "--no-register is for whole runs: leave out --only, --from and --until"
            )
        until = "metrics"
    options = FlowOptions(
        profile=profile,
        only=stage(only),
        since=stage(since),
        until=stage(until),
        using=using,
        train_in=place(train_in),
        require_gpu=require_gpu,
        mirror=mirror,
        offline=offline,
        allow_sample=allow_sample,
        cluster=checked(cluster),
    )
    wanted = [(name, own) for name in names]
    notice_unscheduled(names)
    if with_upstream:
        wanted = upstream_first(wanted, profile)
    before, code = run_upstream(wanted, settings(), options) if with_upstream else ([], 0)
    records: list[dict[str, Any]] = []
    if not code:
        records, code = run_variants(wanted, settings(), options)
    answer([*before, *records], as_json, display.summary)
    raise typer.Exit(code)


@app.command()
def runs(
    name: OnlyName = None,
    limit: Annotated[int, typer.Option(help="how many runs to list", min=1)] = 20,
    follow: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="show how far an active run is, until it ends; also: latest"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List past runs, newest first, or follow an active one.

    \b
    Examples:
      folio runs imdb --limit 5
      folio runs --follow latest
    """
    if follow is not None:
        from flows.display.following import follow as followed

        record = followed(settings(), follow)
        answer(record, as_json, display.run)
        raise typer.Exit(int(record["state"] == "failed"))
    records = [
        record
        for record in settings().runs
        if name is None or record["pipeline"] == pipeline_name(name)
    ]
    answer(records[:limit], as_json, display.runs)


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="a run's id, a prefix of it, or latest")] = "latest",
    as_json: AsJson = False,
) -> None:
    """Show one run: its stages, timings, counts and inputs."""
    from pipelines.network.addresses import config_shown

    here = settings()
    record = here.runs.get(run)
    for entry in record["stages"]:
        artifact = here.store.find(entry["stage"], entry["key"] or "")
        entry["manifest"] = artifact and artifact.manifest | {
            "config": config_shown(artifact.manifest["config"])
        }
    answer(record | {"mlflow": _in_mlflow(here, record)}, as_json, display.run)


def _in_mlflow(here: Settings, record: dict[str, Any]) -> str | None:
    """The address of the training's page, if a version was registered and MLflow's UI is up."""
    from pipelines.files.small_files import read_object
    from pipelines.report.links import run_address

    key = next((one["key"] for one in record["stages"] if one["stage"] == "release"), None)
    release = here.store.find("release", key or "")
    if release is None:
        return None
    return run_address(read_object(release.path / "release.json").get("mlflow_run"))


@app.command()
def dashboard(as_json: AsJson = False) -> None:
    """Write the overview page of all pipelines and print its path."""
    from datetime import UTC, datetime

    from pipelines.upkeep.dashboard import page_state, write_page

    here = writable()
    state = page_state(here, datetime.now(UTC))
    page = write_page(here.home, state)
    answer({"page": str(page), **state}, as_json, display.dashboard)
