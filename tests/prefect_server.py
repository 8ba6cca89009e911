"""A Prefect server for the whole test session, homes that need no migration, and their history."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from flows.server.lifecycle import prefect_api
from tests.conftest import PROJECT

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home whose server runs while the session lasts; flows called here report to it."""
    home = tmp_path_factory.getbasetemp() / "prefect-home"
    with prefect_api(home):
        yield home


@pytest.fixture
def new_home(prefect_home: Path, tmp_path: Path) -> Path:
    """A home of one's own without a server; its empty database saves 5 s of migrations."""
    return migrated(prefect_home, tmp_path / "home")


def migrated(prefect_home: Path, home: Path) -> Path:
    """`home`, with an empty database of Prefect's in it."""
    (home / "prefect").mkdir(parents=True)
    with (
        closing(sqlite3.connect(database(prefect_home))) as old,
        closing(sqlite3.connect(database(home))) as new,
    ):
        old.backup(new)
        for table in ("flow_run", "flow_run_state", "task_run", "log", "artifact"):
            new.execute(f"delete from {table}")
        new.commit()
    return home


def require_pool(client: SyncPrefectClient, name: str = "cpu") -> None:
    """The work pool, as `folio up` makes it."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    from flows.services.installation import job_template

    with suppress(ObjectAlreadyExists):
        pool = WorkPoolCreate(name=name, type="process", base_job_template=job_template())
        client.create_work_pool(pool)


def database(home: Path) -> Path:
    return home / "prefect" / "prefect.db"


def rows(home: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    """What the database of a home says, whether or not its server runs."""
    with closing(sqlite3.connect(database(home))) as connection:
        return connection.execute(query, values).fetchall()


def one_run(
    home: Path, pipeline: Path, then: str = "leave", **environment: str
) -> subprocess.Popen[str]:
    """A process that does `tests/flows/one_run.py`, outside this session's Prefect."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.flows.one_run", str(home), str(pipeline), then],
        cwd=PROJECT,
        env=own | environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def server_processes(home: Path) -> list[int]:
    """The processes that work in the home's prefect folder, and are not merely unburied."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(home / "prefect"):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
