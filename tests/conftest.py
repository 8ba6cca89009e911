"""Shared by all tests: the real files where they are, and tiny artifacts made by real stages."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import random
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import settings as hypothesis_settings

from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import Spec
from pipelines.model.backend import TENSORFLOW_THREADS
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import MANIFEST, Artifact
from pipelines.store.lineage import stored
from pipelines.store.manifest import SEAL, content_digest, key_of, sealed, text_of
from pipelines.store.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
MIRROR = PROJECT.parent / "shared" / "mirror"

needs_mirror = pytest.mark.skipif(
    not MIRROR.is_dir(), reason="the real files are not here (../shared/mirror is missing)"
)

# A suite in the background is started with interrupts ignored, and so would all that it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A process keeps the threads that it begins with: what predicts in one test trains in another.
os.environ.setdefault(TENSORFLOW_THREADS, "2")

# A busy machine is not a failure, and first examples import libraries.
hypothesis_settings.register_profile("folio", deadline=None)
hypothesis_settings.load_profile("folio")

REVIEWS = """\
title: Tiny reviews
source: {{path: {samples}/reviews.csv}}
corpus: {{reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review,
         label_column: sentiment}}
tokens: {{kind: word, max_tokens: 40}}
batches: {{batch_size: 16, max_buckets: 3}}
model: {{kind: classifier, cell: lstm, bidirectional: true, embedding: 6, units: [5], dense: 7}}
training: {{epochs: 2, learning_rate: 0.02}}
evaluation: {{slices: [length, unknown_rate]}}
registry: {{metric: accuracy, floor: 0.1}}
"""
PLAY = """\
title: Tiny play
source: {{path: {samples}/play.txt}}
corpus: {{reader: text, split: contiguous, validation: 0.1, test: 0.1}}
tokens: {{kind: char}}
batches: {{batch_size: 8, sequence_length: 50}}
model: {{kind: language_model, cell: gru, embedding: 6, units: [11]}}
training: {{epochs: 2, learning_rate: 0.02}}
evaluation: {{start: "MARIAN:", sample_length: 30, temperatures: [0.5, 1.0],
             slices: [part, speaker]}}
registry: {{metric: bits_per_character, floor: 8.0}}
"""
NEXT_WORD = """\
title: Tiny words
source: {{path: {samples}/play.txt}}
corpus: {{reader: text, split: contiguous, validation: 0.1, test: 0.2}}
tokens: {{kind: word, lower: true, words: letters, min_count: 2}}
batches: {{layout: windows, sequence_length: 4, batch_size: 32}}
model: {{kind: language_model, cell: lstm, embedding: 6, units: [7]}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "some of them", sample_length: 12, temperatures: [1.0],
             slices: [unknown_rate, group]}}
registry: {{metric: perplexity, floor: 5000}}
"""
JAPANESE = """\
title: Tiny Japanese
source: {{path: {samples}/jawiki.txt}}
corpus: {{reader: lines, split: hash, validation: 0.1, test: 0.1}}
tokens: {{kind: subword, max_size: 1500, begin: <s>, end: </s>}}
batches: {{layout: documents, batch_size: 16, max_buckets: 2}}
model: {{kind: language_model, cell: simple, embedding: 8, units: [16]}}
training: {{epochs: 2, learning_rate: 0.02}}
evaluation: {{start: "", sample_length: 150, temperatures: [1.0], slices: [length, part]}}
registry: {{metric: perplexity, floor: 5000}}
"""


# Whoever asks for one of these waits for a training or for a Prefect server.
SLOW_FIXTURES = {
    "trained",
    "writers",
    "chained",
    "mixed",
    "earlier",
    "empty_registry",
    "drawing",
    "prefect_home",
}
# A module's own mark; its list may stand on several lines.
WHOLLY_SLOW = re.compile(r"^pytestmark = (\[[^\]]*?)?\bpytest\.mark\.(slow|long)\b", re.M)
# Begun first, so that the workers end together, and in an order in which none waits for a home that
# another is making: test_figures makes `trained`, test_served `mixed`, test_cli `writers`.
LONGEST = [
    "services/test_up",
    "benchmarks/test_figures",
    "model/test_sampling",
    "model/test_killed",
    "mix/test_served",
    "cli/test_cli",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", metavar="K/N", help="of the long tests, only the Kth of N shares")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are no names: packed ones contain the time, so that workers would name tests apart."""
    return argname if isinstance(val, bytes) else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The quick suite imports no module that is slow as a whole: it would run nothing of it."""
    if config.option.markexpr != "not slow" or not collection_path.name.startswith("test_"):
        return None
    return bool(WHOLLY_SLOW.search(collection_path.read_text(encoding="utf-8"))) or None


def is_of_share(item: pytest.Item, share: str) -> bool:
    number, shares = (int(part) for part in share.split("/"))
    turn = crc32(item.nodeid.encode()) % shares == number % shares
    return turn or not item.get_closest_marker("long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if share := config.getoption("--long"):
        others = [item for item in items if not is_of_share(item, share)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in set(others)]
    for item in items:
        slow = SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
        if slow or item.get_closest_marker("long"):
            item.add_marker("slow")
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def place(item: pytest.Item) -> tuple[int, bool]:
        name = "/".join(item.path.with_suffix("").parts[-2:])
        return LONGEST.index(name) if name in LONGEST else len(LONGEST), item.path not in slow

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def frozen_heap() -> Iterator[None]:
    """What is there after a module's tests will stay: later collections need not look at it.
    Keras collects garbage for each model, for a second each once TensorFlow's heap has grown."""
    yield
    if "keras" in sys.modules:
        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the whole session: with pytest-xdist all its processes have this one."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """`folder`, filled by `make` in the first process that wants it; the others wait."""
    done = folder.with_name(f"{folder.name}.done")
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a process left that failed
            folder.mkdir(0o700)  # as a home is made
            make(folder)
            done.touch()
    return folder


def declared(folder: Path, name: str, text: str) -> Path:
    """A new declaration in `folder`; {samples} in its text is the samples' folder."""
    path = folder / f"{name}.yaml"
    path.write_text(text.format(samples=PROJECT / "data" / "samples"), encoding="utf-8")
    return path


