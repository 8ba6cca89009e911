"""Each small file that Folio reads back, damaged in each way: nothing else is hidden by it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.execute import Settings
from tests.conftest import PROJECT
from tests.flows.damaged_files import DAMAGES, FILES, tried

AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # root may read anything


@pytest.fixture
def home(trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_hides_no_other(home: Path, file: str, damage: str) -> None:
    assert tried(home, file, DAMAGES[damage]) == []


def bound() -> list[str]:
    """What a command begins with, so that the modes of files bind it."""
    there = shutil.which("setpriv") and subprocess.run(
        [*AS_OTHERS, "true"], capture_output=True, check=False).returncode == 0
    return AS_OTHERS if there else []


def modes_bind(folder: Path) -> bool:
    closed = folder / "closed"
    closed.touch(mode=0)
    return subprocess.run([*bound(), "cat", str(closed)], capture_output=True,
                          check=False).returncode != 0


def test_a_file_that_may_not_be_read_hides_no_other(home: Path, tmp_path: Path) -> None:
    if not modes_bind(tmp_path):
        pytest.skip("runs as root, and setpriv cannot take its rights")
    done = subprocess.run([*bound(), sys.executable, "-m", "tests.flows.damaged_files", str(home)],
                          cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in FILES}
