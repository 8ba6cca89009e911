"""Checks the pipelines: declarations, schedules, the dashboard, registered models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.declaration.load import load_catalog, load_spec
from pipelines.errors import FolioError
from pipelines.registry.lookup import PACKAGE
from pipelines.registry.mlflow_access import is_own
from pipelines.registry.versions import CHAMPION, Version, is_within, versions
from pipelines.report.page import moment
from pipelines.run.freshness import freshness
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import write_dashboard
from pipelines.upkeep.findings import Finding

# Declarations and schedules


def declarations(settings: Settings) -> Iterator[Finding]:
    """Whether the catalog's declarations load, and those that pipelines last ran with."""
    specs, invalid = load_catalog()
    wrong = len(invalid)
    for problem in invalid.values():
        yield Finding("declarations", "problem", problem, "fix that file")
    last = _last_records(settings)
    for pipeline, record in last.items():
        try:
            load_spec(
                record.get("declared", pipeline),
                record["profile"],
                tuple(record.get("overrides", ())),
            )
        except FolioError as error:
            wrong += 1
            yield Finding(
                "declarations",
                "warning",
                f"{pipeline} cannot run with the declaration of its last run: {error}",
                "fix it, or ignore this: nothing else needs it",
            )
    if not wrong:
        yield Finding(
            "declarations",
            "ok",
            f"the {len(specs)} in the catalog load, as do those of the {len(last)} "
            "pipelines that ran here",
        )


def _last_records(settings: Settings) -> dict[str, dict[str, Any]]:
    last: dict[str, dict[str, Any]] = {}
    for record in settings.runs:
        last.setdefault(record["pipeline"], record)
    return last


def schedules(settings: Settings, now: datetime | None = None) -> Iterator[Finding]:
    """Pipelines that have run on schedule before, and now are late."""
    records = list(settings.runs)
    for name, spec in load_catalog()[0].items():
        schedule = spec.schedule
        own = [record for record in records if record["pipeline"] == name]
        fresh = freshness(schedule, own, now or datetime.now(UTC))
        if schedule and fresh["state"] == "late":
            yield Finding(
                "schedules",
                "warning",
                f"{name} is late: a run was due {moment(fresh['due'])}, the last "
                f"successful one started {moment(fresh['last'])}",
                f"folio up, or: folio run {name} --profile {schedule.profile}",
            )


def dashboard(settings: Settings) -> Iterator[Finding]:
    """Whether the page includes the last run."""
    page = settings.home / "dashboard" / "index.html"
    now = time.time()  # a clock that was ahead left times that no page can be newer than
    last = max(
        (
            found
            for path in settings.runs.folder.glob("[!.]*.json")
            if (found := path.lstat().st_mtime) <= now
        ),
        default=None,
    )
    if last is not None and not (page.is_file() and page.stat().st_mtime >= last):
        yield Finding(
            "dashboard",
            "warning",
            f"{page} does not include the last run",
            "folio dashboard",
            lambda: f"wrote {write_dashboard(settings)}",
        )


# Models


def registry(home: Path) -> Iterator[Finding]:
    """Whether the registry is readable, and each champion's files are those registered."""
    known = versions(home)
    wrong = False
    for one in known:
        if CHAMPION in one.aliases and one.folder is not None and (harm := harm_of(one)):
            wrong = True
            again = (
                f"move that folder away, then: folio run {one.name} --only release, and "
                f"folio promote {one.name} VERSION with the version that it prints"
            )
            yield Finding(
                "registry",
                "problem",
                f"the champion of {one.name}, version {one.number}: {one.folder} {harm}",
                f"folio rollback {one.name}; or {again}",
            )
    for one in known if is_own(home) else ():
        if one.folder is not None and not is_within(home, one):
            wrong = True
            yield Finding(
                "registry",
                "warning",
                f"{one.name} version {one.number}: its files are outside this home: {one.folder}",
                f"folio run {one.name} --only release registers it here",
            )
    if not wrong:
        champions = sum(CHAMPION in one.aliases for one in known)
        yield Finding(
            "registry", "ok", f"{len(known)} model versions, {champions} champions, files intact"
        )


def harm_of(version: Version) -> str | None:
    """What is wrong with a version's files here, in words; None for one registered by hand."""
    from pipelines.serving.registered import registered_digest

    folder, tags = version.folder, version.tags
    if folder is None or "folio.package" not in tags:
        return None
    if not (folder / "data" / PACKAGE).is_dir():
        return "is missing"
    noted = tags.get("folio.files")
    return "is not what was registered" if noted and registered_digest(folder) != noted else None
