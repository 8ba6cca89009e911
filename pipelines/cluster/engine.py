"""Where the steps of the data stages are done: here, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.cluster.address import checked
from pipelines.cluster.dask import Dask
from pipelines.steps.here import HERE
from pipelines.steps.step import Executor


@contextmanager
def engine(address: str | None) -> Iterator[Executor]:
    """An Executor on the cluster at this address; in this process if there is none. Raises
    UsageError if the address is none."""
    if (found := checked(address)) is None:
        yield HERE
        return
    dask = Dask(found)
    try:
        yield dask
    finally:
        dask.close()
