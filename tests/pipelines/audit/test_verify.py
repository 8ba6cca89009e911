"""What `folio verify` finds in a home of real models when something in it is changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.audit.verify import Verified, verify
from pipelines.errors import UsageError
from pipelines.registry.champions import journal_of
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import versions
from pipelines.store.artifacts import silent
from pipelines.store.settings import Settings
from tests.conftest import artifact_of

NAME = "tiny-reviews"


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Path:
    """A copy of the trained home; its versions' files are the original's."""
    shutil.copytree(trained.home, tmp_path / "home", symlinks=True)
    return tmp_path / "home"


def checked(home: Path, name: str | None = None) -> Verified:
    return verify(home, home / "store", silent, name)


def test_a_home_as_it_was_made_is_whole(home: Path) -> None:
    found = checked(home)
    assert found.problems == [] and (found.lines, found.versions) == (2, 2)
    assert found.artifacts == 12
    assert checked(home, NAME).as_json() == {
        "whole": True,
        "lines": 1,
        "versions": 1,
        "artifacts": 6,
        "problems": [],
    }
    with pytest.raises(UsageError, match="nobody: no version is registered"):
        checked(home, "nobody")


def rewrite(home: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = journal_of(home).path
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda lines: [lines[0].replace('"version": 1', '"version": 2'), lines[1]],
            "journal.jsonl:1: was changed after it was written",
        ),
        (lambda lines: lines[1:], "journal.jsonl:1: does not follow the previous line"),
        (
            lambda lines: lines[:1],
            "is version 1, but none in the journal: it was moved outside folio",
        ),
    ],
)
def test_a_tampered_journal_is_found(home: Path, change: Callable, problem: str) -> None:
    rewrite(home, change)
    assert problem in checked(home).problems[0]


def test_a_last_line_that_is_forged_with_its_digest_is_found(home: Path) -> None:
    journal = journal_of(home)
    first, last = journal.lines()
    rewrite(home, lambda lines: lines[:1])
    bare = {
        key: value for key, value in last.items() if key not in ("digest", "number", "previous")
    }
    journal.append(journal.sealed(bare | {"who": "somebody@else"}))
    assert list(journal.problems()) == []
    (problem,) = checked(home).problems
    assert f"its last line on {last['model']} does not match the registry" in problem
    assert checked(home, first["model"]).problems == []


def test_a_champion_that_was_moved_without_folio_is_found(home: Path) -> None:
    with mlflow_at(home) as (_, client):
        client.delete_registered_model_alias(NAME, "champion")
    (problem,) = checked(home).problems
    assert problem == (
        f"{NAME}: the champion is none, but version 1 in the journal: it was moved outside folio"
    )


def test_a_changed_tag_is_found(home: Path) -> None:
    with mlflow_at(home) as (_, client):
        client.set_model_version_tag(NAME, "1", "folio.test.digest", "other")
    (problem,) = checked(home).problems
    assert problem == (
        f"{NAME} version 1: the digest of its test differs from line 1 of the journal"
    )


def test_changed_and_missing_files_of_a_version_are_found(home: Path, tmp_path: Path) -> None:
    (version,) = versions(home, NAME)
    copy = tmp_path / "moved"
    shutil.copytree(version.folder, copy)
    import sqlite3

    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        database.execute(
            "UPDATE model_versions SET storage_location = ? WHERE name = ?", (copy.as_uri(), NAME)
        )
    assert checked(home, NAME).problems == []
    (copy / "code" / "pipelines" / "__pycache__").mkdir(exist_ok=True)
    (copy / "code" / "pipelines" / "__pycache__" / "x.pyc").touch()  # of loading it
    assert checked(home, NAME).problems == []
    settings = copy / "data" / "package" / "package.json"
    settings.write_text(settings.read_text().replace("negative", "positive"))
    assert "its files are not those that were registered" in checked(home, NAME).problems[0]
    shutil.rmtree(copy)
    assert f"its files are missing: {copy}" in checked(home, NAME).problems[0]


def test_damaged_artifacts_of_the_champion_are_found(home: Path, trained: Settings) -> None:
    original = artifact_of(trained, NAME, "tokens")
    copy = home / "store" / "tokens" / original.key
    (copy / "vocabulary" / "tokens.tsv").write_text("nothing")
    (problem,) = checked(home).problems
    assert problem == (
        f"{NAME} version 1: tokens artifact {original.key[:12]}: "
        "vocabulary/tokens.tsv is not what was published"
    )


def test_a_manifest_that_says_another_content_is_found(home: Path, trained: Settings) -> None:
    path = home / "store" / "corpus" / artifact_of(trained, NAME, "corpus").key / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": "0" * 64}))
    problems = checked(home).problems
    assert "manifest.json was changed after it was written" in problems[0]


def test_an_empty_home_is_whole(tmp_path: Path) -> None:
    assert checked(tmp_path) == Verified(0, 0, 0, [])
