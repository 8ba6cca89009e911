"""`folio add` and `folio remove`, and schedules that nothing would run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import PLAY
from tests.flows.cli.test_cli import Folio, api, assert_one_line, command, environment, write

pytestmark = pytest.mark.slow

__all__ = ["api", "command", "environment"]

SCHEDULED = PLAY + "schedule: {{cron: '0 3 * * *'}}\n"


def test_a_pipeline_of_ones_own_is_added_and_removed(command: Folio, tmp_path: Path) -> None:
    file = write(tmp_path, SCHEDULED)
    added = command("add", file)
    assert added.stdout.splitlines() == [
        f"mine is in the catalog: {file}",
        "schedule   0 3 * * * UTC, profile full: folio up runs it then",
        "next       folio run mine",
    ]
    rows = {row["pipeline"]: row for row in json.loads(command("list", "--json").stdout)}
    assert rows["mine"]["title"] == "Tiny play" and rows["mine"]["problem"] is None
    assert "mine, profile full" in command("plan", "mine").stdout
    Path(file).write_text("source: [\n")
    listed = command("list")
    assert listed.returncode == 0 and "shakespeare" in listed.stdout
    [line] = listed.stderr.splitlines()
    assert line.startswith("mine cannot run: ") and "not valid YAML" in line
    removed = command("remove", "mine")
    assert removed.stdout.splitlines()[1].startswith("its artifacts and 0 registered versions stay")
    assert_one_line(command("plan", "mine"), 2, "unknown pipeline 'mine'")
    assert_one_line(command("remove", "mine"), 2, "mine is not in the home's catalog")


def test_a_schedule_outside_the_catalogs_is_never_ignored(command: Folio, tmp_path: Path) -> None:
    file = write(tmp_path, SCHEDULED)
    notice = f"mine: to run it on its schedule: folio add {file}"
    ran = command("run", file, "--until", "source", "--json")
    assert ran.returncode == 0 and ran.stderr.splitlines().count(notice) == 1
    command("add", file)
    assert notice not in command("run", file, "--until", "source").stderr
    assert notice not in command("run", "mine", "--until", "source").stderr
    assert "folio add" not in command("run", write(tmp_path, PLAY, "b"), "--until", "source").stderr
