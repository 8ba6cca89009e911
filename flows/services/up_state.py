"""What `folio up` notes of itself while it runs in a home: `up/up.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError
from pipelines.files.locks import is_locked
from pipelines.files.small_files import read_object
from pipelines.report.links import ADDRESSES


def state_of(home: Path) -> dict[str, Any] | None:
    """The contents of up.json while `folio up` runs in this home, else None."""
    folder = home / "up"
    if not is_locked(folder / "lock"):
        return None
    try:
        return read_object(folder / "up.json", pid=int, ready=bool, addresses=dict)
    except (FileNotFoundError, UnreadableError):  # just started, or the file is damaged
        return {"pid": None, "ready": False, "addresses": {}}


def link_to_servers(home: Path) -> None:
    """Have this process link to the pages of the servers, unless the user names others."""
    addresses = (state_of(home) or {"addresses": {}})["addresses"]
    for name, variable in ADDRESSES.items():
        if address := addresses.get(name):
            os.environ.setdefault(variable, address)
