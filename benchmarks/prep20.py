"""The same reviews 20 times, a million of 1.3 GB: is the time proportional to the text?"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.data import imdb, made
from benchmarks.harness import Conditions, Side, apart, take_turns
from benchmarks.prep import archived, ours
from benchmarks.results import Row, skipped

COPIES = 20
TITLE = "IMDb archive to batches, 20 times the text"


def compare(conditions: Conditions) -> Iterator[Row]:
    source = made(conditions, imdb(conditions))["source"]
    if not any(source.rglob("*.tar.gz")):
        yield skipped("prep20/time", TITLE, "Folio at 1×", "the samples are not an archive")
        return
    with tempfile.TemporaryDirectory(dir=conditions.home) as folder:
        place = Path(folder)
        if shutil.disk_usage(place).free < 20e9:
            yield skipped("prep20/time", TITLE, "Folio at 1×", "less than 20 GB of disk free")
            return
        apart(write, source, place / "one.tar.gz", 1)
        apart(write, source, place / "many.tar.gz", COPIES)
        one, many = (
            Side(ours, (conditions, *_declared(place / name, copies)))
            for name, copies in (("one.tar.gz", 1), ("many.tar.gz", COPIES))
        )
        once = take_turns({"one": one}, conditions.repeats)["one"]
        found = take_turns({"many": many}, 1)["many"]
    yield Row.within(
        "prep20/time",
        f"{TITLE}: time, relative to Folio at 1×",
        found.median / once.median,
        "× the time",
        22,
        1,
        f"{once.median:.1f} s for 50,000 reviews, {found.median:.0f} s for "
        f"{50_000 * COPIES:,}; the reviews of each copy end with a different number, or "
        "they would be duplicates.",
    )
    yield Row.within(
        "prep20/memory",
        f"{TITLE}: peak memory",
        found.peak_bytes / 1e9,
        "GB",
        1.5,
        1,
        f"{once.peak_bytes / 1e9:.2f} GB at 1×.",
    )


def _declared(archive: Path, copies: int) -> tuple[str, ...]:
    return (
        f"source.path={archive}",
        f"corpus.test={25_000 * copies}",
        f"corpus.validation={5000 * copies}",
    )


def write(source: Path, archive: Path, copies: int, first: int = 0) -> None:
    """An archive in aclImdb's layout with that many copies of all labelled reviews, which are
    numbered from `first`."""
    reviews = list(archived(source))
    with (
        gzip.open(archive, "wb", compresslevel=1) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as members,
    ):
        for copy in range(first, first + copies):
            for number, text in enumerate(reviews):
                label = "pos" if number % 2 else "neg"
                member = tarfile.TarInfo(f"aclImdb/train/{label}/{copy}{number:05}_1.txt")
                data = text + b"\n%d" % copy
                member.size = len(data)
                members.addfile(member, io.BytesIO(data))
