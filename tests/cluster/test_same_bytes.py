"""The same bytes here, on one worker, on several, and in any order of arrival."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.corpus import reading
from pipelines.declaration.load import load_spec
from pipelines.errors import FolioError
from pipelines.run.plan import plan
from pipelines.store.settings import Settings
from tests.cluster.conftest import Start
from tests.cluster.driver import data_stages
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow


def unheard(text: str) -> None:
    pass


@pytest.fixture
def here(tmp_path: Path, declared: Path, small: None) -> dict[str, str]:
    """The digests without a cluster."""
    return data_stages(tmp_path / "here", declared, None, unheard)


@pytest.mark.long
def test_the_order_of_the_steps_does_not_matter(
    tmp_path: Path, declared: Path, here: dict[str, str]
) -> None:
    assert len(here) == 4
    for seed in (1, 2):
        home = tmp_path / f"shuffled-{seed}"
        assert data_stages(home, declared, None, unheard, seed) == here


@pytest.mark.long
def test_the_parts_of_the_source_do_not_matter(
    tmp_path: Path, declared: Path, here: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PART_BYTES", 2**20)
    heard: list[str] = []
    assert data_stages(tmp_path / "one", declared, None, heard.append) == here
    assert sum(line.startswith(("step csv-", "step lines-")) for line in heard) == 1


def test_a_cluster_gives_the_bytes_of_one_process(
    tmp_path: Path, declared: Path, here: dict[str, str], start: Start
) -> None:
    heard: list[str] = []
    cluster = start(2)
    home = tmp_path / "cluster"
    assert data_stages(home, declared, cluster.address, heard.append) == here
    processes = {line.split()[2] for line in heard if line.startswith("step ")}
    assert {int(one.rpartition(":")[2]) for one in processes} == {
        worker.pid for worker in cluster.workers
    }
    assert any("shards written · 2 workers" in line for line in heard)
    decisions = plan(load_spec(str(declared)), Settings.at(home))
    assert [one.action for one in decisions[:4]] == ["reuse"] * 4


@pytest.mark.long
def test_one_worker_gives_them_too(
    tmp_path: Path, declared: Path, here: dict[str, str], start: Start
) -> None:
    assert data_stages(tmp_path / "one", declared, start(1).address, unheard) == here


@pytest.mark.parametrize(
    "unit", ["shards encoded", pytest.param("parts of the source read", marks=pytest.mark.long)]
)
def test_a_killed_worker_is_done_without(
    tmp_path: Path, reviews: Path, small: None, start: Start, unit: str
) -> None:
    cluster = start(2)

    def kill(text: str) -> None:
        if text.startswith(f"progress 1 {unit}"):
            cluster.workers[0].send_signal(signal.SIGKILL)

    found = data_stages(tmp_path / "cluster", reviews, cluster.address, kill)
    assert cluster.workers[0].wait() == -signal.SIGKILL
    assert found == data_stages(tmp_path / "here", reviews, None, unheard)


@pytest.mark.parametrize(
    "unit",
    [
        "shards written",
        pytest.param("shards encoded", marks=pytest.mark.long),
        pytest.param("files of batches written", marks=pytest.mark.long),
    ],
)
def test_a_killed_driver_leaves_what_is_finished(
    tmp_path: Path, reviews: Path, small: None, unit: str
) -> None:
    command = [sys.executable, "-m", "tests.cluster.driver", str(tmp_path / "home"), str(reviews)]
    driver = subprocess.Popen(
        [*command, "local:2"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        cwd=PROJECT,
    )
    assert driver.stdout is not None
    for line in driver.stdout:
        if line.startswith(f"progress 3 {unit}"):
            break
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    done = {path.stem for path in (tmp_path / "home/store").rglob(".work-*/done/*.json")}
    assert len(done) >= 3
    heard: list[str] = []
    found = data_stages(tmp_path / "home", reviews, None, heard.append)
    steps = dict(line.split()[1:] for line in heard if line.startswith("step "))
    others = {name for name, where in steps.items() if not where.endswith(f":{os.getpid()}")}
    # A step may have been finished by a worker after the driver's death. Those whose files were
    # already on their way to the artifact are done again.
    assert len(others) >= len(done & steps.keys()) - 1 >= 2
    assert found == data_stages(tmp_path / "here", reviews, None, unheard)


@pytest.mark.long
def test_a_failing_step_says_the_same_everywhere(
    tmp_path: Path, parts: Path, reviews: Path, small: None, start: Start
) -> None:
    wrong = tmp_path / "parts"
    shutil.copytree(parts, wrong)
    for name in ("part-1.csv", "part-3.csv"):
        (wrong / name).write_text('review,kind\nfine,"dull\n')
    declared = tmp_path / "wrong.yaml"
    declared.write_text(reviews.read_text().replace(str(parts), str(wrong)))
    said = []
    for home, where in (("a", None), ("b", start(2).address)):
        with pytest.raises(FolioError) as caught:
            data_stages(tmp_path / home, declared, where, unheard)
        said.append(str(caught.value))
    assert said[0] == said[1] and "part-1.csv" in said[0] and "\n" not in said[0]
