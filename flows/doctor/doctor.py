"""Checks the installation and the home, and makes the safe repairs: `folio doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from flows.doctor.cluster import cluster
from flows.doctor.servers import servers
from pipelines.errors import FolioError
from pipelines.files.machine import one_line
from pipelines.store.settings import Settings
from pipelines.upkeep import exposed, machine_health, pipeline_health, store_health
from pipelines.upkeep.dashboard import write_dashboard
from pipelines.upkeep.findings import Finding, Repair, examined


@dataclass(frozen=True)
class Depth:
    """How thorough the checks are: every file's digest, every backend's GPU."""

    digests: bool = False
    gpu: bool = False


def examine(settings: Settings, depth: Depth) -> list[Finding]:
    """All findings. Changes nothing."""
    return examined(
        {
            "packages": machine_health.packages,
            "disk": partial(machine_health.disk, settings.home),
            "modes": partial(store_health.modes, settings.home),
            "gpu": partial(machine_health.gpu, depth.gpu),
            "declarations": partial(pipeline_health.declarations, settings),
            "schedules": partial(pipeline_health.schedules, settings),
            "server": partial(servers, settings),
            "cluster": cluster,
            "registry": partial(pipeline_health.registry, settings.home),
            "shared store": partial(store_health.shared_store, settings),
            "artifacts": partial(store_health.artifacts, settings, depth.digests),
            "damaged": partial(store_health.set_aside, settings),
            "leftovers": partial(store_health.leftovers, settings),
            "records": partial(store_health.records, settings),
            "journal": partial(store_health.journal, settings),
            "secrets": partial(exposed.secrets, settings),
            "dashboard": partial(pipeline_health.dashboard, settings),
        }
    )


def homeless(error: FolioError) -> dict[str, Any]:
    """What `report` returns if there is no valid home: nothing else can be checked."""
    what, _, remedy = str(error).partition("; ")
    found = Finding("home", "problem", what, remedy or None)
    return {"findings": [found.as_json()], "fixed": [], "problems": 1, "warnings": 0}


def repair(found: Iterable[Finding], settings: Settings) -> list[str]:
    """Make each finding's repair once, then rewrite the dashboard. Returns what was done."""
    repairs = dict.fromkeys(finding.repair for finding in found if finding.repair is not None)
    done = list(map(_done, repairs))
    if done:
        write_dashboard(settings)
    return done


def _done(repair: Repair) -> str:
    try:
        return repair()
    except Exception as error:  # the other repairs are still made
        return f"NOT fixed: {one_line(error)}"


def report(settings: Settings, depth: Depth, fix: bool) -> dict[str, Any]:
    """{findings, fixed, problems, warnings}, as of the end."""
    found, fixed = examine(settings, depth), []
    if fix and (fixed := repair(found, settings)):
        found = examine(settings, depth)
    counts = {
        f"{state}s": sum(one.state == state for one in found) for state in ("problem", "warning")
    }
    return {"findings": [one.as_json() for one in found], "fixed": fixed, **counts}
