"""A tiny classifier and a tiny language model, both mixed with counting."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.store.settings import Settings
from tests.conftest import PLAY, REVIEWS, artifact_of, declared, made_once, retrained

REVIEWS_NAME, PLAY_NAME = "mixed-reviews", "mixed-play"
# Trained for long enough that neither the network nor counting is useless.
MIXED_REVIEWS = REVIEWS.replace("epochs: 2", "epochs: 5") + "mix: nb-svm\n"
MIXED_PLAY = (
    PLAY.replace("epochs: 2", "epochs: 12")
    .replace("units: [11]", "units: [40]")
    .replace("evaluation: {{", "evaluation: {{baseline_order: 3, ")
    + "mix: n-gram\n"
)


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("mixed")
    texts = {REVIEWS_NAME: MIXED_REVIEWS, PLAY_NAME: MIXED_PLAY}
    return {name: declared(folder, name, text) for name, text in texts.items()}


@pytest.fixture(scope="session")
def mixed(shared: Path, empty_registry: Path, pipelines: dict[str, Path]) -> Settings:
    """A home in which both have run. Read only."""
    return Settings.at(made_once(shared / "mixed", retrained(empty_registry, *pipelines.values())))


@pytest.fixture
def copied(mixed: Settings, tmp_path: Path) -> Settings:
    return Settings.at(shutil.copytree(mixed.home, tmp_path / "home"))


def metrics_of(home: Settings, name: str) -> dict[str, Any]:
    path = artifact_of(home, name, "metrics").path / "metrics.json"
    return json.loads(path.read_bytes())
