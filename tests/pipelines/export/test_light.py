"""An export with --format light answers with the libraries of its requirements alone."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.export.export import export
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.pipelines.mix.mixed_home import PLAY_NAME, REVIEWS_NAME, mixed, pipelines

__all__ = ["mixed", "pipelines"]  # fixtures
pytestmark = pytest.mark.slow
ALONE = """
import json, runpy, sys


class Hidden:
    names = set(json.loads(sys.argv.pop(1)))

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(name, name=name)


sys.meta_path.insert(0, Hidden())
sys.argv[0] = sys.argv.pop(1)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(folder: Path, *arguments: str, given: str = "") -> list[dict[str, Any]]:
    """The answers, where only the requirements are installed."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, json.dumps(others(folder)), str(folder), *arguments],
        input=given,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return list(map(json.loads, done.stdout.splitlines()))


def others(folder: Path) -> list[str]:
    """The installed modules that are neither of the requirements nor of what these require."""
    pending, seen = (folder / "requirements.txt").read_text().split(), set()
    while pending:
        wanted = Requirement(pending.pop())
        name = canonicalize_name(wanted.name)
        if name not in seen and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            seen.add(name)
            pending += metadata.requires(name) or ()
    return [
        module
        for module, owners in metadata.packages_distributions().items()
        if module != "pipelines" and not seen & set(map(canonicalize_name, owners))
    ]


def test_it_answers_as_folio_does(tmp_path: Path, trained: Settings) -> None:
    asked = ["A fine film.", "bad"]
    export(trained.home, "tiny-reviews", None, tmp_path / "reviews", "light")
    own = Predictor.load(load_champion(trained.home, "tiny-reviews"), NUMPY)
    assert run(tmp_path / "reviews", *asked) == own.predict(asked)
    assert run(tmp_path / "reviews", given="\n".join(asked)) == own.predict(asked)

    export(trained.home, "tiny-play", None, tmp_path / "play", "light")
    own = Predictor.load(load_champion(trained.home, "tiny-play"), NUMPY)
    found = run(tmp_path / "play", "--length", "12", "--seed", "3", "a")
    assert found == own.generate(["a"], 12, 0.8, 3)


@pytest.mark.parametrize("name", [REVIEWS_NAME, pytest.param(PLAY_NAME, marks=pytest.mark.long)])
def test_a_mixed_model_counts(tmp_path: Path, mixed: Settings, name: str) -> None:
    export(mixed.home, name, None, tmp_path / "out", "light")
    own = Predictor.load(load_champion(mixed.home, name), NUMPY)
    found = run(tmp_path / "out", "a")
    expected = own.predict(["a"]) if name == REVIEWS_NAME else own.generate(["a"], 100, 0.8, 1)
    assert found == expected
