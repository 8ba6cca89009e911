"""The server of a home: given, shared, adopted, stopped. Each test starts real ones."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from flows.server.lifecycle import prefect_api
from pipelines.errors import FolioError
from tests.flows.one_run import BURST
from tests.prefect_server import database, migrated, one_run, rows, server_processes


def test_a_given_address_is_used_and_no_server_started(
    prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = json.loads((prefect_home / "prefect" / "server.json").read_text())["url"]
    monkeypatch.setenv("PREFECT_API_URL", given)
    with prefect_api(tmp_path) as url:
        assert url == given
    assert list(tmp_path.iterdir()) == []


def test_a_given_address_that_does_not_answer_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with (
        pytest.raises(FolioError, match=r"PREFECT_API_URL=http://127\.0\.0\.1:1/api: .*unset"),
        prefect_api(tmp_path),
    ):
        pass


def test_the_password_of_a_given_address_is_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://me:s3cret@127.0.0.1:1/api?token=s3cret")
    with pytest.raises(FolioError) as raised, prefect_api(tmp_path):
        pass
    assert "s3cret" not in str(raised.value) and "127.0.0.1:1/api" in str(raised.value)


@pytest.mark.long
def test_two_runs_share_a_server_and_the_last_one_stops_it(new_home: Path, play: Path) -> None:
    first, second = one_run(new_home, play, "wait"), one_run(new_home, play, "wait")
    assert first.stdout and second.stdout
    url = first.stdout.readline()
    assert url == second.stdout.readline() and url.startswith("http://127.0.0.1:")
    first.communicate()
    assert len(server_processes(new_home)) == 1
    second.communicate()
    assert first.returncode == second.returncode == 0
    assert server_processes(new_home) == []
    assert rows(new_home, "select state_type from flow_run") == [("COMPLETED",)] * 2
    assert (
        rows(new_home, "select state_type, name from task_run")
        == [("COMPLETED", "tiny-play · source")] * 2
    )


@pytest.mark.long
def test_the_database_is_in_the_home_whatever_signs_its_path_has(
    prefect_home: Path, tmp_path: Path, play: Path
) -> None:
    home = migrated(prefect_home, tmp_path / "all" / "why? #1 50%41 {x} 'a&b'" / "home")
    run = one_run(home, play)
    _, said = run.communicate()
    assert run.returncode == 0, said
    assert rows(home, "select state_type from flow_run") == [("COMPLETED",)]
    assert list((tmp_path / "all").iterdir()) == [home.parent]


@pytest.mark.long
def test_a_server_left_by_a_killed_run_is_adopted_and_stopped(new_home: Path, play: Path) -> None:
    killed = one_run(new_home, play, "die")
    url, _ = killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    (orphan,) = server_processes(new_home)
    (new_home / "prefect" / "server.json").write_bytes(b"")  # found all the same
    heir = one_run(new_home, play, "burst")
    assert heir.communicate()[0] == url
    assert server_processes(new_home) == [], f"{orphan} was to be stopped by its heir"
    assert heir.returncode == 0
    assert rows(
        new_home, "select state_name, count(*) from task_run where name like 'short%' group by 1"
    ) == [("Completed", BURST)], "the server went before all was reported"


@pytest.mark.long
def test_a_server_that_cannot_start_is_an_error_that_names_its_log(
    new_home: Path, play: Path
) -> None:
    database(new_home).write_bytes(b"this is no database" * 100)
    run = one_run(new_home, play)
    _, said = run.communicate()
    assert run.returncode == 1
    assert f"the Prefect server ended while starting; see {new_home}/prefect/server.log" in said
    assert "file is not a database" in (new_home / "prefect" / "server.log").read_text()
    assert server_processes(new_home) == []
