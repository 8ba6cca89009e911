"""Champion, history, promotion, rollback and proof, as a user meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.registry.champions import journal_of
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import versions
from pipelines.store.settings import Settings
from tests.flows.cli.test_cli import Folio, in_process

pytestmark = pytest.mark.slow

NAME = "tiny-reviews"


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Path:
    """A copy of the trained home with a second version of the classifier, the same again."""
    shutil.copytree(trained.home, tmp_path / "home")
    (first,) = versions(tmp_path / "home", NAME)
    with mlflow_at(tmp_path / "home") as (_, client):
        client.create_model_version(NAME, first.location, tags=first.tags)
    return tmp_path / "home"


@pytest.fixture
def folio(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Folio:
    return in_process({"FOLIO_HOME": str(home)}, monkeypatch, capfd)


def one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr + done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("folio: ")]
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in line


def test_promote_and_roll_back(folio: Folio, home: Path) -> None:
    promoted = folio("promote", NAME, "2", "--reason", "a better ear")
    assert promoted.stdout == f"{NAME}: version 2 is champion (before: version 1)\n", (
        promoted.stderr
    )
    page = home / "dashboard" / "index.html"
    assert "champion: version 2, " in page.read_text(encoding="utf-8")
    now = folio("champion", NAME, "--json")
    line = json.loads(now.stdout)
    assert (line["version"], line["action"], line["reason"]) == (2, "promote", "a better ear")
    assert folio("champion", NAME).stdout.startswith(f"{NAME}: version 2, champion since 20")
    rolled = folio("rollback", NAME, "--json")
    assert json.loads(rolled.stdout)["champion"] == 1
    assert "champion: version 1, " in page.read_text(encoding="utf-8")
    answer = json.loads(folio("predict", NAME, "A film to remember.", "--json").stdout)
    assert answer[0]["label"] in ("negative", "positive")
    told = folio("models", NAME, "--history")
    for part in ("a better ear", "rollback", "promote"):
        assert part in told.stdout
    assert "intact: 3 lines" in folio("verify", NAME).stdout


def test_verify_names_what_is_wrong(folio: Folio, home: Path) -> None:
    path = journal_of(home).path
    path.write_text(path.read_text().replace('"verdict": "promote"', '"verdict": "reject"', 1))
    done = folio("verify")
    one_line(done, 1, f"{path}:1: was changed after it was written")
    assert done.stdout == ""
    told = json.loads(folio("verify", "--json").stdout)
    assert not told["whole"] and "was changed" in told["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "parts"),
    [
        (("champion", NAME, "--at", "yesterday"), 2, ("--at yesterday", "2026-11-01")),
        (("champion", NAME, "--at", "2020-01-01"), 1, ("no champion at 2020-01-01 23:59 UTC",)),
        (("champion", "nobody"), 2, ("nobody", "folio run nobody")),
        (("promote", NAME, "9"), 2, ("no version 9", "registered: 1, 2")),
        (("rollback", "nobody"), 2, ("nobody: no model is registered",)),
        (("models", "--history"), 2, ("folio models imdb --history",)),
        (("verify", "nobody"), 2, ("nobody",)),
    ],
)
def test_wrong_usage_is_one_line(
    folio: Folio, arguments: tuple[str, ...], code: int, parts: tuple[str, ...]
) -> None:
    one_line(folio(*arguments), code, *parts)


def test_help_has_examples(folio: Folio) -> None:
    for command in ("champion", "promote", "rollback", "verify", "models"):
        assert f"folio {command} imdb" in folio(command, "--help").stdout
