"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("tensorflow", "keras", "torch", "jax", "tokenizers", "numpy", "polars", "pyarrow",
            "prefect", "mlflow")


def described() -> str:
    """One paragraph: processor, cores, memory, versions."""
    versions = ", ".join(f"{name} {found}" for name in PACKAGES if (found := _version(name)))
    return (f"Machine: {processor()}, {os.cpu_count()} cores, {memory_bytes() / 2**30:.0f} GiB, "
            f"{platform.system()}. Python {platform.python_version()}, {versions}.")


def processor() -> str:
    """The model, and the widest vector instructions that it has."""
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    model = re.search(r"model name\s*: (.*)", facts)
    vectors = [name for flag, name in (("amx_tile", "AMX"), ("avx512f", "AVX-512"),
                                       ("avx2", "AVX2")) if flag in facts]
    return ", ".join([model[1].strip() if model else platform.machine(), *vectors[:1]])


def memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
