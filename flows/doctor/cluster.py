"""Checks the Dask cluster that FOLIO_CLUSTER names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

from pipelines.cluster.address import CLUSTER, checked, processes
from pipelines.cluster.dask import Dask
from pipelines.upkeep.findings import Finding


def cluster() -> Iterator[Finding]:
    """Whether it answers, and whether its workers would write the same bytes. Nothing if none is
    named."""
    address = checked(os.environ.get(CLUSTER))
    if address is None:
        return
    if count := processes(address):
        yield Finding("cluster", "ok", f"{CLUSTER}: runs start {count} processes on this machine")
        return
    with closing(Dask(address)) as found:
        workers, refused = found.look()
    for line in refused:
        what, _, remedy = line.partition("; ")
        yield Finding("cluster", "problem", what, remedy)
    if not workers:
        remedy = f"dask worker {address}"
        yield Finding("cluster", "problem", f"{CLUSTER}: {address} has no worker", remedy)
    elif not refused:
        number = f"{workers} worker{'s' if workers > 1 else ''}"
        yield Finding("cluster", "ok", f"{CLUSTER}: {address} has {number} with this Folio")
