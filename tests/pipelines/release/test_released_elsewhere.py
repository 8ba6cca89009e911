"""A release counts only for the registry that holds its very package: in a home whose registry was
lost or restored, and between homes that share a store."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from pipelines.audit.find_report import report_of
from pipelines.audit.verify import verify
from pipelines.registry.lookup import list_models
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import Store, silent
from pipelines.store.lineage import stored
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, spec_of

pytestmark = pytest.mark.slow

NAME = "tiny-play"


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(trained.home, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def release(settings: Settings, pipeline: Path) -> tuple[str, str]:
    decisions = {one.stage: one for one in plan(spec_of(pipeline), settings)}
    return decisions["release"].action, decisions["release"].reason


def rerun(settings: Settings, pipeline: Path) -> tuple[list[str], int]:
    record = retrain_plain(str(pipeline), settings=settings, notice=lambda text: None)
    return [entry["action"] for entry in record["stages"]], record["version"]


def problems(settings: Settings) -> list[str]:
    return verify(settings.home, settings.store.root, silent, NAME).problems


def another_model(settings: Settings) -> None:
    """Version 1 of that name in the registry, which is made if need be, is another model."""
    folder = settings.home / "mlflow" / "artifacts" / "another"
    folder.mkdir(parents=True)
    with mlflow_at(settings.home) as (_, client):
        client.create_registered_model(NAME)
        client.create_model_version(NAME, folder.as_uri(), tags={"folio.package": "another"})


REUSED = ["reuse"] * 6 + ["run"] * 2


def test_a_lost_registry_is_filled_again(home: Settings, play: Path) -> None:
    before = artifact_of(home, NAME, "release")
    assert release(home, play) == ("reuse", "nothing changed")
    old = shutil.copytree(before.path, home.home / "old-release")
    shutil.rmtree(home.home / "mlflow")
    why = "this registry has no version of this package of tiny-play"
    assert release(home, play) == ("run", why)
    (problem,) = problems(home)
    assert why in problem and problem.endswith("folio run tiny-play")
    assert rerun(home, play) == (REUSED, 1)
    assert problems(home) == [] and release(home, play) == ("reuse", "nothing changed")
    # Its number and package are the same; yet what it says, its verdict say, is of the lost one.
    shutil.rmtree(before.path)
    shutil.copytree(old, before.path)
    action, reason = release(home, play)
    assert action == "run" and "was registered in this registry by another release" in reason


@pytest.mark.long
def test_a_registry_restored_from_an_older_copy_has_another_model(
    home: Settings, play: Path
) -> None:
    shutil.rmtree(home.home / "mlflow")
    another_model(home)
    why = "version 1 of tiny-play is another model in this registry"
    assert release(home, play) == ("run", why)
    assert why in problems(home)[-1]
    assert rerun(home, play) == (REUSED, 2)
    assert release(home, play) == ("reuse", "nothing changed")
    page = report_of(f"{NAME}@2", home)
    assert page == artifact_of(home, NAME, "report").path / "report.html"


@pytest.mark.long
def test_homes_with_registries_of_their_own_share_no_release(
    trained: Settings, play: Path, tmp_path: Path
) -> None:
    bucket = tmp_path / "bucket"
    shared = Store(trained.store.root, f"file://{bucket}")
    for artifact in stored(shared):  # with releases, as it was once
        assert shared.share(artifact) == (artifact, None)
    one, other = (
        Settings.at(tmp_path / name, remote=f"file://{bucket}") for name in ("one", "other")
    )
    another_model(other)
    for settings, number in ((one, 1), (other, 2)):
        assert release(settings, play) == ("run", "not built yet")
        assert rerun(settings, play) == (REUSED, number)
        assert release(settings, play) == ("reuse", "nothing changed")
        (model,) = list_models(settings.home, NAME)
        assert len(model["versions"]) == number
    # The first home's release, were it here, is not this home's.
    here, there = (artifact_of(settings, NAME, "release").path for settings in (other, one))
    shutil.rmtree(here)
    shutil.copytree(there, here)
    assert release(other, play) == (
        "run",
        "version 1 of tiny-play is another model in this registry",
    )
    shutil.rmtree(bucket / "release")
    shutil.rmtree(here)
    assert rerun(other, play) == (REUSED, 2)
    assert not (bucket / "release").exists()


def test_a_version_whose_files_are_gone_is_said(home: Settings, play: Path) -> None:
    gone = home.home / "gone"
    with sqlite3.connect(home.home / "mlflow" / "mlflow.db") as database:
        database.execute(
            "UPDATE model_versions SET storage_location = ? WHERE name = ?", (gone.as_uri(), NAME)
        )
    assert release(home, play) == ("run", f"the files of tiny-play version 1 are missing: {gone}")
