"""A real Dask scheduler with workers, and a source in parts."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.driver import SMALL
from tests.conftest import PROJECT

REVIEWS = """\
title: Reviews in parts
source: {{path: {parts}}}
corpus: {{reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review,
         label_column: kind, duplicates: drop, max_quarantined: 0.3}}
tokens: {{kind: word, max_tokens: 40}}
batches: {{batch_size: 8, max_buckets: 3}}
model: {{kind: classifier, embedding: 4, units: [4], dense: 4}}
training: {{epochs: 1}}
registry: {{metric: accuracy, floor: 0.1}}
"""
LINES = """\
title: Lines in parts
source: {{path: {parts}}}
corpus: {{reader: lines, split: hash, validation: 0.2, test: 0.2, glob: "*.csv"}}
tokens: {{kind: subword, max_size: 60}}
batches: {{batch_size: 8, sequence_length: 20}}
model: {{kind: language_model, embedding: 4, units: [4]}}
training: {{epochs: 1}}
registry: {{metric: perplexity, floor: 5000}}
"""
WORDS = [f"word{number}" for number in range(24)]
SECONDS = 60  # for a process to be ready


@dataclass
class Cluster:
    address: str
    scheduler: subprocess.Popen[bytes]
    add: Callable[[], None]  # one more worker
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)


Start = Callable[..., Cluster]  # of a number of workers, and what is in their environment


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small steps from little text."""
    for module, name, value in SMALL:
        monkeypatch.setattr(module, name, value)


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five files of 240 reviews, some of which repeat, or nearly repeat, another's."""
    folder, chance = tmp_path_factory.mktemp("source") / "parts", random.Random(5)
    folder.mkdir()
    texts = [" ".join(chance.choices(WORDS, k=chance.randint(3, 60))) for _ in range(1200)]
    for at in range(0, 1200, 100):
        texts[at] = texts[(at * 7 + 13) % 1200]
        texts[at + 1] = texts[(at * 11 + 17) % 1200] + " indeed"
    for number in range(5):
        with (folder / f"part-{number}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["review", "kind"])
            for at, text in enumerate(texts[number::5]):
                rows.writerow([text if at % 50 else " ", ("fine", "dull")[at % 2]])
    return folder


@pytest.fixture(scope="session", params=["reviews", "lines"])
def declared(request: pytest.FixtureRequest, parts: Path) -> Path:
    text = {"reviews": REVIEWS, "lines": LINES}[request.param]
    file = parts.parent / f"{request.param}.yaml"
    file.write_text(text.format(parts=parts))
    return file


@pytest.fixture(scope="session")
def reviews(parts: Path) -> Path:
    file = parts.parent / "only-reviews.yaml"
    file.write_text(REVIEWS.format(parts=parts))
    return file


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a scheduler with so many workers."""
    with ExitStack() as running:

        def started(workers: int, **environment: str) -> Cluster:
            return running.enter_context(_cluster(tmp_path, workers, environment))

        yield started


@contextmanager
def _cluster(folder: Path, workers: int, environment: dict[str, str]) -> Iterator[Cluster]:
    file = folder / "scheduler.json"
    given = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with ExitStack() as running:
        scheduler = running.enter_context(_process("scheduler", *given))
        deadline = time.monotonic() + SECONDS
        while not file.is_file() or not file.read_text():
            assert scheduler.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]

        def add() -> None:
            given = [address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
            where = ["--local-directory", str(folder), "--death-timeout", "30"]
            worker = _process("worker", *given, *where, **environment)
            cluster.workers.append(running.enter_context(worker))

        cluster = Cluster(address, scheduler, add)
        for _ in range(workers):
            add()
        yield cluster


@contextmanager
def _process(kind: str, *given: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    own = {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", kind, *given],
        env=os.environ | own | environment,
        cwd=os.path.sep,  # else Python looks for modules there first
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
