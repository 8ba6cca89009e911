"""Links lead to the training in MLflow, not to a start page; to the servers of this home."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from pipelines.files.home import made
from pipelines.files.locks import locked
from pipelines.files.whole_files import write_json
from pipelines.registry.versions import versions
from pipelines.report.links import ADDRESSES
from pipelines.store.settings import Settings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", None])
def test_a_run_names_the_page_of_its_training(
    trained: Settings, address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(trained.home))
    monkeypatch.delenv("FOLIO_MLFLOW_UI", raising=False)
    if address:
        monkeypatch.setenv("FOLIO_MLFLOW_UI", address)
    shown = json.loads(CliRunner().invoke(app, ["show", "--json"]).stdout)
    (version,) = versions(trained.home, shown["pipeline"])
    assert shown["mlflow"] == (address and f"{address}/#/runs/{version.run}")
    assert ("mlflow   " in CliRunner().invoke(app, ["show"]).stdout) == bool(address)


def test_a_home_whose_servers_run_links_to_them(
    trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(home))
    for variable in ADDRESSES.values():
        monkeypatch.setenv(variable, "")  # what the command sets is undone after the test
        monkeypatch.delenv(variable)
    mlflow = "http://127.0.0.1:5999"
    noted = {"pid": os.getpid(), "ready": True, "addresses": {"mlflow": mlflow}}
    write_json(made(home / "up") / "up.json", noted)
    with locked(home / "up" / "lock"):
        assert CliRunner().invoke(app, ["dashboard"]).exit_code == 0
        shown = json.loads(CliRunner().invoke(app, ["show", "--json"]).stdout)
    page = (home / "dashboard" / "index.html").read_text(encoding="utf-8")
    assert f'href="{mlflow}/#/models/' in page and shown["mlflow"].startswith(mlflow)
