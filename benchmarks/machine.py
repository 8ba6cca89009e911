"""Describes the machine of the measurements."""

from __future__ import annotations

import os
import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "tensorflow",
    "keras",
    "torch",
    "jax",
    "tokenizers",
    "numpy",
    "polars",
    "pyarrow",
    "prefect",
    "mlflow",
)


def described() -> str:
    """One paragraph: processor, cores, memory, versions."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return (
        f"Machine: {processor()}, {os.cpu_count()} cores, {memory_bytes() / 2**30:.0f} GiB, "
        f"{platform.system()}. Python {platform.python_version()}, {versions}."
    )


def processor() -> str:
    """The processor model, and its widest vector instructions."""
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"model name\s*: (.*)", facts)
    vectors = [
        name
        for flag, name in (("amx_tile", "AMX"), ("avx512f", "AVX-512"), ("avx2", "AVX2"))
        if flag in facts
    ]
    return ", ".join([model[1].strip() if model else platform.machine(), *vectors[:1]])


def in_use(seconds: float = 1.0) -> float | None:
    """The share of the cores' time that other processes use while this one waits that long; None if
    the system does not report it."""
    try:
        before = _times()
        time.sleep(seconds)
        passed = [new - old for new, old in zip(_times(), before, strict=True)]
    except OSError:
        return None
    idle = passed[3] + passed[4]  # and waiting for a disk
    return round(1 - idle / max(sum(passed), 1), 2)


def _times() -> list[int]:
    """Hundredths of seconds of all cores since the start: user, nice, system, idle, iowait, …"""
    return list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
