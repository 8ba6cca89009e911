"""Sources at s3:// and the like: a real S3 server if moto and s3fs are installed, and everywhere a
file system of fsspec's own in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.network.http_answers import MissingError
from pipelines.run.options import Selection
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.source.object_stores import version_at
from pipelines.store.settings import Settings
from tests.conftest import PLAY, declared, spec_of
from tests.pipelines.inspection.test_proposal import PLAY as TEXT
from tests.s3_server import client

SOURCE = Selection.of(until="source")
Put = Callable[[str, str], None]  # (name, text)


@pytest.fixture
def server(s3: str, bucket: str) -> tuple[str, Put]:
    """A place of the test's own in a bucket of a real S3 server on 127.0.0.1."""
    to, (name, place) = client(s3), bucket.removeprefix("s3://").split("/", 1)

    def put(key: str, text: str) -> None:
        to.put_object(Bucket=name, Key=f"{place}/{key}", Body=text)

    return bucket, put


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Put]]:
    """fsspec's file system in memory, in the place of one of a service."""

    class Store(MemoryFileSystem):
        protocol = "oss"
        store: ClassVar[dict[str, Any]] = {}
        pseudo_dirs: ClassVar[list[str]] = [""]

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return super()._strip_protocol(path.removeprefix("oss:/"))

    before = fsspec.registry.get("oss")
    fsspec.register_implementation("oss", Store, clobber=True)
    yield "oss://texts", lambda name, text: Store().pipe(f"/texts/{name}", text.encode())
    if before:
        fsspec.register_implementation("oss", before, clobber=True)


@pytest.fixture(params=["server", "memory"])
def texts(request: pytest.FixtureRequest) -> tuple[str, Put]:
    return request.getfixturevalue(request.param)


def pipeline(folder: Path, address: str, more: str = "") -> Path:
    return declared(
        folder, "play", PLAY.replace("path: {samples}/play.txt", f'url: "{address}"{more}')
    )


def source_of(file: Path, settings: Settings, **asked: Any) -> Any:
    record = retrain_plain(
        str(file), settings=settings, notice=lambda text: None, selection=SOURCE, **asked
    )
    return settings.store.open("source", record["stages"][0]["key"]), record["stages"][0]


@pytest.mark.slow
def test_a_file_is_fetched_and_fetched_again_when_it_has_changed(
    tmp_path: Path, texts: tuple[str, Put]
) -> None:
    address, put = texts
    put("plays/a b.txt", TEXT)
    file, settings = (
        pipeline(tmp_path, f"{address}/plays/a%20b.txt"),
        Settings.at(tmp_path / "home"),
    )
    artifact, stage = source_of(file, settings)
    assert (artifact.path / "a b.txt").read_text() == TEXT and stage["action"] == "run"
    origin = artifact.counts["origins"]["a b.txt"]
    assert origin["version"] == version_at(f"{address}/plays/a%20b.txt")
    assert origin["version"].startswith("ETag" if address.startswith("s3") else "Last-Modified")
    assert origin["address"] == f"{address}/plays/a%20b.txt"
    assert source_of(file, settings)[1]["action"] == "reuse"
    put("plays/a b.txt", TEXT[::-1])
    decision = plan(spec_of(file), settings, SOURCE)[0]
    assert decision.action == "run" and "a b.txt" in decision.reason
    assert (source_of(file, settings)[0].path / "a b.txt").read_text() == TEXT[::-1]


@pytest.mark.slow
def test_what_is_refused_or_missing(tmp_path: Path, texts: tuple[str, Put]) -> None:
    address, put = texts
    put("a.txt", TEXT)
    settings = Settings.at(tmp_path / "home")
    digest = f", sha256: '{64 * '0'}'"
    for more, name, message in (
        (digest, "a.txt", "wrong checksum"),
        (f"{digest}, max_bytes: 1000", "a.txt", "over source.max_bytes"),
        (digest, "b.txt", "b.txt: no such file"),
    ):
        with pytest.raises(FolioError, match=message) as caught:
            source_of(pipeline(tmp_path, f"{address}/{name}", more), settings)
        assert "\n" not in str(caught.value)
    with pytest.raises(MissingError):
        version_at(f"{address}/b.txt")
    offline = Settings.at(tmp_path / "home", offline=True)
    with pytest.raises(UnreachableError, match="--offline forbids"):
        source_of(pipeline(tmp_path, f"{address}/a.txt", digest), offline)


@pytest.mark.slow
def test_a_mirror_may_be_a_bucket(tmp_path: Path, texts: tuple[str, Put]) -> None:
    address, put = texts
    put("mirror/play.txt", TEXT)
    file = pipeline(tmp_path, "http://127.0.0.1:9/nowhere/play.txt")
    settings = Settings.at(tmp_path / "home", mirror=f"{address}/mirror")
    artifact, _ = source_of(file, settings)
    assert artifact.counts["origins"]["play.txt"]["from"] == "mirror url"
    assert (artifact.path / "play.txt").read_text() == TEXT


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("s3fs", reason="installed with folio[s3]")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(UnreachableError, match=r"s3://texts/a\.txt: no answer"):
        version_at("s3://texts/a.txt")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_a_package_that_is_missing_is_named(tmp_path: Path) -> None:
    for address, package in (("oci://b/a.txt", "ocifs"), ("abfs://b/a.txt", "adlfs")):
        with pytest.raises(FolioError, match=f"not installed .*; install {package}") as caught:
            version_at(address)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"only http, https, file, s3, gs, .* can be fetched"):
        plan(
            spec_of(pipeline(tmp_path, "memory://texts/a.txt")), Settings.at(tmp_path / "h"), SOURCE
        )
