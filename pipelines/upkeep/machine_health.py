"""Checks the machine: Python and its packages, the disk, the GPU."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.files.home import why_closed
from pipelines.files.locks import try_lock
from pipelines.model.backend import PACKAGES
from pipelines.store.fingerprint import library_version
from pipelines.upkeep.dashboard import LOW_DISK_BYTES
from pipelines.upkeep.findings import Finding

GPU_SECONDS = 120  # for a backend to be imported and checked


# Packages


def packages() -> Iterator[Finding]:
    """Python and the installed packages against the tested version bounds."""
    from packaging.specifiers import SpecifierSet

    try:
        required, package = metadata.requires("folio") or [], metadata.metadata("folio")
    except metadata.PackageNotFoundError:
        yield Finding(
            "packages",
            "warning",
            "Folio itself is not installed, so its version bounds are unknown",
            "pip install --editable . in Folio's folder",
        )
        return
    python, bounds = platform.python_version(), SpecifierSet(package["Requires-Python"])
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
    """Requirements, as pip reads them, that the installed packages do not meet. Extras are
    optional."""
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
    """Whether the home is writable, supports locks, and has free space."""
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
            f"give it to the user who runs Folio: chown -R USER {home}",
        )
        return
    free = shutil.disk_usage(there).free
    room = f"{there}: {free / 1e9:.1f} GB free"
    if there != home:
        yield Finding("disk", "ok", f"{room}; the first run creates {home}")
    elif not _locks_hold(home):
        yield Finding(
            "disk",
            "problem",
            f"{home}: file locks do not work on this file system; two runs could do the same work",
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
        yield Finding("disk", "ok", f"{room}; writable, locks work")


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


# GPU


def gpu(ask: bool = False) -> Iterator[Finding]:
    """Whether this machine has a GPU; with `ask`, whether each backend can use it."""
    devices = len(list(Path("/dev").glob("nvidia[0-9]*")))
    if not devices and not ask:
        yield Finding("gpu", "ok", "no NVIDIA GPU in this machine: training uses the CPU")
    elif not ask:
        yield Finding(
            "gpu",
            "ok",
            f"NVIDIA GPUs in this machine: {devices}; to check whether training can use "
            "them: folio doctor --gpu",
        )
    else:
        for name in filter(lambda name: importlib.util.find_spec(PACKAGES[name]), PACKAGES):
            yield _seen(name, devices)


def _seen(backend: str, devices: int) -> Finding:
    """Checked in a separate process: a backend may allocate the GPU's memory."""
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
            f"install its driver, and {backend} with its CUDA libraries",
        )
    return Finding("gpu", "ok", f"{said}; there is none in this machine")
