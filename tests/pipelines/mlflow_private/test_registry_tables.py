"""What Folio takes from MLflow beyond its public interface does what the public calls say."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pytest

from pipelines.errors import FolioError
from pipelines.files.sqlite_file import read_only
from pipelines.mlflow_private.registry_tables import delete_for_good, read_versions
from pipelines.mlflow_private.schema import PROVED
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import asked, versions

pytestmark = pytest.mark.slow


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """As on a disk that is full beyond it, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def test_a_disk_that_is_full_while_it_is_made_is_one_line_and_spoils_nothing(
    tmp_path: Path,
) -> None:
    with (
        pytest.raises(FolioError, match=r"mlflow\.db: .*fix that .free space") as error,
        files_of_at_most(200_000),
        mlflow_at(tmp_path),
    ):
        pass
    assert "\n" not in str(error.value)
    assert not (tmp_path / "mlflow" / "mlflow.db").exists() and versions(tmp_path) == []
    with mlflow_at(tmp_path) as (_, client):
        client.create_registered_model("play")
    assert sorted(path.name for path in (tmp_path / "mlflow").iterdir()) == [".lock", "mlflow.db"]


def test_one_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mlflow" / "mlflow.db"
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(FolioError, match="not a database"), mlflow_at(tmp_path) as (_, client):
        client.search_registered_models()
    assert path.read_bytes() == b"this is no database" * 100


def test_it_is_proved_for_the_installed_version() -> None:
    installed = metadata.version("mlflow")
    assert installed.startswith(f"{PROVED}."), (
        f"MLflow {installed}: run this folder's tests and those of tracking, compare what "
        "pipelines/mlflow_private uses with MLflow's code, then name the version there"
    )


def test_the_tables_say_what_mlflow_says(tmp_path: Path) -> None:
    with mlflow_at(tmp_path) as (_, client):
        for name in ("play", "words"):
            client.create_registered_model(name)
            for folder in ("first", "second", "third"):
                client.create_model_version(name, str(tmp_path / folder), tags={"of": folder})
        client.set_registered_model_alias("play", "champion", "2")
        client.set_registered_model_alias("play", "best", "2")
        client.delete_model_version("play", "1")
        public = asked(client, tmp_path)
        assert [version.number for version in public] == [2, 3, 1, 2, 3]
        assert public[0].aliases == ("best", "champion") and public[0].tags == {"of": "second"}
    with read_only(tmp_path / "mlflow" / "mlflow.db", 1) as database:
        assert len(list(read_versions(database, None))) == 5  # else `versions` would ask MLflow
    assert versions(tmp_path) == public


def test_deleted_for_good_leaves_no_row_of_it_and_all_else(tmp_path: Path) -> None:
    with mlflow_at(tmp_path) as (_, client):
        binned = client.create_experiment("binned")
        client.delete_experiment(binned)
        experiment = client.create_experiment("play")
        pairs = []
        for _ in range(2):
            run = client.create_run(experiment).info.run_id
            model = client.create_logged_model(experiment, name="play", source_run_id=run)
            pairs.append((model.model_id, run))
        (gone, kept) = pairs
        delete_for_good(client, *gone)
    with read_only(tmp_path / "mlflow" / "mlflow.db", 1) as database:
        for table, column, left in (
            ("logged_models", "model_id", kept[0]),
            ("runs", "run_uuid", kept[1]),
        ):
            assert database.execute(f"SELECT {column} FROM {table}").fetchall() == [(left,)]
        names = {name for (name,) in database.execute("SELECT name FROM experiments")}
    assert {"binned", "play"} <= names
