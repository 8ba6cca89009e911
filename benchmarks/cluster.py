"""The data stages on a local Dask cluster: how much less each of two workers has to do than one."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import imdb, made, quiet
from benchmarks.harness import Conditions, apart
from benchmarks.prep20 import write
from benchmarks.results import Row, skipped

ARCHIVES = 4  # of 50,000 reviews
TITLE = f"{ARCHIVES * 50_000:,} reviews in {ARCHIVES} archives to batches"


@dataclass(frozen=True)
class Cost:
    """Of a run: its seconds, and the CPU seconds of each worker, or of the one process."""

    seconds: float
    cpu: list[float]


def compare(conditions: Conditions) -> Iterator[Row]:
    source = made(conditions, imdb(conditions), "source")["source"]
    against = "one worker"
    if not any(source.rglob("*.tar.gz")):
        yield skipped("cluster/two", TITLE, against, "the samples are not an archive")
        return
    with tempfile.TemporaryDirectory(dir=conditions.home) as folder:
        place = Path(folder) / "parts"
        place.mkdir()
        for number in range(ARCHIVES):
            apart(write, source, place / f"part-{number}.tar.gz", 1, number)
        here, one, two = (apart(run, folder, str(place), workers) for workers in (0, 1, 2))
    figures = "; ".join(
        f"{what}: {cost.seconds:.0f} s, CPU {' and '.join(f'{used:.1f}' for used in cost.cpu)} s"
        for what, cost in (("in one process", here), ("one worker", one), ("two workers", two))
    )
    yield Row.within(
        "cluster/two",
        f"{TITLE}: CPU of the busiest of two workers, relative to one worker",
        max(two.cpu) / one.cpu[0],
        "× the CPU time",
        0.625,
        2,
        f"{figures}. The workers decide nothing; what the run itself does is not in their time.",
    )


def run(folder: str, source: str, workers: int) -> Cost:
    """The data stages in a new home, in this process if there are no workers."""
    from pipelines.cluster.dask import Dask
    from pipelines.cluster.engine import engine
    from pipelines.run.options import Selection
    from pipelines.run.retraining import retrain_plain
    from pipelines.store.settings import Settings

    home, own = Path(folder) / "home", _declared(source)
    with engine(f"local:{workers}" if workers else None) as steps:
        began, used = time.perf_counter(), time.process_time()
        retrain_plain(
            "imdb",
            "book",
            own,
            settings=Settings.at(home, steps=steps),
            selection=Selection.of(until="batches"),
            notice=quiet,
        )
        seconds, cpu = time.perf_counter() - began, [time.process_time() - used]
        if isinstance(steps, Dask):
            cpu = steps.cpu_seconds()
    shutil.rmtree(home)
    return Cost(seconds, cpu)


def _declared(source: str) -> tuple[str, ...]:
    test, validation = 12_500 * ARCHIVES, 2500 * ARCHIVES
    sizes = (f"corpus.test={test}", f"corpus.validation={validation}")
    return (f"source.path={source}", "tokens.max_tokens=null", *sizes)
