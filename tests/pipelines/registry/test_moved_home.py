"""A home that was copied or moved works in its new place, and writes nothing to the old one."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.services.mlflow_process import command, environment
from flows.web.reachable import answers
from pipelines.errors import FolioError, UsageError
from pipelines.export.export import export
from pipelines.mlflow_private.registry_tables import LOCATIONS, absolute_roots, relocate
from pipelines.mlflow_private.schema import SCHEMA
from pipelines.registry.champions import promote, rollback
from pipelines.registry.home_artifacts import SCHEME, local_path
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import is_within, versions
from pipelines.run.retraining import retrain_plain
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from pipelines.upkeep import pipeline_health
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow
PLAY = "tiny-play"


@pytest.fixture
def moved(trained: Settings, tmp_path: Path) -> Path:
    """A copy of the trained home whose original is gone, at a path that an address must quote."""
    first = shutil.copytree(trained.home, tmp_path / "first home")
    first.rename(tmp_path / "second home, 50% ü")
    return tmp_path / "second home, 50% ü"


def tables(home: Path) -> sqlite3.Connection:
    return sqlite3.connect(home / "mlflow" / "mlflow.db")


def made_absolute(home: Path) -> None:
    """Its rows as Folio before wrote them."""
    with closing(tables(home)) as database:
        relocate(database, f"{SCHEME}:/", f"{(home / 'mlflow' / 'artifacts').as_uri()}/")


def locations(home: Path) -> list[str]:
    with closing(tables(home)) as database:
        rows = [database.execute(f"SELECT {column} FROM {table}") for table, column in LOCATIONS]
        return [place for one in rows for (place,) in one if place and "models:/" not in place]


def answer(home: Path) -> list[dict[str, Any]]:
    return Predictor.load(load_champion(home, PLAY)).next_tokens("MARIAN:", 3)


def test_what_is_registered_names_no_place_outside(trained: Settings) -> None:
    with closing(tables(trained.home)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(SCHEMA,)]
        assert absolute_roots(database) == []
    places = [place for place in locations(trained.home) if not place.endswith("mlruns/0")]
    assert len(places) >= 8 and all(one.startswith(f"{SCHEME}:/tiny-") for one in places)


def test_a_moved_home_answers_and_changes_its_champion(
    moved: Path, trained: Settings, play: Path
) -> None:
    assert all(is_within(moved, version) for version in versions(moved))
    assert answer(moved) == answer(trained.home)
    settings = Settings.at(moved)
    overrides = ["training.learning_rate=0.011"]
    record = retrain_plain(
        str(play), overrides=overrides, settings=settings, notice=lambda text: None
    )
    assert record["version"] == 2
    promote(moved, PLAY, 2, "by hand")
    assert rollback(moved, PLAY, "by hand")["champion"] == 1
    assert all(is_within(moved, version) for version in versions(moved, PLAY))
    assert [one.state for one in pipeline_health.registry(moved)] == ["ok"]
    shown = settings.runs.get("latest")
    assert Path(shown["report"]).is_file() and shown["report"].startswith(str(moved))


def test_an_exported_model_is_complete_or_not_there(moved: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "model"
    found = {"name": PLAY, "version": 1, "format": "mlflow", "folder": str(out)}
    assert export(moved, PLAY, None, out) == found
    assert Predictor.load(out / "data" / "package").next_tokens("MARIAN:", 3) == answer(moved)
    with pytest.raises(UsageError, match="exists already; name another folder"):
        export(moved, PLAY, None, out)
    (versions(moved, PLAY)[0].folder / "data" / "package" / "model.json").write_text("{}")
    with pytest.raises(FolioError, match="not those that were registered"):
        export(moved, PLAY, None, tmp_path / "new" / "other")
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_a_home_of_before_is_read_where_it_is_and_rewritten_when_it_is_written_to(
    trained: Settings, tmp_path: Path
) -> None:
    old = shutil.copytree(trained.home, tmp_path / "old")
    made_absolute(old)
    new = old.rename(tmp_path / "new")
    assert any(place.startswith("file:") for place in locations(new))
    assert all(is_within(new, version) for version in versions(new))
    assert answer(new) == answer(trained.home)
    with mlflow_at(new) as (mlflow, client):
        found = mlflow.artifacts.download_artifacts("models:/tiny-play@champion")
        assert Path(found).is_relative_to(new / "mlflow" / "artifacts")
        assert client.get_experiment_by_name(PLAY).artifact_location == f"{SCHEME}:/{PLAY}"
    assert not any(place.startswith("file:") for place in locations(new))


def test_a_version_whose_files_are_elsewhere_stays_there_and_doctor_says_so(
    moved: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(moved / "mlflow" / "artifacts", elsewhere / "mlflow" / "artifacts")
    shutil.rmtree(moved / "mlflow" / "artifacts")
    with closing(tables(moved)) as database:
        relocate(database, f"{SCHEME}:/", f"{(elsewhere / 'mlflow' / 'artifacts').as_uri()}/")
    with mlflow_at(moved) as (_, client):
        assert client.get_experiment_by_name(PLAY).artifact_location.startswith("file:")
    assert not is_within(moved, versions(moved, PLAY)[0])
    found = [one for one in pipeline_health.registry(moved) if one.state == "warning"]
    assert len(found) == 2 and f"its files are outside this home: {elsewhere}" in found[0].text


@pytest.mark.long
def test_a_server_on_a_moved_home_hands_out_its_files(
    moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answer(moved)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = os.environ | {key: value for key, value in environment(moved).items() if value}
    with subprocess.Popen(command(moved, port), env=own, cwd=PROJECT) as server:
        try:
            until = time.monotonic() + 120
            while not answers(f"http://127.0.0.1:{port}/health") and time.monotonic() < until:
                time.sleep(0.5)
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
            assert answer(tmp_path / "another") == expected
        finally:
            server.terminate()


@pytest.mark.parametrize(
    ("address", "database", "place"),
    [
        ("mlflow-artifacts:/play/models/m-1", "sqlite:////h/mlflow/mlflow.db", "play/models/m-1"),
        ("mlflow-artifacts:/my%20play", "sqlite:////h/mlflow/mlflow.db", "my play"),
        ("mlflow-artifacts:/../../etc/passwd", "sqlite:////h/mlflow/mlflow.db", None),
        ("mlflow-artifacts:/%2e%2e/%2e%2e/etc", "sqlite:////h/mlflow/mlflow.db", None),
        ("mlflow-artifacts://host/play", "sqlite:////h/mlflow/mlflow.db", None),
        ("mlflow-artifacts:/play", "http://127.0.0.1:5000", None),
        ("s3://bucket/play", "sqlite:////h/mlflow/mlflow.db", None),
    ],
)
def test_an_address_leads_into_the_folder_beside_the_database_or_nowhere(
    address: str, database: str, place: str | None
) -> None:
    found = local_path(address, database)
    assert found == (place and Path("/h/mlflow/artifacts") / place)
