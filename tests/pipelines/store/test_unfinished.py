"""The checkpoints of a running training are shared, and another home goes on from them."""

from __future__ import annotations

import os
import signal
import tarfile
import time
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from pipelines.model import stage as training
from pipelines.shared.place import Place
from pipelines.shared.unfinished import Unfinished, unfinished_work
from pipelines.store.artifacts import Artifact, Recipe, Store, Workspace
from tests.conftest import artifact_in
from tests.forked import exit_code
from tests.pipelines.model.test_stage import TRAINING, WRITER, batches

__all__ = ["batches"]
pytestmark = pytest.mark.slow
RECIPE = Recipe("model", 1, {}, {}, {}, {})
BELOW = unfinished_work("model", RECIPE.key)
NAMES = ("last.txt", "best-*.txt")


class Work:
    """A home's unfinished work; `said` is what it had to say."""

    def __init__(self, place: Place, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()
        folder.mkdir(exist_ok=True)
        self.shared = Unfinished(place, BELOW, folder, NAMES, self)

    def progress(self, done: float, total: float | None, unit: str) -> None:
        pass

    def log(self, text: str) -> None:
        self.said.append(text)

    def step(self, done: int) -> None:
        """As the trainer: the best, then the state, then the count, then what is no longer best."""
        (self.folder / f"best-{done}.txt").write_text(f"best {done}")
        (self.folder / "new").write_text(f"state {done}")
        (self.folder / "new").replace(self.folder / "last.txt")
        self.shared.report(done, 100, "steps")
        for path in self.folder.glob("best-*.txt"):
            if path.name != f"best-{done}.txt":
                path.unlink()

    def found(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self.folder.glob("[!.]*") if path.is_file()}


def state(done: int) -> dict[str, str]:
    return {f"best-{done}.txt": f"best {done}", "last.txt": f"state {done}"}


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(f"file://{tmp_path}/shared")
    return Place(request.getfixturevalue("bucket"))


def test_another_home_goes_on_from_the_furthest_state(place: Place, tmp_path: Path) -> None:
    one = Work(place, tmp_path / "one")
    one.shared.resume()
    assert one.found() == {} and one.said == []  # there is nothing to go on from
    for done in range(1, 5):
        one.step(done)
    one.shared.close(at_once=False)
    assert [name.rpartition("/")[2][:15] for name in place.names(BELOW)] == [f"{4:015d}"]
    other = Work(place, tmp_path / "other")
    other.step(2)  # it has begun itself, and is behind
    other.shared.close(at_once=False)
    other = Work(place, tmp_path / "other")
    other.shared.resume()
    assert other.found()["last.txt"] == "state 4" and "step 4" in other.said[0]
    other.step(5)
    other.shared.close(at_once=False)
    again = Work(place, tmp_path / "one")
    again.shared.resume()
    assert again.found()["last.txt"] == "state 5" and list(again.folder.glob(".shared-*")) == []
    again = Work(place, tmp_path / "one")  # what is here is as far
    again.shared.resume()
    assert again.said == []


def packed(files: dict[str, bytes], done: int, kind: bytes = tarfile.REGTYPE) -> tuple[str, bytes]:
    data = BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.type, member.linkname = len(text), kind, "/etc/passwd"
            tar.addfile(member, BytesIO(text))
    digest = sha256(data.getvalue()).hexdigest()
    return f"{BELOW}/{done:015d}-{digest}.tar", data.getvalue()


def test_what_is_damaged_or_foreign_is_not_used(place: Place, tmp_path: Path) -> None:
    good = Work(place, tmp_path / "one")
    good.step(1)
    good.shared.close(at_once=False)
    name, data = packed({"last.txt": b"x"}, 9)
    place.write(name, data + b"more")
    place.write(f"{BELOW}/{8:015d}-{sha256(b'abc').hexdigest()}.tar", b"abc")  # no tar file
    for done, name in enumerate(("../last.txt", "other.txt", "best-1.txt")):
        place.write(*packed({name: b"x"}, 2 + done))
    place.write(*packed({"last.txt": b"", "best-1.txt": b""}, 6, tarfile.SYMTYPE))
    place.write(f"{BELOW}/notes.txt", b"by hand")
    other = Work(place, tmp_path / "other")
    other.shared.resume()
    assert other.found() == state(1)
    refused = [line for line in other.said if line.endswith("it is not used")]
    assert len(refused) == 6 and all("\n" not in line for line in refused)
    assert not (tmp_path / "last.txt").exists()


def test_a_place_that_does_not_answer_stops_no_work(tmp_path: Path) -> None:
    work = Work(Place(f"{tmp_path}/gone/shared"), tmp_path / "one")
    work.shared.resume()
    for done in (1, 2):
        work.step(done)
        time.sleep(0.2)
    work.shared.close(at_once=False)
    assert work.found() == state(2) and len(work.said) == 2
    assert all("is not a folder" in line for line in work.said)


# A real training


def obtained(home: Path, address: str, batches: Path, progress: Callable[..., None]) -> Artifact:
    def build(work: Workspace) -> dict[str, Any]:
        config = {"model": WRITER, "training": TRAINING, "seed": 5, "code_folder": str(home)}
        return training.build({"batches": artifact_in(batches)}, config, work)

    store = Store(home, address)
    artifact, built = store.obtain(RECIPE, build, manifest={}, progress=progress)
    assert built
    return store.share(artifact)[0]


def killed(home: Path, address: str, batches: Path, step: int, environment: dict[str, str]) -> None:
    """Trains until that step, and until the state before it has been copied."""
    os.environ.update(environment)  # the process was forked from an older one

    def progress(done: float, total: float | None, unit: str) -> None:
        if done == step:
            end = time.monotonic() + 60
            while f"{step - 1:015d}" not in str(Place(address).names(BELOW)):
                assert time.monotonic() < end, "the checkpoint was not copied"
                time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGKILL)

    obtained(home, address, batches, progress)


def test_a_training_that_was_killed_is_continued_by_another_home_with_the_same_bits(
    tmp_path: Path, batches: dict[str, Path], bucket: str
) -> None:
    ours, steps, step = batches["language_model"], list[float](), 20
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    log = tmp_path / "log"
    code = exit_code(log, killed, tmp_path / "one", bucket, ours, step, environment)
    assert code == -signal.SIGKILL, log.read_text()
    model = obtained(tmp_path / "two", bucket, ours, lambda done, *_: steps.append(done))
    assert model.counts["resumed"] and steps[0] == step - 1  # a step is lost
    assert Place(bucket).names("unfinished") == {}  # once it is published
    whole = obtained(tmp_path / "whole", f"file://{tmp_path}/alone", ours, lambda *_: None)
    assert not whole.counts["resumed"] and whole.digest == model.digest
    assert list((tmp_path / "two" / "model").glob(".work-*")) == []
