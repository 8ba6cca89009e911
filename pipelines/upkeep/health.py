"""Whether what a home stands on is in order: packages, disk, declarations, registry, GPU.

Checks only look, and give findings; one that can be mended without asking carries how.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from pipelines.declaration.load import catalog_names, load_spec
from pipelines.errors import FolioError
from pipelines.files.home import why_closed
from pipelines.files.locks import try_lock
from pipelines.files.machine import one_line
from pipelines.model.backend import PACKAGES
from pipelines.registry.lookup import PACKAGE
from pipelines.registry.versions import CHAMPION, Version, versions
from pipelines.report.page import moment
from pipelines.run.freshness import freshness
from pipelines.store.fingerprint import library_version
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import LOW_DISK_BYTES, write_dashboard

GPU_SECONDS = 120  # for a backend to be imported and to look
FIX = "folio doctor --fix"
Mend = Callable[[], str]  # says what it did


@dataclass(frozen=True)
class Finding:
    """`text` says what is so, and where; `remedy` is a command or a sentence."""

    check: str
    state: Literal["ok", "warning", "problem"]
    text: str
    remedy: str | None = None
    mend: Mend | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "state": self.state,
            "text": self.text,
            "remedy": self.remedy,
            "fixable": self.mend is not None,
        }


Check = Callable[[], Iterable[Finding]]


def examined(checks: dict[str, Check]) -> list[Finding]:
    """What all checks find. One that cannot be done is a finding itself."""
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            found += check()
        except Exception as error:  # a check that fails hides no other
            what, _, remedy = one_line(error).partition("; ")  # as FolioErrors are written
            found.append(Finding(name, "problem", what, remedy or None))
    return found


# Packages


def packages() -> Iterator[Finding]:
    """Python and the installed packages against the bounds that Folio was tested within."""
    from packaging.specifiers import SpecifierSet

    try:
        required, told = metadata.requires("folio") or [], metadata.metadata("folio")
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages",
            "warning",
            "Folio itself is not installed, so that its bounds are not known",
            "pip install --editable . in the folder of Folio",
        )
        return
    python, bounds = platform.python_version(), SpecifierSet(told["Requires-Python"])
    if python not in bounds:
        yield Finding(
            "packages",
            "problem",
            f"Python {python} is outside the tested bounds {bounds}",
            "make setup PYTHON=python3.11",
        )
    wrong = list(outside(required))
    yield from wrong
    if not wrong and python in bounds:
        found = [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]
        backends = ", ".join(f"{name} {library_version(name)}" for name in found)
        yield Finding(
            "packages",
            "ok",
            f"Python {python} and all packages are within the tested bounds; backends: {backends}",
        )


def outside(required: Iterable[str]) -> Iterator[Finding]:
    """Requirements, as pip reads them, that what is installed does not meet. Extras need not be."""
    from packaging.requirements import Requirement

    for one in map(Requirement, required):
        version = library_version(one.name)
        wanted = f"{one.name}{one.specifier}"
        optional = one.marker is not None and not one.marker.evaluate({"extra": ""})
        if version == "not installed":
            if not optional:
                yield Finding(
                    "packages", "problem", f"{one.name} is not installed", f"pip install '{wanted}'"
                )
        elif not one.specifier.contains(version, prereleases=True):
            yield Finding(
                "packages",
                "problem",
                f"{one.name} {version} is outside the tested bounds {one.specifier}",
                f"pip install '{wanted}'",
            )


# Disk


def disk(home: Path) -> Iterator[Finding]:
    """Whether the home can be written to and locked in, and has room."""
    if reason := why_closed(home):
        what, _, remedy = reason.partition("; ")
        yield Finding("disk", "problem", what, remedy)
        return
    there = next(folder for folder in (home, *home.parents) if folder.is_dir())
    closed = [path for path in _folders(home) if not os.access(path, os.W_OK | os.X_OK)]
    if closed:
        yield Finding(
            "disk",
            "problem",
            f"{closed[0]}{_others(closed)} cannot be written to",
            f"give it to whoever runs Folio: chown -R USER {home}",
        )
        return
    free = shutil.disk_usage(there).free
    room = f"{there}: {free / 1e9:.1f} GB free"
    if there != home:
        yield Finding("disk", "ok", f"{room}; {home} is made by the first run")
    elif not _locks_hold(home):
        yield Finding(
            "disk",
            "problem",
            f"{home}: locks of files do not hold on this file system; "
            "two runs could do the same work",
            "set FOLIO_HOME to a local disk",
        )
    elif free < LOW_DISK_BYTES:
        yield Finding(
            "disk",
            "problem",
            f"{room}, too little for a run of the larger pipelines",
            "folio gc --yes, or set FOLIO_HOME to a larger disk",
        )
    else:
        yield Finding("disk", "ok", f"{room}; can be written to, locks hold")


def _folders(home: Path) -> Iterator[Path]:
    """What runs write to: the home's folders, those of the stages, that of the live runs."""
    for path in (*home.glob("*"), *home.glob("store/*"), *home.glob("runs/.live")):
        if path.is_dir():
            yield path


