"""A comparison or a search is one MLflow run, with those of its variants under it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.registry.mlflow_access import mlflow_at
from pipelines.tracking.live import Training, training_run
from pipelines.tracking.nested import Tried, parent_run
from pipelines.tracking.runs import PARENT

NAME, MEASURE = "tiny", "validation_accuracy"

pytestmark = pytest.mark.slow


@pytest.fixture
def home(empty_registry: Path, tmp_path: Path) -> Path:
    return shutil.copytree(empty_registry, tmp_path / "home")


def trained(home: Path, run: str, key: str) -> None:
    training = Training(home, NAME, run, key * 64, {"model.cell": "gru", "model.units": (3,)})
    with training_run(training, print) as epochs:
        epochs([{"epoch": 1, "loss": 2.0, "validation_accuracy": 0.5, "steps": 9}], [0.1])


def tried(run: str, value: float | None, **more: Any) -> Tried:
    return Tried(f"cell of {run}", {"model.cell": "gru"}, (run,), MEASURE, value, **more)


def runs(home: Path) -> dict[str, Any]:
    with mlflow_at(home) as (_, client):
        experiment = client.get_experiment_by_name(NAME)
        found = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def test_a_search_that_is_killed_continues_under_the_same_parent(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(home, "run-1", "a")
    with pytest.raises(KeyboardInterrupt), parent_run(home, NAME, "tune", "s", print) as parent:
        parent.add(tried("run-1", 0.5))
        raise KeyboardInterrupt
    assert runs(home)["tune"].info.status == "KILLED"
    trained(home, "run-2", "b")
    with parent_run(home, NAME, "tune", "s", print) as parent:
        parent.add(tried("run-2", 0.75))
        parent.add(tried("run-3", None, error="the loss is nan"))  # there was no training
        parent.choose(tried("run-2", 0.75), 3)
    found = runs(home)
    root = found.pop("tune")
    assert root.info.status == "FINISHED" and root.data.tags["folio.choice"] == "cell of run-2"
    assert (
        "Choice of 3: cell of run-2, validation accuracy 0.75"
        in (root.data.tags["mlflow.note.content"])
    )
    assert set(found) == {"run-1", "run-2", "run-3"}
    assert {run.data.tags[PARENT] for run in found.values()} == {root.info.run_id}
    assert found["run-2"].data.metrics == {
        "loss": 2.0,
        "validation_accuracy": 0.5,
        "epoch_seconds": 0.1,
        "best_validation_accuracy": 0.75,
    }
    assert found["run-2"].data.params == {"model.cell": "gru", "model.units": "[3]"}
    assert found["run-3"].info.status == "FAILED"
    assert found["run-3"].data.tags["mlflow.note.content"] == "the loss is nan"
    assert capsys.readouterr().out == ""


def test_seeds_of_a_variant_stand_under_it(home: Path) -> None:
    for run, key in (("run-1", "a"), ("run-2", "b")):
        trained(home, run, key)
    with parent_run(home, NAME, "compare", "s", print) as parent:
        parent.add(Tried("cell gru", {"model.cell": "gru"}, ("run-1", "run-2"), MEASURE, 0.6))
    found = runs(home)
    above = {name: run.data.tags.get(PARENT) for name, run in found.items()}
    variant = found["cell gru"].info.run_id
    assert above == {
        "compare": None,
        "cell gru": found["compare"].info.run_id,
        "run-1": variant,
        "run-2": variant,
    }
    assert found["cell gru"].data.metrics["best_validation_accuracy"] == 0.6


@pytest.mark.long
def test_a_server_gets_the_same(home: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    test_seeds_of_a_variant_stand_under_it(home)


def test_a_server_that_is_away_is_one_line(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with parent_run(home, NAME, "tune", "s", print) as parent:
        parent.add(tried("run-1", 0.5))
        parent.add(tried("run-2", 0.5))
        parent.choose(tried("run-2", 0.5), 2)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("not in MLflow: http://127.0.0.1:9: ")


def test_tables_of_another_mlflow_are_not_written_to(home: Path) -> None:
    import sqlite3

    said: list[str] = []
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'abc'")
    with training_run(Training(home, NAME, "run-1", "a" * 64, {}), said.append):
        pass
    (line,) = said
    assert "MLflow's tables are of version abc, which Folio does not know" in line
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (0,)
