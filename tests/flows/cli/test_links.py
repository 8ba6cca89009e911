"""`folio show` leads to the training in MLflow, not to a start page."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from pipelines.registry.versions import versions
from pipelines.store.settings import Settings


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
