"""The faults that a shared store in a bucket once had, one test each, on an S3 server."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import UsageError
from pipelines.files.home import PROJECT
from pipelines.run.execute import StageResult, execute_stage
from pipelines.run.options import Selection
from pipelines.shared import blobs
from pipelines.shared.place import Place, SharedStoreError
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact, Store, Workspace
from pipelines.store.manifest import MANIFEST
from pipelines.store.settings import Settings
from supply.lock import locked
from tests.conftest import spec_of
from tests.pipelines.store.test_remote import KEY, RECIPE_HERE, obtained, writing
from tests.s3_server import BUCKET, client

pytestmark = pytest.mark.slow
SELECTION = Selection.of(until="corpus")
FILES = 150
NOWHERE = "http://127.0.0.1:9"
Run = Callable[[str, str | None], list[StageResult]]


@pytest.fixture
def run(tmp_path: Path, reviews: Path) -> Run:
    """Runs source and corpus in a home, with that FOLIO_STORE."""
    spec = spec_of(reviews)

    def run(home: str, shared: str | None) -> list[StageResult]:
        here, made, done = Settings.at(tmp_path / home, shared), {}, []
        for name in SELECTION.stages:
            done.append(execute_stage(stage_named(name), spec, made, here, SELECTION))
            made[name] = done[-1].artifact
        return done

    return run


@pytest.fixture
def unreachable(s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The same address once the server is gone."""
    from s3fs import S3FileSystem

    monkeypatch.setenv("AWS_ENDPOINT_URL", NOWHERE)
    S3FileSystem.clear_instance_cache()
    yield bucket
    S3FileSystem.clear_instance_cache()


def one_line(text: str) -> bool:
    return "\n" not in text and "Traceback" not in text


def blob(address: str, content: bytes) -> tuple[Place, str]:
    digest = sha256(content).hexdigest()
    return Place(address), f"blobs/{digest[:2]}/{digest}"


def test_1_unreachable_is_a_notice_if_all_is_here(run: Run, unreachable: str) -> None:
    run("home", None)
    done = run("home", unreachable)
    assert [one.action for one in done] == ["reuse", "reuse"]
    said = [one.reason for one in done if "FOLIO_STORE" in one.reason]
    assert len(said) == 1 and one_line(said[0])
    assert f"not shared: FOLIO_STORE={unreachable}: cannot be read (" in said[0]


@pytest.mark.long
def test_1_unreachable_is_one_error_of_the_command_if_not_all_is_here(
    unreachable: str, tmp_path: Path, reviews: Path
) -> None:
    environment = os.environ | {"FOLIO_HOME": str(tmp_path / "home"), "FOLIO_STORE": unreachable}
    command = [sys.executable, "-m", "flows.cli", "plan", str(reviews)]
    done = subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout == ""
    assert one_line(done.stderr.strip()) and f"FOLIO_STORE={unreachable}" in done.stderr
    assert "unset FOLIO_STORE to make it here" in done.stderr


@pytest.mark.parametrize("damage", ["is missing", "is not what was published"])
def test_2_a_damaged_object_is_put_back_by_one_who_has_it(
    bucket: str, tmp_path: Path, damage: str
) -> None:
    one = Store(tmp_path / "one", bucket)
    obtained(one, "abc")
    place, name = blob(bucket, b"abcabc")
    if damage == "is missing":
        place.delete(name)
    else:
        place.write(name, b"abcabd")  # as long as it was
    other = Store(tmp_path / "other", bucket)
    assert other.find("corpus", KEY) is None
    said = other.unshared("corpus", KEY)
    assert said is not None and one_line(said) and f"more.txt {damage}" in said
    assert list((tmp_path / "other").rglob(".fetch-*")) == []
    assert obtained(one, "abc")[2] == f"the damaged copy in FOLIO_STORE={bucket} was replaced"
    assert place.read(name) == b"abcabc"
    assert other.find("corpus", KEY) is not None


def test_2_else_it_is_made_again_and_then_it_is_there(bucket: str, tmp_path: Path) -> None:
    obtained(Store(tmp_path / "one", bucket), "abc")
    place, name = blob(bucket, b"abcabc")
    place.write(name, b"abcabd")  # as long as it was
    _, built, said = obtained(Store(tmp_path / "other", bucket), "abc")
    assert built and said == f"the damaged copy in FOLIO_STORE={bucket} was replaced"
    assert place.read(name) == b"abcabc"


