"""Wall time and peak memory of a block of work."""

from __future__ import annotations

import contextlib
import resource
import time
from pathlib import Path
from types import TracebackType


class Measurement:
    """`with Measurement() as m:` then `m.wall_seconds` and `m.peak_bytes`.

    The peak is the block's own if the kernel can reset the mark (Linux), else the process's.
    """

    wall_seconds: float
    peak_bytes: int

    def __enter__(self) -> Measurement:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wall_seconds = round(time.perf_counter() - self._start, 3)
        self.peak_bytes = _peak_bytes()


def _peak_bytes() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
