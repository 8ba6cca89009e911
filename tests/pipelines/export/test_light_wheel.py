"""The wheel folio-predict answers in an environment that has nothing but what it asks for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from pipelines.export.export import export
from pipelines.export.light import PROGRAM
from pipelines.registry.versions import versions
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.fingerprint import code_of
from pipelines.store.settings import Settings
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow
MOST_BYTES = 300e6


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build writes into its folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pipelines", "light"):
        unwanted = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(PROJECT / name, source / name, ignore=unwanted)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    given = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out)]
    subprocess.run([*pip, *given, str(source / "light")], check=True)
    return next(out.glob("folio_predict-*.whl"))


def environment(folder: Path, wheel: Path, *extras: str) -> tuple[Path, int]:
    """A new environment with the wheel and the libraries that it asks for, linked from this one.
    Returns its folder of programs, and the bytes of the libraries."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (found,) = metadata.distributions(name="folio-predict", path=[str(packages)])
    size = 0
    for library in _needed(found, extras):
        for file in library.files or ():
            path = Path(str(library.locate_file(file)))
            top = packages / file.parts[0]
            if file.parts[0] != ".." and "__pycache__" not in file.parts and path.is_file():
                size += path.stat().st_size
                if not top.exists():
                    top.symlink_to(library.locate_file(file.parts[0]))
    return folder / "bin", size


def _needed(one: metadata.Distribution, extras: tuple[str, ...]) -> Iterator[metadata.Distribution]:
    """What a distribution requires with these extras, and what that requires."""
    pending, seen = [(text, extras) for text in one.requires or ()], set()
    while pending:
        text, given = pending.pop()
        wanted, cases = Requirement(text), [{"extra": extra} for extra in ("", *given)]
        asked = wanted.marker is None or any(map(wanted.marker.evaluate, cases))
        if asked and wanted.name not in seen:
            seen.add(wanted.name)
            library = metadata.distribution(wanted.name)
            pending += [(text, ()) for text in library.requires or ()]
            yield library


def answers(programs: Path, folder: Path, *texts: str, given: str = "") -> list[dict[str, Any]]:
    done = subprocess.run(
        [programs / "folio-predict", folder, *texts], input=given, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return list(map(json.loads, done.stdout.splitlines()))


def test_it_has_what_the_program_reaches(wheel: Path) -> None:
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == set(code_of(PROGRAM))


def test_registered_and_exported_models_answer_as_in_folio(
    wheel: Path, trained: Settings, tmp_path: Path
) -> None:
    programs, size = environment(tmp_path / "venv", wheel, "words")
    assert 100e6 < size < MOST_BYTES
    hidden = subprocess.run([programs / "python", "-c", "import keras"], capture_output=True)
    assert b"No module named 'keras'" in hidden.stderr
    version = next(one for one in versions(trained.home, "tiny-reviews") if one.folder)
    own = Predictor.load(load_champion(trained.home, "tiny-reviews"), NUMPY)
    assert version.folder is not None
    expected = own.predict(["A fine film.", "bad"])
    assert answers(programs, version.folder, "A fine film.", "bad") == expected
    export(trained.home, "tiny-play", None, tmp_path / "play", "light")
    own = Predictor.load(load_champion(trained.home, "tiny-play"), NUMPY)
    expected = own.generate(["a"], 12, 0.8, 3)
    found = answers(programs, tmp_path / "play", "--length", "12", "--seed", "3", given="a\n")
    assert found == expected


def test_what_is_missing_is_said_in_a_line(wheel: Path, trained: Settings, tmp_path: Path) -> None:
    programs, _ = environment(tmp_path / "venv", wheel)
    package = load_champion(trained.home, "tiny-reviews")
    for folder, line in (
        (package, "this model needs polars; install it with: pip install polars"),
        (tmp_path, f"{tmp_path}: not a complete model package"),
    ):
        done = subprocess.run(
            [programs / "folio-predict", folder, "a"], capture_output=True, text=True
        )
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith(line) and done.stderr.count("\n") == 1
