"""While something is trained, MLflow has its run, with a point for each epoch that has ended."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.registry.mlflow_access import mlflow_at
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from pipelines.tracking.live import end_killed
from tests.conftest import artifact_of
from tests.forked import exit_code
from tests.pipelines.tracking.watched_training import failing_training, killed_training

NAME = "tiny-reviews"
UNTIL_MODEL = Selection.of(until="model")

pytestmark = pytest.mark.slow


@pytest.fixture
def home(empty_registry: Path, tmp_path: Path) -> Settings:
    shutil.copytree(empty_registry, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def train(settings: Settings, pipeline: Path, **asked: Any) -> dict[str, Any]:
    return retrain_plain(str(pipeline), settings=settings, notice=lambda text: None, **asked)


def runs(settings: Settings) -> list[Any]:
    with mlflow_at(settings.home) as (_, client):
        experiment = client.get_experiment_by_name(NAME)
        return client.search_runs([experiment.experiment_id]) if experiment else []


def points(settings: Settings, run: Any, key: str = "validation_loss") -> list[tuple[int, float]]:
    with mlflow_at(settings.home) as (_, client):
        history = client.get_metric_history(run.info.run_id, key)
        return sorted((point.step, point.value) for point in history)


def test_a_killed_training_leaves_a_run_that_the_next_continues(
    home: Settings, reviews: Path, tmp_path: Path
) -> None:
    code = exit_code(tmp_path / "log", killed_training, str(home.home), str(reviews))
    assert code == -signal.SIGKILL, (tmp_path / "log").read_text()
    (killed,) = runs(home)
    assert killed.info.status == "RUNNING" and len(points(home, killed)) == 1
    assert killed.data.params["training.learning_rate"] == "0.02"
    end_killed(home.home, NAME, killed.info.run_name)
    assert runs(home)[0].info.status == "KILLED"

    record = train(home, reviews)
    (run,) = runs(home)
    assert run.info.run_id == killed.info.run_id and run.info.status == "FINISHED"
    assert run.info.run_name == record["run"] == artifact_of(home, NAME, "model").manifest["run"]
    assert [step for step, _ in points(home, run)] == [1, 2]
    assert points(home, run)[0] == points(home, killed)[0]
    with mlflow_at(home.home) as (_, client):  # registration completed the same run
        assert client.get_model_version(NAME, "1").run_id == run.info.run_id
    assert run.data.metrics["accuracy"] == record["metrics"]["accuracy"]
    assert run.data.tags["folio.version"] == "1" and "folio.model" not in run.data.tags
    assert run.data.params.items() >= killed.data.params.items()
    stages = {entry["stage"]: entry["seconds"] for entry in record["stages"]}
    after = time.time() - run.info.end_time / 1000  # its duration is that of the training
    assert after > stages["metrics"] + stages["release"]


def test_a_training_that_fails_leaves_a_failed_run(
    home: Settings, reviews: Path, tmp_path: Path
) -> None:
    assert exit_code(tmp_path / "log", failing_training, str(home.home), str(reviews)) == 1
    (run,) = runs(home)
    assert run.info.status == "FAILED" and len(points(home, run)) == 1


def test_a_run_until_the_model_has_a_finished_run_without_a_model(
    reviews: Path, tmp_path: Path
) -> None:
    home = Settings.at(tmp_path / "new")  # its database is made while it trains
    record = train(home, reviews, selection=UNTIL_MODEL)
    (run,) = runs(home)
    assert (run.info.run_name, run.info.status) == (record["run"], "FINISHED")
    assert [step for step, _ in points(home, run, "loss")] == [
        1,
        2,
    ] and not run.outputs.model_outputs
    assert run.info.artifact_uri == f"mlflow-artifacts:/{NAME}/{run.info.run_id}/artifacts"
    train(home, reviews, selection=UNTIL_MODEL)  # reused: nothing is trained
    assert len(runs(home)) == 1


def test_a_server_that_is_away_is_one_line(
    home: Settings, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://folio:secret@127.0.0.1:9")
    settings = Settings.at(home.home, log=said.append)
    assert train(settings, reviews, selection=UNTIL_MODEL)["state"] == "done"
    (line,) = [text for text in said if "MLflow" in text]
    assert "127.0.0.1:9" in line and "\n" not in line and "secret" not in line


@pytest.mark.long
def test_a_server_gets_the_same(
    server: str, home: Settings, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    record = train(home, reviews, selection=UNTIL_MODEL)
    (run,) = runs(home)
    assert (run.info.run_name, run.info.status) == (record["run"], "FINISHED")
    assert [step for step, _ in points(home, run)] == [1, 2]
    assert run.data.params["model.cell"] == "lstm"
    record = train(home, reviews)
    (same,) = runs(home)
    assert same.info.run_id == run.info.run_id and same.data.tags["folio.version"] == "1"
    assert [step for step, _ in points(home, run)] == [1, 2]
    train(home, reviews, selection=Selection.of(since="model"))  # the same model, trained again
    assert len(runs(home)) == 2
