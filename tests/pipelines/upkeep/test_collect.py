"""Garbage collection in a home in which pipelines have run, with all that kills leave behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipelines.declaration.spec import RegistrySpec
from pipelines.files.locks import try_lock
from pipelines.registry.lookup import champions, list_models
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import versions
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.artifacts import lock_of
from pipelines.store.removal import size_of
from pipelines.store.settings import Settings
from pipelines.upkeep.collect import collect, garbage, take_stock
from pipelines.upkeep.garbage import DAY, Item, Policy
from tests.conftest import artifact_of, republished, spec_of
from tests.pipelines.release.test_stage import inputs_of, released
from tests.pipelines.store.test_live_runs import hold

pytestmark = pytest.mark.slow

OTHER = "seed=7"  # the same play, another model


@pytest.fixture(scope="module")
def worked(trained: Settings, play: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained home in which the play has a second version."""
    home = shutil.copytree(trained.home, tmp_path_factory.mktemp("worked") / "home")
    retrain_plain(
        str(play), overrides=(OTHER,), settings=Settings.at(home), notice=lambda text: None
    )
    return home


@pytest.fixture
def here(worked: Path, tmp_path: Path) -> Settings:
    return Settings.at(shutil.copytree(worked, tmp_path / "home"))


def collected(here: Settings, policy: Policy = Policy(runs=1)) -> list[Item]:  # noqa: B008
    stock = take_stock(here)
    problems: list[str] = []
    gone = collect(garbage(stock, here, policy), here, policy, stock.now, problems.append)
    assert problems == []
    return gone


def actions(here: Settings, pipeline: Path, *overrides: str) -> list[str]:
    return [one.action for one in plan(spec_of(pipeline, *overrides), here)]


def aged(path: Path, days: float) -> Path:
    """As if nothing in it had been written for so many days."""
    for one in [*path.rglob("*"), path]:
        os.utime(one, (time.time() - days * DAY,) * 2)
    return path


def unneeded(here: Settings, pipeline: str) -> list[Path]:
    """Copies of what the pipeline's latest run has, under other keys and of long ago."""
    paths = []
    for number, stage in enumerate(("corpus", "model")):
        artifact = artifact_of(here, pipeline, stage)
        path = artifact.path.with_name(f"{number}" * 64)
        shutil.copytree(artifact.path, path)
        path = republished(
            path, lambda manifest: manifest.update(version=99, created="2020-01-01T00:00:00Z")
        ).path
        lock_of(path.parent, path.name).touch()
        paths.append(aged(path, 99))
    return paths


@pytest.mark.long
def test_a_home_in_order_has_nothing_to_give(here: Settings, reviews: Path, play: Path) -> None:
    assert collected(here) == []
    assert (
        actions(here, play) == actions(here, play, OTHER) == actions(here, reviews) == ["reuse"] * 8
    )


def test_the_unneeded_goes_and_champions_still_serve(
    here: Settings, reviews: Path, play: Path
) -> None:
    paths = unneeded(here, "tiny-play")
    expected = {path: size_of(path) for path in paths}
    before = sorted(here.home.rglob("*"))
    assert {item.path: item.bytes for item in garbage(take_stock(here), here, Policy())} == expected
    assert sorted(here.home.rglob("*")) == before
    assert {item.path for item in collected(here)} == set(paths)
    assert not any(path.exists() or lock_of(path.parent, path.name).exists() for path in paths)
    assert collected(here) == []
    assert (
        actions(here, play) == actions(here, play, OTHER) == actions(here, reviews) == ["reuse"] * 8
    )
    for name in champions(here.home):
        assert Predictor.load(load_champion(here.home, name)).kind


def test_leftovers_of_killed_runs_go(here: Settings) -> None:
    folder, keys = here.store.root / "model", [letter * 64 for letter in "abcdefgh"]

    def left(name: str, days: float = 0) -> Path:
        (here.store.root / name / "deep").mkdir(parents=True)
        (here.store.root / name / "deep" / "half").write_text("12345")
        return aged(here.store.root / name, days)

    lock_of(folder, keys[0]).touch()
    gone = [
        left(f"model/.tmp-{keys[0]}"),
        left(f"model/.work-{keys[1]}", 8),
        left(f"model/.fetch-{keys[2]}-123", 2),
        left(f"model/{keys[3]}", 8),
        left(f".damaged/model-{keys[0]}-{time.time_ns() - 8 * DAY * 10**9}"),
        left(f".removed/model-{keys[0]}-1"),
    ]
    stay = [
        left(f"model/.work-{keys[4]}", 6),
        left(f"model/.fetch-{keys[5]}-123"),
        left(f"model/{keys[6]}"),
        left(f".damaged/model-{keys[0]}-{time.time_ns()}", 99),
        left(f"model/.tmp-{keys[7]}", 99),
        left("model/somebody's own", 99),
    ]
    with try_lock(lock_of(folder, keys[7])):
        items = collected(here)
    assert {item.path for item in items} == set(gone)
    assert {item.bytes for item in items} == {5}
    assert not any(path.exists() for path in gone) and all(path.exists() for path in stay)
    assert not lock_of(folder, keys[0]).exists() and lock_of(folder, keys[7]).exists()


def test_nothing_that_a_run_in_another_process_may_need_goes(here: Settings) -> None:
    paths = unneeded(here, "tiny-play")
    live = hold(here.runs.folder, "20260101-000000-tiny-play-beef")  # it does not say since when
    assert collected(here) == []
    live.communicate()
    user = Settings.at(here.home).store
    assert user.hold(user.find("corpus", paths[0].name))
    assert [item.path for item in collected(here)] == paths[1:]
    del user
    assert [item.path for item in collected(here)] == paths[:1]


