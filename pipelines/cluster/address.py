"""The addresses of clusters."""

from __future__ import annotations

import re
from importlib.util import find_spec

from pipelines.errors import UsageError

CLUSTER = "FOLIO_CLUSTER"  # instead of --cluster
LOCAL = re.compile(r"local:([1-9][0-9]{0,2})")
ADDRESS = re.compile(r"(tcp|tls)://[^\s/?#@]+:[0-9]+/?")


def checked(address: str | None) -> str | None:
    """The address of a Dask scheduler, or local:N for N processes on this machine. Raises
    UsageError if it is neither, or Dask is not installed."""
    if not address:
        return None
    if not LOCAL.fullmatch(address) and not ADDRESS.fullmatch(address):
        raise UsageError(
            f"--cluster {address!r}: give tcp://host:port or tls://host:port of a Dask scheduler, "
            "or local:N for N processes on this machine"
        )
    if find_spec("distributed") is None:
        raise UsageError("--cluster needs Dask: pip install 'folio[cluster]'")
    return address


def processes(address: str) -> int | None:
    """How many processes are to be started here; None for an address of a scheduler."""
    found = LOCAL.fullmatch(address)
    return int(found[1]) if found else None
