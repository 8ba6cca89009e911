"""A run with nothing to do does not import Prefect, and is still on Prefect's page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows.server.idle_runs import deliver, report
from pipelines.store.settings import Settings
from tests.conftest import PROJECT
from tests.prefect_server import one_run, rows

pytestmark = pytest.mark.slow
STATES = "select f.name, f.state_name, s.message from flow_run f " + (
    "join flow_run_state s on s.id = f.state_id where f.name = ?"
)


def run(home: Path, *arguments: str | Path) -> tuple[dict[str, Any], bool]:
    """The record of `folio run`, and whether Prefect was imported."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    code = (
        "import atexit, sys\n"
        "from flows.cli.main import main\n"
        "atexit.register(lambda: print('prefect' in sys.modules, file=sys.stderr))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", *arguments, "--json"],
        cwd=PROJECT,
        env=own | {"FOLIO_HOME": str(home)},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)[0], "True" in done.stderr.splitlines()


def waiting(home: Path) -> list[str]:
    return sorted(path.stem for path in (home / "prefect" / "idle").glob("*.json"))


def test_the_servers_page_has_it_now_or_once_there_is_a_server(
    new_home: Path, trained: Settings, play: Path
) -> None:
    shutil.copytree(trained.home, new_home, dirs_exist_ok=True)
    first, imported = run(new_home, play)
    assert first["state"] == "nothing-to-do" and not imported
    assert Settings.at(new_home).runs.get(first["run"]) == first
    assert first["run"] in (new_home / "dashboard" / "index.html").read_text(encoding="utf-8")
    assert waiting(new_home) == [first["run"]]

    server = one_run(new_home, play, "wait")
    assert server.stdout is not None and server.stdin is not None
    url = server.stdout.readline()
    assert url.startswith("http")
    message = f"every stage was reused, at {first['started']}"
    assert rows(new_home, STATES, first["run"]) == [(first["run"], "Nothing to do", message)]
    second, imported = run(new_home, play)
    assert not imported and not waiting(new_home)
    assert rows(new_home, STATES, second["run"])[0][:2] == (second["run"], "Nothing to do")
    server.stdin.close()
    assert server.wait() == 0


@pytest.mark.long
def test_what_must_run_is_left_to_the_flow(new_home: Path, trained: Settings, play: Path) -> None:
    shutil.copytree(trained.home, new_home, dirs_exist_ok=True)
    record, imported = run(new_home, play, "--only", "report")
    assert imported and record["state"] == "done" and not waiting(new_home)
    assert rows(new_home, STATES, record["run"])[0][1] == "Completed"


def test_a_server_that_does_not_take_it_is_asked_again(
    prefect_home: Path, tmp_path: Path, trained: Settings
) -> None:
    """Reported twice, it is one run."""
    record = next(iter(trained.runs)) | {"sample": True}
    api = os.environ["PREFECT_API_URL"]
    report(tmp_path, record, {}, "http://127.0.0.1:9/api")  # nothing listens there
    report(tmp_path, record, {}, api.replace("/api", "/nowhere"))
    assert waiting(tmp_path) == [record["run"]]
    (tmp_path / "prefect" / "idle" / "0.json").write_text("half a fi")  # keeps no other back
    for _ in range(2):
        report(tmp_path, record, {"train_in": "auto"}, None)
        deliver(tmp_path, api)
        assert not waiting(tmp_path)
    query = "select state_name, tags, parameters from flow_run where name = ?"
    ((state, tags, parameters),) = rows(prefect_home, query, record["run"])
    assert state == "Nothing to do" and json.loads(tags) == ["sample"]
    assert json.loads(parameters)["pipeline"] == record["declared"]
