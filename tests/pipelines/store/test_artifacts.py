from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipelines.errors import DamagedError, FolioError
from pipelines.store.artifacts import MANIFEST, Recipe, Store, Workspace
from pipelines.store.sharing import lock_of
from tests.conftest import PROJECT


def recipe(**changes) -> Recipe:
    return Recipe(
        **{
            "stage": "corpus",
            "version": 1,
            "config": {"a": 1},
            "inputs": {},
            "code": {},
            "libraries": {},
        }
        | changes
    )


def write(text: str):
    def build(work: Workspace) -> dict:
        (work.out / "deep").mkdir()
        (work.out / "deep" / "data.txt").write_text(text)
        return {"rows": len(text)}

    return build


def test_an_artifact_is_published_once_and_reused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, built = store.obtain(recipe(), write("abc"), manifest={"run": "r1"})
    again, rebuilt = store.obtain(recipe(), write("other"), manifest={"run": "r2"})
    assert (built, rebuilt) == (True, False)
    assert again.digest == first.digest and again.manifest["run"] == "r1"
    assert (again.path / "deep" / "data.txt").read_text() == "abc"
    manifest = json.loads((first.path / MANIFEST).read_text())
    assert manifest["counts"] == {"rows": 3}
    assert manifest["files"]["deep/data.txt"]["bytes"] == 3
    assert manifest["wall_seconds"] >= 0 and manifest["peak_memory_bytes"] > 0


@pytest.mark.parametrize(("later", "kept"), [(-5.0, False), (60.0, True)])
def test_work_that_a_kill_left_after_publishing_is_dropped_when_the_artifact_is_used(
    tmp_path: Path, later: float, kept: bool
) -> None:
    """Newer work is a forced rebuild's, which was killed too and will be continued."""
    store = Store(tmp_path / "store")
    found, _ = store.obtain(recipe(), write("abc"), manifest={})
    work = found.path.with_name(f".work-{found.key}")
    (work / "steps").mkdir(parents=True)
    (work / "steps" / "done").write_text("x")
    os.utime(work / "steps" / "done", (time.time() + later,) * 2)
    with lock_of(found.path.parent, found.key).open("a") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        assert store.hold(found) and work.exists()  # somebody works there
    assert store.hold(found) and work.exists() == kept


def test_the_key_covers_everything_that_decides_the_bytes() -> None:
    same = recipe().key
    for change in (
        {"config": {"a": 2}},
        {"inputs": {"source": "d"}},
        {"code": {"x.py": "1"}},
        {"libraries": {"polars": "2"}},
        {"version": 2},
        {"stage": "tokens"},
    ):
        assert recipe(**change).key != same
    assert recipe(config={"a": 1}).key == same


@pytest.mark.parametrize("harm", ["flip", "missing", "no manifest", "cut manifest"])
def test_a_damaged_artifact_is_set_aside_and_rebuilt(tmp_path: Path, harm: str) -> None:
    store = Store(tmp_path / "store")
    artifact, _ = store.obtain(recipe(), write("abc"), manifest={})
    data = artifact.path / "deep" / "data.txt"
    if harm == "flip":
        data.write_text("abd")
    elif harm == "missing":
        data.unlink()
    elif harm == "no manifest":
        (artifact.path / MANIFEST).unlink()
    else:
        (artifact.path / MANIFEST).write_text('{"files":')
    with pytest.raises(DamagedError):
        store.open("corpus", artifact.key)
    rebuilt, built = store.obtain(recipe(), write("abc"), manifest={})
    assert built and store.damage(rebuilt) is None
    assert len(list((tmp_path / "store" / ".damaged").iterdir())) == 1


def test_a_look_believes_the_sizes(tmp_path: Path) -> None:
    glance = Store(tmp_path / "store", digests=False)
    artifact, _ = Store(tmp_path / "store").obtain(recipe(), write("abc"), manifest={})
    data = artifact.path / "deep" / "data.txt"
    data.write_text("abd")
    assert glance.damage(artifact) is None
    data.write_text("ab")
    assert glance.damage(artifact) == "deep/data.txt is not what was published"


def test_a_failed_build_publishes_nothing_but_keeps_its_scratch(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")

    def fail(work: Workspace) -> dict:
        (work.out / "half").write_text("half")
        (work.scratch / "kept").write_text("kept")
        raise FolioError("broken")

    with pytest.raises(FolioError, match="broken"):
        store.obtain(recipe(), fail, manifest={})
    assert store.find("corpus", recipe().key) is None
    assert not list((tmp_path / "store" / "corpus").glob(".tmp-*"))

    def resume(work: Workspace) -> dict:
        assert (work.scratch / "kept").read_text() == "kept"
        assert not list(work.out.iterdir())
        return {}

    artifact, _ = store.obtain(recipe(), resume, manifest={})
    assert not list(artifact.path.parent.glob(".work-*"))


def test_a_forced_build_replaces_only_bytes_that_differ(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first, _ = store.obtain(recipe(), write("abc"), manifest={"run": "r1"})
    same, built = store.obtain(recipe(), write("abc"), manifest={"run": "r2"}, force=True)
    assert built and same.manifest["run"] == "r1"
    other, _ = store.obtain(recipe(), write("xyz"), manifest={"run": "r3"}, force=True)
    assert other.digest != first.digest
    assert (store.open("corpus", recipe().key).path / "deep/data.txt").read_text() == "xyz"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(FolioError, match="nothing was published") as error:
            store.obtain(recipe(), write("x" * 5000), manifest={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert "\n" not in str(error.value)
    assert store.find("corpus", recipe().key) is None
    assert store.obtain(recipe(), write("x" * 5000), manifest={})[1]


def test_two_callers_of_one_key_build_it_once(tmp_path: Path) -> None:
    store, builds, results = Store(tmp_path / "store"), [], []

    def slow(work: Workspace) -> dict:
        builds.append(1)
        time.sleep(0.5)
        return write("abc")(work)

    threads = [
        threading.Thread(
            target=lambda: results.append(store.obtain(recipe(), slow, manifest={}, force=True))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1 and len({r[0].digest for r in results}) == 1
    assert sorted(built for _, built in results) == [False, False, True]


def test_a_killed_holder_leaves_neither_lock_nor_half_an_artifact(tmp_path: Path) -> None:
    code = f"""
import sys, time
sys.path.insert(0, {str(PROJECT)!r})
from pathlib import Path
from pipelines.store.artifacts import Store
from tests.pipelines.store.test_artifacts import recipe
def build(work):
    (work.out / "half").write_text("half")
    print("building", flush=True)
    time.sleep(60)
Store(Path({str(tmp_path / "store")!r})).obtain(recipe(), build, manifest={{}})
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "building\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    store = Store(tmp_path / "store")
    assert store.find("corpus", recipe().key) is None
    artifact, built = store.obtain(recipe(), write("abc"), manifest={})
    assert built and sorted(artifact.manifest["files"]) == ["deep/data.txt"]


def test_a_remote_store_serves_another_machine(tmp_path: Path) -> None:
    remote = f"file://{tmp_path / 'remote'}"
    here = Store(tmp_path / "here", remote)
    made, _ = here.obtain(recipe(), write("abc"), manifest={})
    assert here.share(made) == (made, None)
    other = Store(tmp_path / "there", remote)
    found, built = other.obtain(recipe(), write("not this"), manifest={})
    assert not built and found.digest == made.digest
    assert (found.path / "deep" / "data.txt").read_text() == "abc"
    assert Store(tmp_path / "alone").find("corpus", recipe().key) is None
