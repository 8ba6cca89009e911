"""What `folio models` and the end of `folio run` say of counting."""

from __future__ import annotations

import pytest

from flows.display import models, runs
from pipelines.registry.lookup import list_models
from pipelines.store.settings import Settings

pytestmark = pytest.mark.slow


def test_each_model_says_whether_it_beats_counting(
    trained: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = list_models(trained.home)
    models.models(listed)
    shown = capsys.readouterr().out
    assert "tiny-play version 1: behind its 5-gram: " in shown
    assert "tiny-reviews version 1: behind NB-SVM by " in shown
    (play,) = list_models(trained.home, "tiny-play")
    models.models([play])
    assert f"version 1: {play['versions'][0]['baseline']}" in capsys.readouterr().out
    for one in listed:
        one["versions"][0]["baseline"] = None  # registered by an earlier version
    models.models(listed)
    assert "behind" not in capsys.readouterr().out


def test_a_run_ends_with_it(trained: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    for record in trained.runs:
        runs.summary([record])
        assert f"  counting   {record['baseline']}\n" in capsys.readouterr().out
        runs.summary([{name: found for name, found in record.items() if name != "baseline"}])
        assert "counting" not in capsys.readouterr().out
