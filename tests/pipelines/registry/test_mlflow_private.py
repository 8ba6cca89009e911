"""MLflow's database is there whole, or not at all."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.errors import FolioError
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import versions


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
        pytest.raises(FolioError, match=r"mlflow\.db: .*mend that .free space") as error,
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
