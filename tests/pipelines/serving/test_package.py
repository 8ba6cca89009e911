"""A package that is not as it was packed is refused in one line, wherever it comes from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import FolioError
from pipelines.model.backend import load_keras
from pipelines.scoring.score_file import RegisteredModel
from pipelines.serving.package import Package
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

NAME = "tiny-reviews"


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Path:
    return shutil.copytree(trained.home, tmp_path / "home")


@pytest.fixture
def package(trained: Settings, tmp_path: Path) -> Path:
    """A package of an earlier version: without digests, so that each file is looked into."""
    folder = shutil.copytree(load_champion(trained.home, NAME), tmp_path / "package")
    change(
        folder / "package.json",
        lambda found: {key: value for key, value in found.items() if key != "files"},
    )
    return folder


def change(path: Path, how: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(how(json.loads(path.read_bytes()))))


def refused(call: Callable[[], Any], match: str) -> str:
    with pytest.raises(FolioError, match=match) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# As registered


def altered_model(package: Path) -> str:
    data = bytearray((package / "model.keras").read_bytes())
    data[-3000] ^= 1
    (package / "model.keras").write_bytes(data)
    return "model.keras was altered"


def altered_vocabulary(package: Path) -> str:
    path = package / "vocabulary" / "tokens.tsv"
    path.write_text(path.read_text(encoding="utf-8").replace('"the"', '"teh"'), encoding="utf-8")
    return "vocabulary/tokens.tsv was altered"


def added_file(package: Path) -> str:
    (package / "extra.py").touch()
    return "extra.py does not belong to it"


def missing_file(package: Path) -> str:
    (package / "profile.json").unlink()
    return "profile.json is missing"


def altered_code(package: Path) -> str:
    code = package.parent.parent / "code" / "pipelines"
    (code / "model" / "network.py").write_text("import os\n")
    return "its files are not those that were registered: "


ALTER = [altered_model, altered_vocabulary, added_file, missing_file]


@pytest.mark.parametrize("alter", [*ALTER, altered_code], ids=lambda alter: alter.__name__)
def test_a_registered_package_is_the_one_that_was_registered(
    home: Path, alter: Callable[[Path], str]
) -> None:
    package = load_champion(home, NAME)
    assert package.is_relative_to(home)
    what = alter(package)
    said = refused(lambda: load_champion(home, NAME), f"{NAME} version 1: (.*\\()?{what}")
    assert "folio rollback" in said and str(home) in said
    refused(lambda: RegisteredModel.find(home, NAME), what)


def test_predict_refuses_it_in_a_line(home: Path) -> None:
    altered_model(load_champion(home, NAME))
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "predict", NAME, "fine"],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | {"FOLIO_HOME": str(home), "PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1 and "model.keras was altered" in done.stderr


def test_a_version_without_the_tag_loads(home: Path) -> None:
    import sqlite3

    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        database.execute("DELETE FROM model_version_tags WHERE key = 'folio.files'")
    added_file(load_champion(home, NAME).parent)
    assert load_champion(home, NAME).is_dir()


@pytest.mark.parametrize("alter", ALTER, ids=lambda alter: alter.__name__)
def test_a_package_anywhere_knows_its_own_files(
    trained: Settings, tmp_path: Path, alter: Callable[[Path], str]
) -> None:
    package = shutil.copytree(load_champion(trained.home, NAME), tmp_path / "anywhere")
    assert set(json.loads((package / "package.json").read_bytes())["files"]) == {
        "model.keras",
        "model.json",
        "profile.json",
        "vocabulary/tokens.tsv",
        "vocabulary/settings.json",
    }
    refused(lambda: Predictor.load(package), f"not a complete model package .*{alter(package)}")


def test_a_package_before_digests_loads(package: Path) -> None:
    assert Predictor.load(package).predict(["fine"])[0]["label"]


# Whatever stands in a file of it


WRONG = [
    b"",
    b"{",
    b"\xff\xfe\x00\x12",
    b"[]",
    b"null",
    b'"text"',
    b"7",
    b"{}",
    b"[" * 100_000,
    b'{"kind": 7}',
    b'{"model": [], "pipeline": {}, "kind": null, "lower": 1}',
    None,
]


@pytest.mark.parametrize(
    "name",
    [
        "package.json",
        "model.json",
        "vocabulary/settings.json",
        "vocabulary/tokens.tsv",
        "model.keras",
    ],
)
def test_whatever_stands_in_a_file(package: Path, name: str) -> None:
    load_keras("tensorflow")
    before = (package / name).read_bytes()
    for content in [*WRONG, before[: len(before) // 2], before[::-1]]:
        (package / name).unlink(missing_ok=True)
        if content is not None:
            (package / name).write_bytes(content)
        refused(lambda: Predictor.load(package), "not a complete model package")
    (package / name).unlink(missing_ok=True)
    (package / name).mkdir()
    refused(lambda: Predictor.load(package), "not a complete model package")


FIELDS = [
    ("package.json", {"labels": ["one"]}),
    ("package.json", {"labels": "ab"}),
    ("package.json", {"kind": "language_model"}),
    ("package.json", {"backend": "none"}),
    ("package.json", {"tokens": {"max_tokens": -1, "keep": "last"}}),
    ("package.json", {"tokens": None}),
    ("package.json", {"window": "long"}),
    ("package.json", {"calibration": {"temperature": 0}}),
    ("package.json", {"files": {"../model.keras": "0" * 64}}),
    ("package.json", {"files": ["model.keras"]}),
    ("model.json", {"vocabulary_size": 3}),
    ("model.json", {"vocabulary_digest": "0"}),
    ("model.json", {"model": {"kind": "classifier", "units": [10**9]}}),
    ("vocabulary/settings.json", {"kind": "char"}),
    ("vocabulary/settings.json", {"kind": "subword"}),
    ("vocabulary/settings.json", {"words": "many"}),
    ("vocabulary/settings.json", {"pad_id": 10**6}),
    ("vocabulary/settings.json", {"pad_id": 1}),
    ("vocabulary/settings.json", {"begin": "never seen"}),
    ("vocabulary/settings.json", {"other": 1}),
]


@pytest.mark.parametrize(("name", "fields"), FIELDS, ids=lambda value: str(value)[:60])
def test_fields_of_the_wrong_kind(package: Path, name: str, fields: dict[str, Any]) -> None:
    change(package / name, lambda found: found | fields)
    refused(lambda: Predictor.load(package), "not a complete model package")


LINES = {
    "repeated": lambda lines: [
        *lines[:-1],
        lines[-2].replace(lines[-2].split("\t")[0], lines[-1].split("\t")[0], 1),
    ],
    "too few": lambda lines: lines[:-1],
    "too many": lambda lines: [*lines, f'{len(lines) - 1}\t"more"\t1'],
    "two in one": lambda lines: [*lines[:-1], lines[-1].replace('\t"', '\t"a","')],
    "no text": lambda lines: [*lines[:-1], f"{len(lines) - 2}\t7\t1"],
    "half a character": lambda lines: [*lines[:-1], f'{len(lines) - 2}\t"\\ud800"\t1'],
    "no count": lambda lines: [*lines[:-1], f'{len(lines) - 2}\t"a"'],
    "count": lambda lines: [*lines[:-1], f'{len(lines) - 2}\t"a"\t{"9" * 5000}'],
    "order": lambda lines: [lines[0], *lines[:0:-1]],
}


@pytest.mark.parametrize("how", LINES)
def test_a_vocabulary_of_other_lines(package: Path, how: str) -> None:
    path = package / "vocabulary" / "tokens.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    path.write_text("\n".join(LINES[how](lines)) + "\n", encoding="utf-8")
    said = refused(lambda: Package.read(package), "vocabulary")
    if how not in ("too few", "too many"):  # which only the model tells
        refused(lambda: Vocabulary.load(package / "vocabulary"), "vocabulary")
    assert str(package) in said or "its vocabulary" in said
