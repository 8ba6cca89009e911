"""Each small file that Folio reads back, damaged in each way: nothing else is hidden by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flows.services.up_state import state_of
from pipelines.errors import UnreadableError, UsageError
from pipelines.files.locks import try_lock
from pipelines.registry.champions import journal_of
from pipelines.registry.versions import versions
from pipelines.run.retraining import retrain_plain
from pipelines.scoring.score_folder import summary_of
from pipelines.scoring.score_order import Order
from pipelines.serving.text_statistics import FILE, read_statistics
from pipelines.source.download import delete_partial, is_complete
from pipelines.store.settings import Settings
from pipelines.upkeep.store_health import leftovers, records
from tests.conftest import PROJECT
from tests.flows.damaged_files import DAMAGES, FILES, Tried, folio, tried

USUAL = ("cut", "other types", "a folder")  # tried in each run of the tests, the others as `long`
AS_OTHERS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]  # root may read anything


@pytest.fixture
def home(trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path / "home"


@pytest.mark.parametrize(
    "damage",
    [
        damage if damage in USUAL else pytest.param(damage, marks=pytest.mark.long)
        for damage in DAMAGES
    ],
)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_hides_no_other(home: Path, file: str, damage: str) -> None:
    assert tried(home, file, DAMAGES[damage]) == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_only_spares_work_is_as_good_as_absent(tmp_path: Path, damage: str) -> None:
    """The note of a download, the summary of scores, what a running `folio up` says of itself."""
    part, order = tmp_path / "play.txt.part", Order(tmp_path / "in.csv", tmp_path / "out.csv")
    (tmp_path / "up").mkdir()
    up, note = tmp_path / "up" / "up.json", tmp_path / "play.txt.part.json"
    part.write_text("some")
    note.write_text(
        json.dumps({"address": "http://x/play.txt", "mark": "m", "version": "v", "complete": True})
    )
    order.summary.write_text(json.dumps({"file_sha256": "0" * 64}))
    up.write_text(json.dumps({"pid": 1, "ready": True, "addresses": {}}))
    with try_lock(tmp_path / "up" / "lock"):
        assert state_of(tmp_path)["pid"] == 1 and summary_of(order)
        assert is_complete(part, "http://x/play.txt")
        for path in (note, order.summary, up):
            DAMAGES[damage](path)
        assert state_of(tmp_path)["pid"] in (None, 1) and isinstance(summary_of(order), dict)
        assert not is_complete(part, "http://x/play.txt")
    delete_partial(part)
    assert not os.path.lexists(note)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_profile_is_named_before_anything_is_scored(
    home: Path, tmp_path: Path, damage: str
) -> None:
    (version,) = versions(home, "tiny-reviews")
    shutil.copyfile(version.folder / "data" / "package" / FILE, tmp_path / FILE)
    whole = read_statistics(tmp_path)
    DAMAGES[damage](tmp_path / FILE)
    try:
        assert np.array_equal(read_statistics(tmp_path).scores, whole.scores)
    except UnreadableError as error:
        assert str(tmp_path / FILE) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"\xff",
        b"",
        b"[" * 100_000,
        b'{"digest": "x"}',
        b'{"model": "x", "version": "1"}',
    ],
)
def test_a_line_that_is_none_hides_no_other_of_the_journal(home: Path, line: bytes) -> None:
    path = home / "mlflow" / "journal.jsonl"
    first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([first, line, second, b""]))
    found = Tried(home)
    found.nothing_may_go()
    found.ask("champion", "tiny-play")
    found.ask("promote", "tiny-play", "1")
    found.ask("verify", codes=(1,), named="journal.jsonl:2")
    assert found.wrong == []
    path.write_bytes(b"\n".join([first, second, b""]))
    found.ask("verify")
    assert found.wrong == []


def test_a_line_names_no_model_that_leads_elsewhere(home: Path) -> None:
    journal = journal_of(home)
    line = {
        key: value
        for key, value in journal.lines()[0].items()
        if key not in ("number", "previous", "digest")
    }
    for model in ("../../x", "a/b", "x' or name != 'y", "", "a\nb"):
        journal.append(journal.sealed(line | {"model": model}))
    assert len(journal.lines()) == 2 and not journal.is_whole()


def test_what_killed_writers_left_goes(home: Path) -> None:
    young, old = (
        home / folder / f".{name}.json.4711"
        for folder, name in (
            ("runs", "20260101-000000-play-aaaa"),
            ("runs/.live", "20260101-000000-play-bbbb"),
        )
    )
    for path in (young, old):
        path.write_text("{")
    os.utime(old, (1, 1))
    settings = Settings.at(home)
    (finding,) = leftovers(settings)
    assert str(old) in finding.text
    items = json.loads(folio(home, "gc", "--json")[1])["items"]
    assert [item["path"] for item in items] == [str(old)]
    assert finding.repair() == "removed 1 leftover of killed runs"
    assert young.exists() and not old.exists()


def test_doctor_names_a_run_dated_ahead(home: Path) -> None:
    settings = Settings.at(home)
    record = next(iter(settings.runs))
    ahead = "20991231-000000-tiny-play-0001"
    settings.runs.save(record | {"run": ahead, "started": "2099-12-31T00:00:00Z"})
    (finding,) = records(settings)
    assert ahead in finding.text and "a clock is or was wrong" in finding.text
    assert settings.runs.get("latest")["run"] == record["run"]
    assert json.loads(folio(home, "runs", "--json")[1])[-1]["run"] == ahead
    assert json.loads(folio(home, "list", "--json")[1])


def test_a_run_is_not_named_by_a_path(home: Path, play: Path) -> None:
    with pytest.raises(UsageError, match="an id is used as a file name"):
        retrain_plain(str(play), settings=Settings.at(home), run="../../elsewhere")
    assert not list(home.parent.glob("elsewhere*"))


def bound() -> list[str]:
    """What a command begins with, so that the modes of files bind it."""
    there = (
        shutil.which("setpriv")
        and subprocess.run([*AS_OTHERS, "true"], capture_output=True, check=False).returncode == 0
    )
    return AS_OTHERS if there else []


def modes_bind(folder: Path) -> bool:
    closed = folder / "closed"
    closed.touch(mode=0)
    return (
        subprocess.run([*bound(), "cat", str(closed)], capture_output=True, check=False).returncode
        != 0
    )


@pytest.mark.long
def test_a_file_that_may_not_be_read_hides_no_other(home: Path, tmp_path: Path) -> None:
    if not modes_bind(tmp_path):
        pytest.skip("runs as root, and setpriv cannot take its rights")
    done = subprocess.run(
        [*bound(), sys.executable, "-m", "tests.flows.damaged_files", str(home)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in FILES}