@pytest.fixture
def declare(tmp_path: Path) -> Callable[[str, str], Path]:
    """`declare(name, text)` writes a declaration of the test's own."""
    return partial(declared, tmp_path)


@pytest.fixture(scope="session")
def declarations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the declarations that tests share. Read only."""
    return tmp_path_factory.mktemp("declarations")


@pytest.fixture(scope="session")
def reviews(declarations: Path) -> Path:
    return declared(declarations, "tiny-reviews", REVIEWS)


@pytest.fixture(scope="session")
def play(declarations: Path) -> Path:
    return declared(declarations, "tiny-play", PLAY)


@pytest.fixture(scope="session")
def trained(shared: Path, empty_registry: Path, reviews: Path, play: Path) -> Settings:
    """A home in which both tiny pipelines have run, all eight stages. Read only."""
    return Settings.at(made_once(shared / "home", retrained(empty_registry, reviews, play)))


@pytest.fixture(scope="session")
def writers(shared: Path, empty_registry: Path, declarations: Path) -> Settings:
    """A home with a model of windows of words and one of Japanese subwords. Read only."""
    return Settings.at(
        made_once(
            shared / "writers",
            retrained(
                empty_registry,
                declared(declarations, "tiny-words", NEXT_WORD),
                declared(declarations, "tiny-japanese", JAPANESE),
            ),
        )
    )


@pytest.fixture(scope="session")
def empty_registry(shared: Path) -> Path:
    """A home whose MLflow database is empty: making its tables takes seconds, copying it does not.
    Read only."""

    def make(home: Path) -> None:
        with mlflow_at(home) as (_, client):
            client.search_registered_models()

    return made_once(shared / "empty-registry", make)


def retrained(empty_registry: Path, *pipelines: Path) -> Callable[[Path], None]:
    def run(home: Path) -> None:
        shutil.copytree(empty_registry, home, dirs_exist_ok=True)
        for pipeline in pipelines:
            retrain_plain(str(pipeline), settings=Settings.at(home), notice=lambda text: None)

    return run


@pytest.fixture
def drawing() -> Iterator[None]:
    """A thread draws from the generators of Python, NumPy and Keras all the while."""
    from pipelines.model.backend import load_keras

    keras, stop = load_keras("tensorflow"), threading.Event()

    def draw() -> None:
        while not stop.is_set():
            random.random(), np.random.random()
            keras.random.SeedGenerator()  # what Keras draws for whoever gives it no seed
            time.sleep(0.01)

    thread = threading.Thread(target=draw)
    thread.start()
    yield
    stop.set()
    thread.join()


def artifact_of(settings: Settings, pipeline: str, stage: str) -> Any:
    """The artifact that the pipeline's latest run has for a stage."""
    record = next(r for r in settings.runs if r["pipeline"] == pipeline)
    entry = next(e for e in record["stages"] if e["stage"] == stage)
    return settings.store.open(stage, entry["key"])


def republished(folder: Path, change: Callable[[dict[str, Any]], None]) -> Artifact:
    """The artifact in `folder` with its manifest changed, as if it had been made so: under the key
    that the manifest has then."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    change(manifest)
    manifest.pop(SEAL, None)
    manifest |= {"key": key_of(manifest), "digest": content_digest(manifest["files"])}
    manifest = sealed(manifest)
    (folder / MANIFEST).write_text(text_of(manifest), encoding="utf-8")
    path = folder.with_name(manifest["key"])
    if path != folder:
        shutil.rmtree(path, ignore_errors=True)
        folder.rename(path)
    return Artifact(manifest["stage"], manifest["key"], path, manifest)


def rewritten(
    settings: Settings, pipeline: str, stage: str, change: Callable[[dict[str, Any]], None]
) -> Artifact:
    """As `republished`, of what the pipeline's latest run has; those below name it as their own."""
    old = artifact_of(settings, pipeline, stage)
    new = republished(old.path, change)
    for one in stored(settings.store):
        if one.stage != "source" and one.manifest["inputs"].get(stage) == old.digest:
            republished(one.path, lambda manifest: manifest["inputs"].update({stage: new.digest}))
    return new


def artifact_in(folder: Path, stage: str = "") -> Artifact:
    """What lies in a folder, as a stage below would be given it."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    files = {name: {} for name in names if name != MANIFEST}
    return Artifact(stage, "", folder, {"files": files, "counts": {}})


def held_out(settings: Settings, pipeline: str) -> list[str]:
    """The texts that the pipeline's model was measured on."""
    shards = artifact_of(settings, pipeline, "corpus").path.glob("documents/test-*.parquet")
    return pq.read_table(sorted(shards), columns=["text"])["text"].to_pylist()


def spec_of(path: Path, *overrides: str) -> Spec:
    return load_spec(str(path), overrides=overrides)