def _locks_hold(home: Path) -> bool:
    with TemporaryDirectory(dir=home, prefix=".doctor-") as folder:
        path = Path(folder) / "lock"
        try:
            first, second = try_lock(path), try_lock(path)
            return first is not None and second is None
        except OSError:
            return False


def _others(found: list[Any]) -> str:
    return f" (and {len(found) - 1} more)" if found[1:] else ""


# Declarations and schedules


def declarations(settings: Settings) -> Iterator[Finding]:
    """Whether those of the catalog load, and those that pipelines last ran with."""
    names, wrong = catalog_names(), 0
    for name in names:
        try:
            spec = load_spec(name)
            if spec.schedule is not None:
                load_spec(name, spec.schedule.profile)
        except FolioError as error:
            wrong += 1
            yield Finding("declarations", "problem", str(error), "mend that file")
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
                f"{pipeline} cannot run as it last did: {error}",
                "mend it, or let it be: nothing else needs it",
            )
    if not wrong:
        yield Finding(
            "declarations",
            "ok",
            f"{len(names)} of the catalog load, and those of the "
            f"{len(last)} pipelines that ran here",
        )


def _last_records(settings: Settings) -> dict[str, dict[str, Any]]:
    last: dict[str, dict[str, Any]] = {}
    for record in settings.runs:
        last.setdefault(record["pipeline"], record)
    return last


def schedules(settings: Settings, now: datetime | None = None) -> Iterator[Finding]:
    """Pipelines that ran by their schedule once, and now are late."""
    records = list(settings.runs)
    for name in catalog_names():
        schedule = load_spec(name).schedule
        own = [record for record in records if record["pipeline"] == name]
        fresh = freshness(schedule, own, now or datetime.now(UTC))
        if schedule and fresh["state"] == "late":
            yield Finding(
                "schedules",
                "warning",
                f"{name} is late: a run was due "
                f"{moment(fresh['due'])}, the last good one began "
                f"{moment(fresh['last'])}",
                f"folio up, or: folio run {name} --profile {schedule.profile}",
            )


def dashboard(settings: Settings) -> Iterator[Finding]:
    """Whether the page knows of the last run."""
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
            f"{page} does not tell of the last run",
            "folio dashboard",
            lambda: f"wrote {write_dashboard(settings)}",
        )


# Models


def registry(home: Path) -> Iterator[Finding]:
    """Whether the registry can be read, and each champion's files are those registered."""
    known = versions(home)
    wrong = False
    for one in known:
        if CHAMPION in one.aliases and one.folder is not None and (harm := harm_of(one)):
            wrong = True
            again = (
                f"move that away, then: folio run {one.name} --only release, and folio "
                f"promote {one.name} VERSION with the version that it names"
            )
            yield Finding(
                "registry",
                "problem",
                f"the champion of {one.name}, version {one.number}: {one.folder} {harm}",
                f"folio rollback {one.name}; or {again}",
            )
    if not wrong:
        champions = sum(CHAMPION in one.aliases for one in known)
        yield Finding(
            "registry",
            "ok",
            f"{len(known)} model versions, {champions} champions, their files whole",
        )


def harm_of(version: Version) -> str | None:
    """What is wrong with a version's files here, in words; None of one registered by hand."""
    from pipelines.serving.registered import registered_digest

    folder, tags = version.folder, version.tags
    if folder is None or "folio.package" not in tags:
        return None
    if not (folder / "data" / PACKAGE).is_dir():
        return "is not there"
    noted = tags.get("folio.files")
    return "is not what was registered" if noted and registered_digest(folder) != noted else None


# GPU


def gpu(ask: bool = False) -> Iterator[Finding]:
    """Whether this machine has a GPU; with `ask`, whether each backend can use it."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if not devices and not ask:
        yield Finding("gpu", "ok", "no NVIDIA GPU in this machine: training takes its CPUs")
    elif not ask:
        yield Finding(
            "gpu",
            "ok",
            f"NVIDIA GPUs in this machine: {devices}; whether training can "
            "use them says: folio doctor --gpu",
        )
    else:
        for name in filter(lambda name: importlib.util.find_spec(PACKAGES[name]), PACKAGES):
            yield _seen(name, devices)


def _seen(backend: str, devices: int) -> Finding:
    """Asked in a process of its own: a backend that looks may take the GPU's memory."""
    code = (
        "from pipelines.model.backend import training_device; "
        f"print(training_device({backend!r}, 'any', print))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
        timeout=GPU_SECONDS,
        check=False,
    )
    if done.stdout.strip() == "gpu":
        return Finding("gpu", "ok", f"{backend} sees a GPU")
    said = f"{backend} sees no GPU"
    if done.returncode:
        return Finding(
            "gpu",
            "problem",
            f"{said}: {done.stderr.strip().splitlines()[-1]}",
            f"pip install --force-reinstall {backend}",
        )
    if devices:
        return Finding(
            "gpu",
            "warning",
            f"{said}, though this machine has one",
            f"install its driver, and {backend} with its libraries for CUDA",
        )
    return Finding("gpu", "ok", f"{said}; there is none in this machine")
