"""Prefect and MLflow on a real PostgreSQL, started as docs/operating.md says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from flows.server.environment import QUIET
from pipelines.registry.lookup import champions
from pipelines.serving.registered import load_champion
from tests.conftest import PROJECT
from tests.pipelines.release.test_stage import NAME, Release, home, release
from tests.postgres import Postgres, free_port, postgres
from tests.prefect_server import one_run

pytestmark = pytest.mark.long

__all__ = ["home", "release"]
BOOT_SECONDS = 120


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", running.port), 1):
        pass


@contextmanager
def service(log: Path, *command: str, health: str, **environment: str) -> Iterator[None]:
    """A module as a server, in a session of its own: nothing of it is left after the block."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **QUIET, **environment},
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        await_answer(health, process, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while True:
        with suppress(OSError):
            urlopen(url, timeout=2).close()
            return
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def test_prefect_keeps_its_schedules_and_runs_in_postgresql(
    server: Postgres, tmp_path: Path, play: Path
) -> None:
    server.create("prefect")
    port, own = free_port(), tmp_path / "home"
    api = f"http://127.0.0.1:{port}/api"
    with service(
        tmp_path / "log",
        "flows.web.prefect_app",
        "--port",
        str(port),
        health=f"{api}/health",
        PREFECT_HOME=str(tmp_path),
        PREFECT_API_DATABASE_CONNECTION_URL=server.url("asyncpg", "prefect"),
    ):
        run = one_run(own, play, PREFECT_API_URL=api)
        installed = install(own, PREFECT_API_URL=api)
        said, complained = run.communicate()
        assert (run.returncode, said.strip()) == (0, api), complained
        await_row(server, "select 1 from flow_run where state_type = 'SCHEDULED' limit 1")
    assert (installed.returncode, installed.stderr) == (0, "")
    assert installed.stdout == f"installed pools, deployments and automations at {api}\n"
    assert not (own / "prefect").exists() and not list(tmp_path.glob("*.db"))
    assert server.rows(
        "prefect", "select state_type::text from flow_run where start_time is not null"
    ) == [("COMPLETED",)]
    assert server.rows("prefect", "select state_type::text, name from task_run") == [
        ("COMPLETED", "tiny-play · source")
    ]
    assert server.rows(
        "prefect", "select name, type, concurrency_limit from work_pool order by name"
    ) == [("cpu", "process", None), ("gpu", "process", 1)]
    assert server.rows("prefect", "select name from automation order by name") == [
        ("folio upstream: imdb follows imdb-lm",),
        ("folio upstream: speeches follows mysterious-island",),
        ("folio: a crashed run is tried again",),
        ("folio: a silent run has crashed",),
    ]


def test_installing_on_no_server_is_refused(tmp_path: Path) -> None:
    done = install(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("folio: PREFECT_API_URL: set it to the")


def install(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return subprocess.run(
        [sys.executable, "-m", "flows.services.installation"],
        cwd=PROJECT,
        text=True,
        env={**own, "FOLIO_HOME": str(home), **environment},
        capture_output=True,
        check=False,
    )


def await_row(server: Postgres, query: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while not server.rows("prefect", query):
        assert time.monotonic() < deadline, query
        time.sleep(0.2)


def test_mlflow_keeps_its_versions_in_postgresql(
    server: Postgres, tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create("mlflow")
    port, own = free_port(), tmp_path / "another-home"
    address = f"http://127.0.0.1:{port}"
    with service(
        tmp_path / "log",
        "mlflow",
        "server",
        "--app-name",
        "folio",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        server.url("psycopg2", "mlflow"),
        "--artifacts-destination",
        str(tmp_path / "files"),
        health=f"{address}/health",
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        release(0.7)
        assert champions(own)[NAME]["version"] == 1
        assert (load_champion(own, NAME) / "package.json").is_file()
    assert server.rows("mlflow", "select name, version from model_versions") == [(NAME, 1)]
    assert server.rows(
        "mlflow", "select alias, version from registered_model_aliases order by 1"
    ) == [("challenger", 1), ("champion", 1)]


def test_mlflow_without_a_server_keeps_the_files_in_the_home(
    server: Postgres, tmp_path: Path, home: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.create("registry")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url("psycopg2", "registry"))
    release(0.7)
    assert champions(tmp_path / "another-home")[NAME]["version"] == 1
    assert load_champion(tmp_path / "another-home", NAME).is_relative_to(home / "mlflow")
    assert not (tmp_path / "mlruns").exists()