@pytest.fixture
def films(trained: Settings, here: Settings, tmp_path: Path) -> Callable[[float], Path]:
    """Registers the trained classifier with an accuracy, under a name of its own."""

    def register(accuracy: float) -> Path:
        spec = RegistrySpec(metric="accuracy", floor=0.3)
        released(inputs_of(trained, accuracy, tmp_path), spec, here.home, tmp_path)
        return versions(here.home, "films")[-1].folder

    return register


@pytest.mark.long
def test_old_versions_go_with_their_files_and_rows(
    here: Settings, films: Callable[[float], Path]
) -> None:
    folders = [films(accuracy) for accuracy in (0.5, 0.6, 0.7, 0.55, 0.65, 0.45)]
    assert [v["verdict"] for v in list_models(here.home, "films")[0]["versions"]] == [
        "promote",
        "promote",
        "promote",
        "reject",
        "reject",
        "reject",
    ]
    with mlflow_at(here.home) as (_, client):  # as the report and samples are kept
        for version in versions(here.home, "films"):
            client.log_text(version.run, "a page", "report/report.html")
    films_only = here.home / "mlflow" / "artifacts" / "films"
    runs = [path.parent for path in films_only.glob("*/artifacts/report")]
    assert len(runs) == 6
    stock = take_stock(here)
    items = garbage(stock, here, Policy(runs=2))
    assert [(item.name, item.path, item.bytes) for item in items] == [
        (f"films version {number}", folders[number - 1], size_of(folders[number - 1]))
        for number in (1, 4)
    ]
    with mlflow_at(here.home) as (_, client):  # somebody wants it after all
        client.set_registered_model_alias("films", "keep", "4")
    assert [item.name for item in collect(items, here, Policy(runs=2), stock.now, print)] == [
        "films version 1"
    ]
    assert [v.number for v in versions(here.home, "films")] == [2, 3, 4, 5, 6]
    assert [folder.exists() for folder in folders] == [False, *[True] * 5]
    assert not folders[0].parent.exists() and sum(run.exists() for run in runs) == 5
    with closing(sqlite3.connect(here.home / "mlflow" / "mlflow.db")) as database:
        for table in ("runs", "logged_models"):
            (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert count == 3 + 5, table
    assert films(0.8).is_dir() and champions(here.home)["films"]["version"] == 7


def test_files_that_versions_share_are_counted_once(
    here: Settings, films: Callable[[float], Path]
) -> None:
    folders = [films(accuracy) for accuracy in (0.5, 0.6, 0.7)]

    def copied(number: int) -> None:
        like = next(one for one in versions(here.home, "films") if one.number == number)
        with mlflow_at(here.home) as (_, client):
            source = client.get_model_version("films", str(number))
            client.create_model_version("films", str(source.source), like.run, tags=like.tags)

    def listed() -> dict[str, int]:
        items = garbage(take_stock(here), here, Policy(runs=1))
        return {item.name: item.bytes for item in items if item.version}

    copied(1)
    assert listed() == {"films version 1": 0}  # version 4, the last one, needs them
    copied(3)
    assert listed() == {"films version 1": size_of(folders[0]), "films version 4": 0}
    assert {item.name for item in collected(here)} == {"films version 1", "films version 4"}
    assert [folder.exists() for folder in folders] == [False, True, True]


def test_a_copied_home_leaves_the_files_of_the_original(
    here: Settings, films: Callable[[float], Path], tmp_path: Path
) -> None:
    folders = [films(accuracy) for accuracy in (0.5, 0.6, 0.7)]
    shutil.copytree(here.home, tmp_path / "copy")
    copy = Settings.at(tmp_path / "copy")
    (item,) = collected(copy)
    assert item.name == "films version 1" and item.path is not None
    assert item.path.is_relative_to(copy.home) and not item.path.exists()
    assert all(folder.is_dir() for folder in folders)


def test_a_registry_of_others_is_left_alone(
    here: Settings, films: Callable[[float], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for accuracy in (0.5, 0.6, 0.7):
        films(accuracy)
    shared = here.home.parent / "shared.db"
    shutil.copyfile(here.home / "mlflow" / "mlflow.db", shared)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    assert collected(here) == []


def test_old_records_comparisons_and_logs_go(here: Settings) -> None:
    record = next(iter(here.runs)) | {"version": None, "stages": []}
    for run, started in (
        ("20200101-000000-tiny-play-aaaa", "2020-01-01T00:00:00Z"),
        ("20200102-000000-tiny-play-bbbb", "2020-01-02T00:00:00Z"),
    ):
        here.runs.save(record | {"run": run, "started": started})
        (here.home / "comparisons" / run).mkdir(parents=True)
        aged(here.home / "comparisons" / run, 99)
    (here.home / "logs").mkdir(exist_ok=True)
    (here.home / "logs" / "native.log").write_text("much")
    assert collected(here, Policy(runs=4)) == []
    gone = collected(here, Policy(runs=3))
    assert {(item.kind, item.name) for item in gone} == {
        ("run record", "20200101-000000-tiny-play-aaaa"),
        ("comparison", "20200101-000000-tiny-play-aaaa"),
    }
    assert {item.name for item in collected(here, Policy(runs=3, days=0))} == {"native.log"}


def test_what_cannot_be_deleted_is_told(here: Settings) -> None:
    problems: list[str] = []
    busy = Item("log", "self", Path("/proc/self/status"), "a file that no one can delete")
    assert collect([busy], here, Policy(), time.time(), problems.append) == []
    assert problems and problems[0].startswith("/proc/self/status: ")
