"""Artifacts are taken away from under runs that use, take and make them, and no run notices."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.files.locks import is_locked, try_lock
from pipelines.store.artifacts import MANIFEST, Artifact, Store, lock_of
from pipelines.store.removal import discard, size_of
from tests.conftest import PROJECT
from tests.pipelines.store.test_artifacts import recipe, write

HOLD = """
import sys
from pathlib import Path
from pipelines.store.artifacts import Store
store = Store(Path(sys.argv[1]))
print(store.hold(store.find("corpus", sys.argv[2])), flush=True)
sys.stdin.read()
"""


def made(root: Path) -> Artifact:
    """An artifact that no Store of this process holds."""
    artifact, _ = Store(root).obtain(recipe(), write("abc"), manifest={})
    return artifact


def test_an_artifact_goes_with_its_lock(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    assert discard(artifact.path, artifact.key, time.time())
    assert list((tmp_path / "corpus").iterdir()) == list((tmp_path / ".removed").iterdir()) == []
    assert not discard(artifact.path, artifact.key, time.time())


def test_an_artifact_in_use_stays_until_its_user_ends(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    user = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), artifact.key],
        cwd=PROJECT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert user.stdout and user.stdout.readline() == "True\n"
    assert is_locked(artifact.path / MANIFEST)
    assert not discard(artifact.path, artifact.key, time.time() + 9)
    user.communicate()
    assert not is_locked(artifact.path / MANIFEST)
    assert discard(artifact.path, artifact.key, time.time() + 9)


def test_an_artifact_taken_since_the_decision_stays(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    decided = time.time()
    time.sleep(0.02)
    assert Store(tmp_path).hold(artifact)  # that run has ended: its Store is gone
    assert not discard(artifact.path, artifact.key, decided)
    assert discard(artifact.path, artifact.key, time.time())
    assert not Store(tmp_path).hold(artifact)


@pytest.mark.parametrize("name", [".tmp-", ".work-", ".lock-", ""])
def test_nothing_of_a_key_goes_while_somebody_works_on_it(tmp_path: Path, name: str) -> None:
    artifact = made(tmp_path)
    path = artifact.path.with_name(f"{name}{artifact.key}")
    if name != ".lock-":
        path.mkdir(exist_ok=True)
    with try_lock(lock_of(tmp_path / "corpus", artifact.key)):
        assert not discard(path, artifact.key, time.time())
    assert path.exists()


def test_the_lock_stays_with_what_is_left_of_its_key(tmp_path: Path) -> None:
    artifact = made(tmp_path)
    work = artifact.path.with_name(f".work-{artifact.key}")
    work.mkdir()
    lock = lock_of(tmp_path / "corpus", artifact.key)
    assert discard(artifact.path, artifact.key, time.time()) and lock.exists()
    assert not discard(lock, artifact.key, time.time())
    assert discard(work, artifact.key, time.time()) and not lock.exists()


@pytest.mark.slow
def test_runs_never_lose_what_they_took(tmp_path: Path) -> None:
    """Three take one artifact again and again while two others remove it whenever they can."""
    ending, taken, removed, lost = time.monotonic() + 3, [], [], []
    building = threading.Lock()

    def build(work) -> dict:
        assert building.acquire(blocking=False), "two build one key"
        try:
            return write("abc")(work)
        finally:
            building.release()

    def take() -> None:
        store = Store(tmp_path)
        artifact = store.find("corpus", recipe().key)
        if artifact is None or not store.hold(artifact):
            artifact, _ = store.obtain(recipe(), build, manifest={})
        time.sleep(0.002)
        assert store.damage(artifact) is None

    def run() -> None:
        try:
            while time.monotonic() < ending:
                take()
                taken.append(1)
                time.sleep(0.01)
        except BaseException as error:
            lost.append(error)

    def collect() -> None:
        path = tmp_path / "corpus" / recipe().key
        while time.monotonic() < ending:
            removed.extend([1] * discard(path, path.name, time.time()))
            time.sleep(0.001)  # else its lock is never free

    (tmp_path / "corpus").mkdir()
    threads = [threading.Thread(target=run) for _ in range(3)] + [
        threading.Thread(target=collect) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lost == []
    assert (len(taken) > 9, len(removed) > 3) == (True, True), (len(taken), len(removed))


def test_sizes_count_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("nowhere")
    assert size_of(tmp_path) == size_of(tmp_path / "deep" / "file") == 5
    assert size_of(tmp_path / "gone") == 0
