"""The locked packages, and what the installed ones say of themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
CLASSIFIER = "License :: OSI Approved :: "


@dataclass(frozen=True, order=True)
class Package:
    name: str  # canonical
    version: str

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def locked(path: Path) -> list[Package]:
    """All packages of a lock, for every Python and platform."""
    found = PINNED.findall(path.read_text(encoding="utf-8"))
    return sorted({Package(canonicalize_name(name), version) for name, version in found})


def licence(package: Package) -> str | None:
    """As its metadata say, in a line; None if it is not installed or says nothing."""
    try:
        said = metadata.metadata(package.name)
    except metadata.PackageNotFoundError:
        return None
    if expression := said.get_all("License-Expression"):
        return str(expression[0])
    named = [
        value.removeprefix(CLASSIFIER)
        for value in said.get_all("Classifier") or ()
        if value.startswith(CLASSIFIER)
    ]
    text = "".join(said.get_all("License") or ()).strip()
    return ", ".join(named) or (text.splitlines()[0][:80] if text else None)
