"""The dashboard: one self-contained page on all pipelines, `dashboard/index.html` in the home.

`collect` gathers the data as JSON; `write_page` renders it. No network, no scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.declaration.catalog import catalog_names
from pipelines.declaration.load import FULL, load_spec
from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError
from pipelines.files.home import made
from pipelines.files.machine import one_line
from pipelines.files.whole_files import write_whole
from pipelines.registry.champions import journal_of, reigns_of
from pipelines.registry.lookup import how_to_approve, list_models
from pipelines.registry.versions import CHAMPION
from pipelines.report.links import addresses
from pipelines.report.metric_chart import metric_chart
from pipelines.report.page import moment, render
from pipelines.run.freshness import freshness
from pipelines.run.plan import plan
from pipelines.store.artifacts import Store
from pipelines.store.run_records import RunsRead
from pipelines.store.settings import Settings
from pipelines.store.times import utc
from pipelines.upkeep.disk import disk_usage
from pipelines.upkeep.running import running

LAST_RUNS = 12  # shown
LOW_DISK_BYTES = 2e9  # free bytes: below this, another run of the larger pipelines may not fit


@contextmanager
def dashboard_after(settings: Settings, notice: Callable[[str], None]) -> Iterator[None]:
    """Rewrites the page after the block, however that ended. An error in the page is only
    reported."""
    try:
        yield
    finally:
        try:
            write_dashboard(settings)
        except Exception as error:  # the run's own error is more important
            notice(f"the dashboard was not rewritten: {one_line(error)}")


def write_dashboard(settings: Settings, now: datetime | None = None) -> Path:
    """Write the current page. Returns its path."""
    return write_page(settings.home, page_state(settings, now or datetime.now(UTC)))


def page_state(settings: Settings, now: datetime) -> dict[str, Any]:
    """{written, pipelines, running, runs, disk, links, attention}: the page's contents, as JSON
    data."""
    made(settings.home)
    records, unreadable = settings.runs.read_all()
    attention = []
    try:
        models = {model["name"]: model["versions"] for model in list_models(settings.home)}
    except FolioError as error:
        models = {}
        attention.append({"pipeline": None, "text": str(error)})
    reigns: dict[str, list[tuple[str, int | None]]] = {}
    try:
        reigns = {name: reigns_of(journal_of(settings.home).lines(name)) for name in models}
    except FolioError as error:
        attention.append({"pipeline": None, "text": str(error)})
    attention += [
        {"pipeline": None, "text": f"{error}; that run is not listed"}
        for error in unreadable.values()
    ]
    ran = {record["pipeline"] for record in records}
    # `folio plan` reads every byte of the store and asks the network: that takes seconds.
    glance = replace(
        settings,
        store=Store(settings.store.root, digests=False),
        runs=RunsRead(settings.runs.folder, records),
        offline=True,
    )
    pipelines = [
        _pipeline(
            name,
            [record for record in records if record["pipeline"] == name],
            models.get(name, []),
            reigns.get(name, []),
            glance,
            now,
        )
        for name in [*sorted(ran), *sorted(set(catalog_names()) - ran)]
    ]
    disk = disk_usage(settings.home)
    attention += [note for pipeline in pipelines for note in _attention(pipeline)]
    if disk["free"] < LOW_DISK_BYTES:
        attention.append({"pipeline": None, "text": "the disk is nearly full"})
    return {
        "written": utc(now),
        "pipelines": pipelines,
        "running": running(settings.runs.folder),
        "runs": records[:LAST_RUNS],
        "disk": disk,
        "links": addresses(),
        "attention": attention,
    }


def _pipeline(
    name: str,
    records: list[dict[str, Any]],
    versions: list[dict[str, Any]],
    reigns: list[tuple[str, int | None]],
    settings: Settings,
    now: datetime,
) -> dict[str, Any]:
    """The state of one pipeline; `records` newest first, `versions` oldest first."""
    last = records[0] if records else None
    declaration = name
    if last is not None and name not in catalog_names():
        declaration = last.get("declared", f"{name}.yaml")
    spec, unknown = _loaded(declaration, FULL)
    schedule = spec.schedule if spec else None
    profile = schedule.profile if schedule else last["profile"] if last else FULL
    if spec is not None and profile != FULL:
        spec, unknown = _loaded(declaration, profile)
    stages, unknown = _planned(spec, settings) if spec else (None, unknown)
    metric = spec.registry.metric if spec else versions[-1]["metric"] if versions else "metric"
    return {
        "pipeline": name,
        "title": spec.title if spec else "",
        "declaration": declaration,
        "started": bool(records or versions),
        "metric": metric,
        "lower_is_better": metric in LOWER_IS_BETTER,
        "champion": next((v for v in versions if CHAMPION in v["aliases"]), None),
        "versions": versions,
        "reigns": reigns,
        "schedule": schedule.model_dump() if schedule else None,
        "freshness": freshness(schedule, records, now),
        "problem": unknown if spec is None and name in catalog_names() else None,
        "plan": {"profile": profile, "stages": stages, "unknown": unknown},
        "last_run": last,
    }


def _loaded(declaration: str, profile: str) -> tuple[Spec | None, str | None]:
    """The declaration, or why there is none."""
    try:
        return load_spec(declaration, profile), None
    except Exception as error:  # one pipeline's trouble does not hide the others
        return None, one_line(error)


def _planned(spec: Spec, settings: Settings) -> tuple[list[dict[str, Any]] | None, str | None]:
    """What `folio plan` says, without checking the files' digests; or why that is unknown."""
    try:
        decisions = plan(spec, settings)
    except Exception as error:
        return None, one_line(error)
    return [decision.as_json() for decision in decisions], None


def _attention(pipeline: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What needs attention, each in one sentence."""
    name, fresh, last = pipeline["pipeline"], pipeline["freshness"], pipeline["last_run"]
    if pipeline["problem"]:
        yield {"pipeline": name, "text": f"cannot run: {pipeline['problem']}"}
    if fresh["state"] == "late":
        yield {
            "pipeline": name,
            "text": f"is late: a run was due {moment(fresh['due'])}, the last successful one "
            f"started {moment(fresh['last'])}",
        }
    for version in pipeline["versions"]:
        if version["waits"]:
            how = how_to_approve(name, version["version"])
            yield {"pipeline": name, "text": f"version {version['version']} {how}"}
    if last is not None and last["state"] == "failed":
        yield {"pipeline": name, "text": f"failed on {moment(last['started'])}: {last['error']}"}


# The page


def write_page(home: Path, state: dict[str, Any]) -> Path:
    """Render what `collect` returned. Returns the page's path."""
    folder = made(home / "dashboard")
    charts = {
        one["pipeline"]: metric_chart(one["versions"], one["metric"], one["reigns"])
        for one in state["pipelines"]
    }
    reports = {run["run"]: report_link(run, home) for run in state["runs"]}
    page = render("dashboard.html", charts=charts, reports=reports, **state)
    write_whole(folder / "index.html", page)
    return folder / "index.html"


def report_link(run: dict[str, Any], home: Path) -> str | None:
    """The link from the page to the run's report, while the store has it. It is relative, so the
    home can be moved."""
    keys = {stage["stage"]: stage["key"] for stage in run["stages"]}
    pages = (
        f"store/{stage}/{keys[stage]}/report.html"
        for stage in ("report", "release", "metrics")  # where earlier versions wrote it
        if keys.get(stage)
    )
    page = next((page for page in pages if (home / page).is_file()), None)
    return f"../{quote(page)}" if page else None