def test_3_two_hosts_with_other_bytes_end_with_the_same(bucket: str, tmp_path: Path) -> None:
    ready = threading.Barrier(2)
    found: dict[str, Any] = {}

    def host(text: str) -> None:
        def build(work: Workspace) -> dict[str, Any]:
            counts = writing(text)(work)
            ready.wait()  # both have built before one publishes
            return counts

        store = Store(tmp_path / text, bucket)
        artifact, _ = store.obtain(RECIPE_HERE, build, manifest={})
        found[text] = store.share(artifact)[0], store

    threads = [threading.Thread(target=host, args=(text,)) for text in ("abc", "xyz")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    texts = {(one.path / "more.txt").read_text() for one, _ in found.values()}
    assert len(texts) == 1 and len({one.digest for one, _ in found.values()}) == 1
    assert all(store.damage(one) is None for one, store in found.values())
    third, built, _ = obtained(Store(tmp_path / "third", bucket), "not this")
    assert not built and {(third.path / "more.txt").read_text()} == texts


@pytest.mark.parametrize("kind", ["bucket", "folder"])
def test_4_what_is_fetched_while_it_is_uploaded_again_is_whole(
    bucket: str, tmp_path: Path, kind: str
) -> None:
    """In a folder, a file that was being written was once read."""
    address = bucket if kind == "bucket" else f"file://{tmp_path}/shared"
    artifact, _, _ = obtained(Store(tmp_path / "one", address), "x" * 1_500_000)
    place, stop = Place(address), threading.Event()
    digest = artifact.manifest["files"]["more.txt"]["sha256"]

    def upload() -> None:
        while not stop.is_set():
            place.put(f"blobs/{digest[:2]}/{digest}", artifact.path / "more.txt")

    thread = threading.Thread(target=upload)
    thread.start()
    try:
        for turn in range(3):
            other = Store(tmp_path / f"other-{turn}", address)
            found = other.find("corpus", KEY)
            assert found is not None and other.damage(found) is None
    finally:
        stop.set()
        thread.join()


def test_5_a_mistyped_bucket_is_one_error_and_is_not_made(s3: str, run: Run) -> None:
    with pytest.raises(SharedStoreError, match="there is no such bucket") as caught:
        run("home", "s3://folioo/homes")
    assert one_line(str(caught.value)) and "FOLIO_STORE=s3://folioo/homes" in str(caught.value)
    run("home", None)
    assert "not shared" in run("home", "s3://folioo/homes")[0].reason
    assert [one["Name"] for one in client(s3).list_buckets()["Buckets"]] == [BUCKET]


@pytest.mark.parametrize("lost", [MANIFEST, "deep/data.txt"])
def test_6_a_damaged_folder_is_completed_from_the_store_and_not_made_again(
    run: Run, bucket: str, tmp_path: Path, lost: str
) -> None:
    run("home", bucket)
    corpus = run("home", bucket)[1].artifact
    name = lost if lost == MANIFEST else min(corpus.manifest["files"])
    (corpus.path / name).unlink()
    with requests_of(bucket) as asked:
        done = run("home", bucket)
    assert [one.action for one in done] == ["reuse", "reuse"] and done[1].artifact == corpus
    assert Store(tmp_path / "home" / "store").damage(done[1].artifact) is None
    fetched = [line for line in asked if "get_object" in line and "/blobs/" in line]
    assert len(fetched) == len(set(fetched)) == len(corpus.manifest["files"])  # once


def test_7_many_files_are_copied_at_the_same_time(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several, but not all at once."""

    def build(work: Workspace) -> dict[str, Any]:
        for number in range(40):
            (work.out / f"{number:03}.txt").write_text(str(number))
        return {}

    busy, seen, lock = [0], [0], threading.Lock()

    def counted(what: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            with lock:
                busy[0] += 1
                seen[0] = max(seen[0], busy[0])
            try:
                return what(*arguments)
            finally:
                with lock:
                    busy[0] -= 1

        return done

    for name in ("put", "bring"):
        monkeypatch.setattr(Place, name, counted(getattr(Place, name)))
    for home in ("one", "other"):
        seen[0] = 0
        artifact, built = Store(tmp_path / home, bucket).obtain(RECIPE_HERE, build, manifest={})
        assert built == (home == "one") and len(artifact.manifest["files"]) == 40
        assert 2 < seen[0] <= blobs.COPIES


def test_8_memory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"FOLIO_STORE=memory://x: .*one process") as caught:
        Store(tmp_path, "memory://x").find("corpus", KEY)
    assert one_line(str(caught.value))


def test_9_and_10_the_locks_have_what_folio_and_mlflow_need_for_a_bucket() -> None:
    for lock in ("requirements.txt", "requirements-dev.txt"):
        names = {package.name for package in locked(PROJECT / lock)}
        assert {"s3fs", "boto3", "aiobotocore", "botocore"} <= names, lock


def test_10_mlflow_keeps_its_files_in_the_same_bucket(bucket: str, tmp_path: Path) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    (tmp_path / "model.keras").write_bytes(b"weights")
    files = get_artifact_repository(f"{bucket}/mlflow")
    files.log_artifact(str(tmp_path / "model.keras"))
    assert Place(bucket).read("mlflow/model.keras") == b"weights"


@pytest.mark.long
def test_a_host_that_is_killed_while_it_uploads_leaves_nothing_that_counts(
    bucket: str, tmp_path: Path
) -> None:
    """And it goes on where it was killed, once it runs again."""
    code = (
        "import sys; from pathlib import Path; "
        "from tests.pipelines.store.test_shared_faults import upload; "
        "upload(Path(sys.argv[1]), sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "one"), bucket]
    killed = subprocess.Popen(command, cwd=PROJECT)
    place, end = Place(bucket), time.monotonic() + 60
    while len(place.names("blobs")) < 5:
        assert time.monotonic() < end and killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert len(place.names("blobs")) < FILES and place.names("corpus") == {}
    other = Store(tmp_path / "other", bucket)
    assert other.find("corpus", KEY) is None and other.unshared("corpus", KEY) is None
    made = upload(tmp_path / "one", bucket)
    found = other.find("corpus", KEY)
    assert found is not None and found.digest == made.digest and other.damage(found) is None


def upload(home: Path, address: str) -> Artifact:
    """Makes and shares an artifact of many files."""

    def build(work: Workspace) -> dict[str, Any]:
        for number in range(FILES):
            (work.out / f"{number:03}.txt").write_text(str(number))
        return {}

    store = Store(home, address)
    return store.share(store.obtain(RECIPE_HERE, build, manifest={})[0])[0]


@contextmanager
def requests_of(address: str) -> Iterator[list[str]]:
    """What s3fs asks the server for meanwhile."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("s3fs"), Keep()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
