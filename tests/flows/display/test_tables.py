"""On a narrow terminal ids and times stay whole, and nothing is cut."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.store.settings import Settings
from tests.flows.display.test_terminal import on_screen, seen

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [60, 80, 200])
def test_ids_and_times_are_never_broken(
    trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    home = shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(home))
    monkeypatch.setenv("COLUMNS", str(width))
    code, text = on_screen("runs")
    records = list(trained.runs)
    assert code == 0 and records
    for record in records:
        (line,) = (line for line in seen(text).splitlines() if record["run"] in line)
        assert record["profile"] in line
    for name in {record["pipeline"] for record in records}:
        code, text = on_screen("models", name)
        lines = seen(text).splitlines()
        assert code == 0 and max(map(len, lines)) <= max(width, 80)
        champion = next(line for line in lines if "champion" in line)
        assert "…" not in text and champion


def test_a_row_that_does_not_fit_goes_on_below(
    trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "60")
    record = next(iter(trained.runs))
    lines = seen(on_screen("runs")[1]).splitlines()
    at = next(number for number, line in enumerate(lines) if record["run"] in line)
    figures = " ".join(lines[at + 1 : at + 4])
    assert lines[at + 1].startswith("    ") and all(
        name.replace("_", " ") in figures for name in record["metrics"]
    )
