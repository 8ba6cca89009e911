"""A cluster of processes on this machine, for `--cluster local:4`."""

from __future__ import annotations

import logging
import os
from typing import Any

# Dask's own threshold returns memory to the system after every array, which triples the time of
# steps that use NumPy.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": 128 * 2**20, "MALLOC_MMAP_THRESHOLD_": 32 * 2**20}  # bytes


def local_cluster(workers: int) -> Any:
    """A distributed.LocalCluster with so many processes. Only this process can reach it: its
    certificates are made anew, and never written."""
    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    threads = max(1, (os.cpu_count() or 1) // workers)
    environment = {**MALLOC, "OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            security=Security.temporary(),
            silence_logs=logging.CRITICAL,
        )
