"""A new champion of one pipeline retrains the pipeline that starts from it: by the command, and by
the automation in Prefect."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import get_client

from flows.cli.running import upstream_first
from flows.deployments import CPU
from flows.retrain import retrain
from flows.services.automations import FOLLOWS, install_followers
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from tests.conftest import PROJECT
from tests.pipelines.start.chain import chained, copied, declared_chain, pipelines
from tests.prefect_server import require_pool

__all__ = ["chained", "copied", "pipelines"]
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
PATIENCE = 240  # seconds


@pytest.fixture
def worker(prefect_home: Path, copied: Settings, monkeypatch: Any) -> Iterator[None]:
    """A worker of the pool cpu that runs flows on the copied home."""
    monkeypatch.setenv("FOLIO_HOME", str(copied.home))
    with get_client(sync_client=True) as client:
        require_pool(client)
    command = ["worker", "start", "--pool", CPU, "--type", "process"]
    process = subprocess.Popen([sys.executable, "-m", "prefect", *command], cwd=PROJECT)
    yield
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()
    process.wait()


def deployed(pipeline: Path) -> None:
    with get_client(sync_client=True) as client:
        client.create_deployment(
            client.create_flow_from_name("retrain"),
            pipeline.stem,
            work_pool_name=CPU,
            entrypoint="flows.retrain.retrain",
            parameters={"pipeline": str(pipeline)},
            pull_steps=[],
        )


def records(home: Path, pipeline: str) -> list[dict[str, Any]]:
    return [one for one in Runs(home / "runs") if one["pipeline"] == pipeline]


@pytest.mark.usefixtures("worker")
def test_a_new_champion_retrains_what_starts_from_it(
    copied: Settings, pipelines: tuple[Path, Path]
) -> None:
    first, second = pipelines
    deployed(second)
    with get_client(sync_client=True) as client:
        install_followers(client, {second.stem: first.stem})
    before = len(records(copied.home, second.stem))
    record = retrain(str(first), overrides=["training.epochs=3"])
    assert record["verdict"] == "promote"
    deadline = time.monotonic() + PATIENCE
    while len(records(copied.home, second.stem)) == before and time.monotonic() < deadline:
        time.sleep(1)
    newest = records(copied.home, second.stem)[0]
    start = next(entry for entry in newest["stages"] if entry["stage"] == "start")
    assert (start["action"], start["reason"]) == ("run", "tiny-lm: champion 1 → 2")
    assert newest["state"] == "done" and newest["version"] == 2

    with get_client(sync_client=True) as client:
        install_followers(client, {})
        assert not [one for one in client.read_automations() if one.name.startswith(FOLLOWS)]


def test_what_others_start_from_comes_first(tmp_path: Path) -> None:
    first, second = map(str, declared_chain(tmp_path))
    assert upstream_first([(second, ()), (first, ())], None) == [(first, ()), (second, ())]


def test_the_command_retrains_both_in_order(new_home: Path, tmp_path: Path) -> None:
    first, second = declared_chain(tmp_path)
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", str(second), "--with-upstream"],
        env=own | {"FOLIO_HOME": str(new_home)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = sorted(Runs(new_home / "runs"), key=lambda one: one["started"])
    assert [one["pipeline"] for one in made] == [first.stem, second.stem]
    assert done.stdout.index("tiny-lm, profile full") < done.stdout.index("tiny-started, profile")
