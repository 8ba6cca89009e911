"""Promoting and rolling back in a real registry; killed anywhere, alias and journal agree."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines.errors import FolioError
from pipelines.registry.champions import (
    champion_at,
    history,
    journal_of,
    promote,
    record,
    rollback,
    settle,
)
from pipelines.registry.lookup import champions
from pipelines.registry.mlflow_access import mlflow_at
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

NAME = "films"


@pytest.fixture(scope="module")
def three(empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with versions 1, 2 and 3, of which each became champion in its turn."""
    home = shutil.copytree(empty_registry, tmp_path_factory.mktemp("three") / "home")
    with mlflow_at(home) as (_, client):
        client.create_registered_model(NAME)
        for number in (1, 2, 3):
            folder = home / "mlflow" / "artifacts" / str(number)
            folder.mkdir(parents=True)
            client.create_model_version(
                NAME,
                folder.as_uri(),
                tags={"folio.package": f"p{number}", "folio.model.digest": f"m{number}"},
            )
            settle(home, client, NAME)
            record(
                home,
                client,
                NAME,
                action="release",
                version=number,
                champion=number,
                reason=f"better than {number - 1}",
                verdict="promote",
            )
    return home


@pytest.fixture
def home(three: Path, tmp_path: Path) -> Path:
    """A copy, its versions' folders still the original's."""
    shutil.copytree(three, tmp_path / "home")
    return tmp_path / "home"


def champion(home: Path) -> int | None:
    found = champions(home).get(NAME)
    return found["version"] if found else None


def agree(home: Path) -> bool:
    lines = journal_of(home).lines(NAME)
    return lines[-1]["champion"] == champion(home) and list(journal_of(home).problems()) == []


def test_promoting_by_hand_is_written_down(home: Path) -> None:
    line = promote(home, NAME, 1, "the others are rude")
    assert (line["action"], line["version"], line["former"], line["champion"]) == (
        "promote",
        1,
        3,
        1,
    )
    assert line["reason"] == "the others are rude"
    assert line["digests"] == {"package": "p1", "model": "m1"}
    assert champion(home) == 1 and agree(home)
    assert promote(home, NAME, 1, "again") == line  # nothing to do
    assert rollback(home, NAME, "no")["champion"] == 3 and agree(home)


def test_rolling_back_leads_from_champion_to_champion(home: Path) -> None:
    assert rollback(home, NAME, "bad")["champion"] == 2
    assert rollback(home, NAME, "worse")["champion"] == 1
    with pytest.raises(FolioError, match=r"no previous champion.*folio promote films VERSION"):
        rollback(home, NAME, "nowhere")
    assert champion(home) == 1 and agree(home)


def test_a_former_champion_without_its_files_is_passed_over(home: Path) -> None:
    with mlflow_at(home) as (_, client):
        client.delete_model_version(NAME, "2")
    assert rollback(home, NAME, "bad")["champion"] == 1


def test_what_is_not_there_is_one_line(home: Path, tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="there is no version 9; registered: 1, 2, 3"):
        promote(home, NAME, 9, "")
    for act in (
        lambda: promote(tmp_path / "none", "x", 1, ""),
        lambda: rollback(tmp_path / "none", "x", ""),
        lambda: history(tmp_path, "x"),
    ):
        with pytest.raises(FolioError, match="x: no model is registered"):
            act()
    with mlflow_at(home) as (_, client):
        client.create_model_version(NAME, (tmp_path / "gone").as_uri())
    with pytest.raises(FolioError, match=r"version 4: .*gone is missing"):
        promote(home, NAME, 4, "")


def test_a_move_in_mlflows_pages_is_written_down_at_the_next_chance(home: Path) -> None:
    with mlflow_at(home) as (_, client):
        client.set_registered_model_alias(NAME, "champion", "1")
    assert not agree(home)
    assert rollback(home, NAME, "bad")["champion"] == 3
    found = journal_of(home).lines(NAME)[-2]
    assert (found["action"], found["champion"]) == ("found", 1) and agree(home)


def test_who_was_champion_when(home: Path) -> None:
    first, *_ = journal_of(home).lines(NAME)
    now = datetime.now(UTC) + timedelta(seconds=1)
    assert champion_at(home, NAME, now)["champion"] == 3
    assert champion_at(home, NAME, datetime.fromisoformat(first["time"]) - timedelta(1)) is None
    with mlflow_at(home) as (_, client):
        record(
            home,
            client,
            NAME,
            action="release",
            version=9,
            champion=3,
            reason="not better",
            verdict="reject",
        )
    line = champion_at(home, NAME, now + timedelta(seconds=5))
    assert (line["champion"], line["reason"]) == (3, "better than 2")  # how it came to be so


KILLED = """
import os, sys
from pathlib import Path
import mlflow
from pipelines.registry import champions
from pipelines.registry.journal import Journal
def die(*_, **__): os.kill(os.getpid(), 9)
where = {"before the alias": (mlflow.MlflowClient, "set_registered_model_alias"),
         "before the line": (Journal, "append"),
         "before the end": (mlflow.MlflowClient, "set_registered_model_tag")}
owner, name = where[sys.argv[2]]
setattr(owner, name, die)
champions.rollback(Path(sys.argv[1]), "films", "cut off")
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("point", "after"), [("before the alias", 3), ("before the line", 2), ("before the end", 2)]
)
def test_a_rollback_killed_in_between_is_completed(home: Path, point: str, after: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), point],
        capture_output=True,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert champion(home) == after  # the alias alone decides who serves
    assert history(home, NAME)[-1]["champion"] == after and agree(home)
    assert not list((home / "mlflow").glob("*pending*"))
    assert rollback(home, NAME, "again")["champion"] == after - 1 and agree(home)


@pytest.mark.long
def test_the_rollback_that_was_cut_off_is_not_done_twice(home: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", KILLED, str(home), "before the line"],
        capture_output=True,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    assert rollback(home, NAME, "again")["reason"] == "cut off"
    assert champion(home) == 2 and agree(home)
    assert len(journal_of(home).lines(NAME)) == 4


def test_each_registry_has_a_journal_of_its_own(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copyfile(home / "mlflow" / "mlflow.db", tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert journal_of(home).lines() == []
    promote(home, NAME, 1, "here")
    assert [line["action"] for line in journal_of(home).lines()] == ["found", "promote"]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert len(journal_of(home).lines()) == 3 and champion(home) == 3


def test_the_journal_is_plain_lines(home: Path) -> None:
    lines = (home / "mlflow" / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["version"] for line in lines] == [1, 2, 3]


def test_a_line_dated_ahead_is_of_now(home: Path) -> None:
    journal = journal_of(home)
    first, *others = journal.lines()
    journal.path.write_text("")
    bare = {
        key: value
        for key, value in others[-1].items()
        if key not in ("number", "previous", "digest")
    }
    for line in (first, bare | {"time": "2099-01-01T00:00:00Z"}):
        journal.append(
            journal.sealed(
                {
                    key: value
                    for key, value in line.items()
                    if key not in ("number", "previous", "digest")
                }
            )
        )
    assert champion_at(home, NAME)["champion"] == 3
    assert champion_at(home, NAME, datetime.now(UTC) + timedelta(days=1))["champion"] == 1
