"""Prefect's rows of old runs, on real servers."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.services.history import delete_runs, ended_before
from pipelines.errors import FolioError
from tests.flows.cli.test_cli import FOLIO
from tests.prefect_server import database, migrated, one_run, rows, server_processes

OWNED = ("flow_run_state", "task_run", "log", "artifact")


def owners(home: Path) -> list[set[str]]:
    """The names of the flow runs that have rows in each of the tables."""
    return [
        {
            name
            for (name,) in rows(
                home,
                "select distinct coalesce(flow_run.name, '(gone)') "
                f"from {table} left join flow_run on flow_run.id = "
                "flow_run_id",
            )
        }
        for table in OWNED
    ]


def gc(home: Path, *options: str) -> list[dict[str, Any]]:
    """What `folio gc` says, outside this session's Prefect."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [FOLIO, "gc", "--json", "--keep", "1", "--older-than", "0", *options],
        env=own | {"FOLIO_HOME": str(home)},
        text=True,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)["items"]


@pytest.fixture(scope="module")
def two_runs(prefect_home: Path, play: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two runs that have ended, one after the other."""
    home = migrated(prefect_home, tmp_path_factory.mktemp("history") / "home")
    server = one_run(home, play, "wait")
    server.stdout.readline()  # its run is over; its server serves the next one too
    assert one_run(home, play).wait() == 0
    server.communicate()
    assert server.returncode == 0
    return home


@pytest.fixture
def home(two_runs: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two_runs, tmp_path / "home")


@pytest.mark.long
def test_old_runs_go_with_all_that_is_theirs(home: Path) -> None:
    first, second = [name for (name,) in rows(home, "select name from flow_run order by name")]
    expected = {("run record", first), ("flow run", first)}
    assert expected <= {(item["kind"], item["name"]) for item in gc(home)}
    assert owners(home) == [{first, second}] * len(OWNED)

    assert expected <= {(item["kind"], item["name"]) for item in gc(home, "--yes")}
    assert server_processes(home) == []
    assert rows(home, "select name from flow_run") == [(second,)]
    assert owners(home) == [{second}] * len(OWNED)
    assert gc(home, "--yes") == []


@pytest.mark.long
def test_only_what_has_ended_is_old(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    ((begun,),) = rows(home, "select strftime('%s', min(start_time)) from flow_run")
    assert ended_before(home, float(begun)) == []
    assert len(ended_before(home, time.time())) == 2
    with closing(sqlite3.connect(database(home))) as connection:
        connection.execute("update flow_run set state_type = 'RUNNING'")
        connection.commit()
    assert ended_before(home, time.time()) == []


def test_at_a_given_address_only_runs_named_as_ours(
    prefect_home: Path, tmp_path: Path, play: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = json.loads((prefect_home / "prefect" / "server.json").read_text())["url"]
    monkeypatch.setenv("PREFECT_API_URL", given)
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path))
    from prefect import flow

    from flows.retrain import retrain

    @flow(name="retrain")
    def foreign() -> None:
        pass

    foreign()
    name = retrain(str(play), only="source")["run"]
    found = ended_before(tmp_path, time.time())
    named = {run for (run,) in rows(prefect_home, "select name from flow_run")}
    assert name in {run.name for run in found} < named
    ours = [run for run in found if run.name == name]
    assert list(delete_runs(tmp_path, ours)) == ours
    assert name not in {run.name for run in ended_before(tmp_path, time.time())}


def test_no_database_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert ended_before(tmp_path, time.time()) == []
    (tmp_path / "prefect").mkdir()
    database(tmp_path).write_bytes(b"no database" * 100)
    with pytest.raises(FolioError, match=r"prefect\.db: Prefect's database cannot be read"):
        ended_before(tmp_path, time.time())
