"""Runs that go on, that ended, and that were killed, each in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from pipelines.store.live_runs import LIVE, dead_runs, forget_dead, live_runs, living
from tests.conftest import PROJECT

HOLD = """
import sys
from pathlib import Path
from pipelines.store.live_runs import living
with living(Path(sys.argv[1]), {"run": sys.argv[2], "pipeline": "play"}):
    print("inside", flush=True)
    sys.stdin.read()
"""


def hold(runs: Path, run: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(runs), run],
        cwd=PROJECT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == "inside\n"
    return process


def test_a_run_lives_as_long_as_its_process_says_so(tmp_path: Path) -> None:
    process = hold(tmp_path, "first")
    (record,) = live_runs(tmp_path)
    assert (record["run"], record["pipeline"], record["pid"]) == ("first", "play", process.pid)
    assert dead_runs(tmp_path) == []
    process.communicate()
    assert live_runs(tmp_path) == dead_runs(tmp_path) == []


def test_a_killed_run_is_dead_until_it_is_buried(tmp_path: Path) -> None:
    killed, other = hold(tmp_path, "killed"), hold(tmp_path, "other")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert [record["run"] for record in dead_runs(tmp_path)] == ["killed"]
    assert [record["run"] for record in live_runs(tmp_path)] == ["other"]
    forget_dead(tmp_path, "killed")
    assert dead_runs(tmp_path) == []
    other.communicate()


def test_a_run_that_fails_is_over(tmp_path: Path) -> None:
    try:
        with living(tmp_path, {"run": "failing"}):
            raise OSError("no")
    except OSError:
        pass
    assert live_runs(tmp_path) == dead_runs(tmp_path) == []


def test_an_entry_cut_short_by_a_power_cut_is_dead(tmp_path: Path) -> None:
    (tmp_path / LIVE).mkdir()
    (tmp_path / LIVE / "half.json").write_text('{"run": "ha')
    assert [record["run"] for record in dead_runs(tmp_path)] == ["half"]
