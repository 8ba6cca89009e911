"""The harness notices what it is there to notice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.store.artifacts import Recipe, Store
from tests.conftest import PROJECT
from torture import __main__ as harness
from torture.bad_calls import is_clear
from torture.damage import HARMS
from torture.homes import Homes, Said
from torture.nights import NIGHT, none_is_missing
from torture.trials import Row, Trials
from torture.wrong_files import FILES
from torture.wrong_values import body, harmed

FAILING = """
import os, random, sys
from pathlib import Path
from torture.power import Recorder
home = Path(sys.argv[1])
recorder = Recorder(home, 5, random.Random(4))
for name in ("fsync", "rename", "replace"):
    setattr(os, name, recorder.watched(name, getattr(os, name)))
def written(path, sync):
    with path.open("w") as file:
        file.write("content")
        file.flush()
        if sync:
            os.fsync(file.fileno())
written(home / "synced", True)
for number in range(40):
    written(home / f"careless-{number}", False)
(home / "sure").mkdir()
os.rename(home / "synced", home / "sure" / "moved")
folder = os.open(home / "sure", os.O_RDONLY)
os.fsync(folder)
os.rename(home / "sure" / "moved", home / "sure" / "again")
os.fsync(folder)
raise SystemExit("the power did not fail")
"""


def test_a_power_failure_takes_what_was_not_synced(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING, tmp_path], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == -9, done.stderr
    assert (tmp_path / "sure" / "again").read_text() == "content"  # synced, renamed, synced
    careless = [path.stat().st_size for path in tmp_path.glob("careless-*")]
    assert len(careless) == 40 and 0 in careless and 7 in careless
    assert not list(tmp_path.rglob("*.before-*"))


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("seed", range(5))
def test_each_harm_is_one(tmp_path: Path, harm: str, seed: int) -> None:
    store = Store(tmp_path / "store")

    def artifact(number: int):
        recipe = Recipe("corpus", number, {"a": [1, {"b": 2}]}, {}, {}, {})
        build = lambda work: (work.out / "a").write_text(f"text {number}") and {"rows": 3}  # noqa: E731
        return store.obtain(recipe, build, manifest={})[0]

    own, other = artifact(1), artifact(2)
    HARMS[harm](own.path / "a", other.path / "a", random.Random(seed))
    found = store.find("corpus", own.key)
    assert found is None or store.damage(found)
    assert store.damage(other) is None


CLOCKED = ("a zip", "a tar")  # contain the time


@pytest.mark.parametrize("what", [name for name in FILES if name not in (*CLOCKED, "a bomb")])
def test_wrong_files_are_the_same_for_a_seed(what: str) -> None:
    _, make = FILES[what]
    assert make(random.Random(1)) == make(random.Random(1))


@pytest.mark.parametrize(
    ("nights", "found"),
    [
        ([3, 1, 2], []),
        ([1, 3], ["not started"]),
        ([1, 2, 2], ["two starts"]),
        ([], ["has started nothing"]),
    ],
)
def test_a_lost_and_a_double_night_are_noticed(
    tmp_path: Path, nights: list[int], found: list[str]
) -> None:
    trials = Trials(Homes(tmp_path), tmp_path, "1", 0)
    now = datetime.now(UTC).replace(microsecond=0)
    times = [(now - night * NIGHT).isoformat() for night in nights]
    none_is_missing(trials, "play", [{"expected_start_time": time} for time in times])
    assert len(trials.broken) == len(found)
    assert all(part in text for part, text in zip(found, trials.broken, strict=True))


def test_wrong_calls_are_the_same_for_a_seed_and_mostly_wrong() -> None:
    right = {"texts": ["a film"], "options": {"top": 3}}
    made = [[body(random.Random(seed), right) for seed in range(200)] for _ in range(2)]
    assert made[0] == made[1]
    assert right == {"texts": ["a film"], "options": {"top": 3}}
    same = sum(content == json.dumps(right).encode() for _, content in made[0])
    assert same < 10


def test_a_declaration_is_harmed_at_any_depth() -> None:
    found = {harmed(random.Random(seed), {"a": 1, "b": {"c": 2, "d": {}}}) for seed in range(200)}
    assert {"value of a", "key of c", "removed of b", "value of d"} <= found


@pytest.mark.parametrize(
    ("status", "answer", "clear"),
    [
        (200, b"{}", True),
        (422, b'{"detail": "texts: missing"}', True),
        (422, b'{"detail": "two\\nlines"}', False),
        (500, b'{"detail": "an error in Folio"}', False),
        (0, b"", False),
    ],
)
def test_an_unclear_answer_is_noticed(status: int, answer: bytes, clear: bool) -> None:
    assert is_clear(status, answer) == clear


def test_a_number_of_trials_is_the_same_on_any_machine(tmp_path: Path) -> None:
    trials = Trials(Homes(tmp_path), tmp_path, "1", seconds=1000, most=3)
    assert [trials.go_on() for _ in range(5)] == [True, True, True, False, False]
    assert not Trials(Homes(tmp_path), tmp_path, "1", seconds=0, most=3).go_on()


@pytest.mark.parametrize(
    ("code", "out", "err", "one"),
    [
        (2, "", "folio: no such file\n", True),
        (1, "play: failed in 3 s\n  failed     too little memory: give more\n", "", True),
        (1, "", "", False),
        (1, "", "folio: a\nfolio: b\n", False),
        (1, "", "Traceback\nfolio: a\n", False),
        (0, "", "folio: a\n", False),
    ],
)
def test_what_is_one_line(code: int, out: str, err: str, one: bool) -> None:
    assert Said(code, out, err, 1.0).is_one_line == one


def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, breaks: bool) -> int:
    def tries(trials: Trials) -> None:
        while trials.go_on():
            trials.count("kills")
            trials.expect(not breaks, "the end is another")

    row = Row("kills", "a run survives", {"kills": 1000}, tries)
    monkeypatch.setitem(sys.modules, "torture.kills", SimpleNamespace(ROW=row))
    monkeypatch.setattr(harness, "Homes", lambda folder: SimpleNamespace(close=lambda: None))
    page = tmp_path / "page.md"
    page.write_text("Before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    given = ["--only", "kills", "--hours", "0.00001", "--nice", "0", "--write", page]
    monkeypatch.setattr(sys, "argv", ["torture", *map(str, given), "--folder", str(tmp_path)])
    return harness.main()


def test_a_row_that_ends_early_is_broken_and_the_figures_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Trials, "count", lambda *_: 1 / 0)
    assert tried(monkeypatch, tmp_path, breaks=False) == 1
    said = capsys.readouterr().out
    assert "BROKEN: kills ended early: ZeroDivisionError" in said and "| a run survives |" in said


@pytest.mark.parametrize("breaks", [False, True])
def test_a_broken_promise_is_counted_and_ends_red(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    breaks: bool,
) -> None:
    assert tried(monkeypatch, tmp_path, breaks) == breaks
    said = capsys.readouterr().out
    assert ("BROKEN: the end is another" in said) == breaks
    row = next(line for line in said.splitlines() if line.startswith("| a run survives |"))
    assert "1,000 kills" in row and row.endswith("| 0 |") != breaks
    page = (tmp_path / "page.md").read_text()
    assert row in page and "old" not in page and page.endswith("-->\nafter\n")
