"""A pipeline whose process is killed in each of its stages, one after the other, gets there."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pipelines.registry.lookup import list_models
from pipelines.run.retraining import retrain_plain
from pipelines.store.live_runs import dead_runs
from pipelines.store.settings import Settings
from tests.conftest import artifact_of
from tests.forked import exit_code
from tests.pipelines.killed_run import killed_run
from tests.plain_stages import NAMES

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_killed_in_each_stage_it_ends_as_an_undisturbed_run(
    trained: Settings, play: Path, tmp_path: Path
) -> None:
    settings = Settings.at(tmp_path / "home")
    for stage in NAMES:
        log = tmp_path / f"{stage}.log"
        code = exit_code(log, killed_run, str(settings.home), str(play), stage)
        assert code == -signal.SIGKILL, log.read_text()
        assert not list((settings.home / "store" / stage).glob("[!.]*/manifest.json"))
    assert len(dead_runs(settings.runs.folder)) == len(NAMES)
    record = retrain_plain(str(play), settings=settings, notice=lambda text: None)
    assert [entry["action"] for entry in record["stages"]] == ["reuse"] * 7 + ["run"]
    for stage in ("batches", "model"):
        assert (
            artifact_of(settings, "tiny-play", stage).digest
            == artifact_of(trained, "tiny-play", stage).digest
        ), stage
    (model,) = list_models(settings.home)
    assert [version["version"] for version in model["versions"]] == [record["version"]] == [1]
