"""Which clusters are refused, and what is said."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from flows.doctor.cluster import cluster as doctors
from pipelines.cluster import dask
from pipelines.cluster.address import CLUSTER, checked
from pipelines.cluster.agreement import described, difference
from pipelines.cluster.dask import Dask
from pipelines.cluster.engine import engine
from pipelines.errors import FolioError, UsageError
from pipelines.steps.here import HERE
from pipelines.steps.step import Step
from tests.cluster.conftest import Start
from tests.conftest import PROJECT


def echo(place: Path, out: Path, text: str) -> dict[str, str]:
    return {"text": text}


def run(address: str, place: Path) -> None:
    with engine(address) as steps:
        done = steps.run(place, [Step("echo", echo, {"text": "a"})], lambda *said: None, "steps")
    assert [one.found for one in done] == [{"text": "a"}]


@pytest.mark.parametrize(
    "address", ["here", "local:0", "local:", "host:8786", "tcp://host", "http://a:1", "tcp://a@b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"--cluster .*tcp://host:port.* local:N"):
        checked(address)


def test_without_an_address_steps_are_done_here() -> None:
    for none in (None, ""):
        with engine(none) as steps:
            assert steps is HERE


def test_a_difference_is_named_in_a_line() -> None:
    ours = described()
    assert "pipelines/corpus/stage.py" in ours["code"] and "polars" in ours["libraries"]
    assert difference("tcp://w:1", ours) is None
    other = ours | {"libraries": ours["libraries"] | {"polars": "0.1"}}
    assert "worker tcp://w:1 has polars 0.1, and " in str(difference("tcp://w:1", other))
    less = {name: digest for name, digest in ours["code"].items() if "/words" not in name}
    assert "another Folio: pipelines/tokens/words.py is not as here" in str(
        difference("tcp://w:1", ours | {"code": less})
    )
    assert "more files are not as here" in str(difference("tcp://w:1", ours | {"code": {}}))


def test_a_cluster_that_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "ANSWER_SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(FolioError, match=rf"cluster {address}: no scheduler answers .*start"):
            run(address, tmp_path)


@pytest.mark.slow
def test_a_cluster_without_a_worker_is_said(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "WORKER_SECONDS", 1)
    with pytest.raises(FolioError, match="has had no worker for 1 s; start one with: dask worker"):
        run(start(0).address, tmp_path)


@pytest.mark.slow
def test_a_worker_with_other_code_is_refused(tmp_path: Path, start: Start) -> None:
    shutil.copytree(PROJECT / "pipelines", tmp_path / "other/pipelines")
    with (tmp_path / "other/pipelines/tokens/words.py").open("a") as file:
        file.write("\nEXTRA = 1\n")
    cluster = start(1, PYTHONPATH=f"{tmp_path / 'other'}:{PROJECT}")
    (tmp_path / "place").mkdir()
    with pytest.raises(FolioError) as caught:
        run(cluster.address, tmp_path / "place")
    assert "has another Folio: pipelines/tokens/words.py is not as here" in str(caught.value)
    assert not list((tmp_path / "place").iterdir())


@pytest.mark.long
def test_a_worker_that_comes_later_with_other_code_is_refused(tmp_path: Path, start: Start) -> None:
    """It was not there when all were asked."""
    shutil.copytree(PROJECT / "pipelines", tmp_path / "other/pipelines")
    with (tmp_path / "other/pipelines/tokens/words.py").open("a") as file:
        file.write("\nEXTRA = 1\n")
    cluster = start(1, PYTHONPATH=f"{tmp_path / 'other'}:{PROJECT}")
    steps = Dask(cluster.address)
    steps._agree = lambda client, place: None  # type: ignore[method-assign]
    with pytest.raises(FolioError, match="another Folio or other libraries"):
        steps.run(tmp_path, [Step("echo", echo, {"text": "a"})], lambda *said: None, "steps")
    steps.close()


@pytest.mark.long
def test_a_worker_that_cannot_import_folio_is_refused(tmp_path: Path, start: Start) -> None:
    package = tmp_path / "none/pipelines/cluster"
    package.mkdir(parents=True)
    for name in ("__init__.py", "cluster/__init__.py"):
        (tmp_path / "none/pipelines" / name).touch()
    (package / "agreement.py").write_text("raise ImportError('an older Folio')")
    cluster = start(1, PYTHONPATH=str(tmp_path / "none"))
    with pytest.raises(
        FolioError, match=r"cannot use Folio \(an older Folio\); install the same Folio there"
    ):
        run(cluster.address, tmp_path)


@pytest.mark.long
def test_a_worker_without_the_home_is_refused(tmp_path: Path, start: Start) -> None:
    with pytest.raises(FolioError, match=r"does not see .*at the same path"):
        run(start(1).address, tmp_path / "elsewhere")


@pytest.mark.long
def test_a_scheduler_that_ends_is_said(tmp_path: Path, start: Start) -> None:
    cluster = start(1)

    def ended(done: float, total: float | None, unit: str) -> None:
        if done == 1:
            cluster.scheduler.kill()

    steps = [Step(f"echo-{number}", echo, {"text": "a"}) for number in range(2000)]
    with engine(cluster.address) as dask_, pytest.raises(FolioError, match="the scheduler is gone"):
        dask_.run(tmp_path, steps, ended, "steps")
    assert list((tmp_path / "done").iterdir())


@pytest.mark.long
def test_doctor_knows_the_cluster(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLUSTER, raising=False)
    assert list(doctors()) == []
    monkeypatch.setenv(CLUSTER, "local:3")
    assert [one.state for one in doctors()] == ["ok"]
    cluster = start(0)
    monkeypatch.setenv(CLUSTER, cluster.address)
    (found,) = doctors()
    assert found.state == "problem" and found.remedy == f"dask worker {cluster.address}"
    cluster.add()
    with Dask(cluster.address)._opened() as client:
        client.wait_for_workers(1)
    (found,) = doctors()
    assert found.state == "ok" and "1 worker with this Folio" in found.text
