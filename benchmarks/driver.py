"""What a run itself holds in memory while two workers prepare data: bytes for each document."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.data import quiet
from benchmarks.harness import Conditions, Side, Turn, take_turns
from benchmarks.results import Row

SIZES = (200_000, 1_000_000, 5_000_000)  # documents
IN_A_FILE = 50_000
MANY = 100_000_000
WORDS = 8  # in a document, of so many different ones:
KNOWN = 20_000
TITLE = f"Memory of the run, not of its two workers, at {MANY:,} short documents"


def compare(conditions: Conditions) -> Iterator[Row]:
    sizes = (2_000, 4_000, 8_000) if conditions.quick else SIZES
    with tempfile.TemporaryDirectory(dir=conditions.home) as folder:
        peaks = [_peak(Path(folder), size) for size in sizes]
    slope, base = np.polyfit(sizes, peaks, 1)
    listed = ", ".join(
        f"{peak / 1e9:.2f} GB at {size:,}" for size, peak in zip(sizes, peaks, strict=True)
    )
    yield Row.within(
        "driver/memory",
        TITLE,
        (base + slope * MANY) / 1e9,
        "GB",
        8,
        1,
        f"By a line through the peaks of the data stages: {listed}; {slope:.0f} bytes a document. "
        f"Documents of {WORDS} words and a label, split by hash, in files of {IN_A_FILE:,}.",
    )


def _peak(folder: Path, documents: int) -> int:
    """Bytes, highest in a process that only runs the data stages of so many documents."""
    source = folder / "parts"
    source.mkdir()
    for first in range(0, documents, IN_A_FILE):
        count = min(IN_A_FILE, documents - first)
        write(source / f"part-{first // IN_A_FILE:05}.jsonl", first, count)
    side = Side(run, (str(folder), str(source)))
    peak = take_turns({"run": side}, 1)["run"].peak_bytes
    shutil.rmtree(source)
    return peak


def write(path: Path, first: int, count: int) -> None:
    """Documents of random words, of which no two are equal, in JSONL."""
    drawn = random.Random(first)
    with path.open("w", encoding="ascii") as file:
        for number in range(first, first + count):
            words = " ".join(f"w{drawn.randrange(KNOWN)}" for _ in range(WORDS - 1))
            label = ("negative", "positive")[drawn.randrange(2)]
            file.write(f'{{"review": "{words} n{number}", "sentiment": "{label}"}}\n')


def run(folder: str, source: str) -> Turn:
    """The data stages on a local cluster of two, in a new home."""
    from pipelines.cluster.engine import engine
    from pipelines.run.options import Selection
    from pipelines.run.retraining import retrain_plain
    from pipelines.store.settings import Settings

    home = Path(folder) / "home"
    own = (
        f"source.path={source}",
        "corpus.reader=jsonl",
        "corpus.split=hash",
        "corpus.group=null",
        "tokens.max_size=30000",
    )

    def turn() -> float:
        with engine("local:2") as steps:
            retrain_plain(
                "imdb",
                "sample",
                own,
                settings=Settings.at(home, steps=steps),
                selection=Selection.of(until="batches"),
                notice=quiet,
            )
        shutil.rmtree(home)
        return 0.0

    return turn
