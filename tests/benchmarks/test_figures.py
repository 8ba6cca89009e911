"""The README's table of full trainings is what docs/figures.json says, which is what runs made."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.figures import FIGURES, README, UNITS, entry, shown_in, table
from pipelines.declaration.load import load_spec
from pipelines.errors import UsageError
from pipelines.store.settings import Settings

KEYS = [
    "pipeline",
    "profile",
    "metric",
    "value",
    "baseline",
    "interval",
    "seconds",
    "cores",
    "commit",
    "command",
]
ENTRIES = json.loads(FIGURES.read_text(encoding="utf-8"))


def test_the_readme_shows_these_figures() -> None:
    assert shown_in(README.read_text(encoding="utf-8")) == table(ENTRIES)


@pytest.mark.parametrize("one", ENTRIES, ids=lambda one: f"{one['pipeline']} {one['profile']}")
def test_each_entry_is_complete_and_its_profile_is_declared(one: dict[str, Any]) -> None:
    assert list(one) == KEYS and one["metric"] in UNITS
    low, high = one["interval"]
    assert low < one["value"] < high and one["baseline"] > 0 and one["seconds"] > 0
    own = ("source.path=mine.txt",) if "FILE" in one["command"] else ()
    load_spec(one["pipeline"], one["profile"], own)
    assert one["command"].startswith(f"folio run {one['pipeline']}")


def test_language_models_are_ahead_of_counting() -> None:
    written = {"shakespeare", "words", "jawiki", "mysterious-island", "speeches"}
    written |= {"imdb-lm", "imdb-lm-labelled"}
    found = {one["pipeline"]: one for one in ENTRIES if one["metric"] != "accuracy"}
    assert found.keys() == written
    assert all(one["value"] < one["baseline"] for one in found.values())


@pytest.mark.slow
def test_an_entry_is_what_the_run_measured(trained: Settings) -> None:
    for record in trained.runs:
        found = entry(record, trained)
        assert list(found) == KEYS
        assert found["value"] == record["metrics"][found["metric"]]
        assert found["command"] == f"folio run {record['pipeline']}"
        assert found["seconds"] >= 0
        with pytest.raises(UsageError, match="not a run on the real text"):
            entry(record | {"sample": True}, trained)
