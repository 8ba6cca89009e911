"""A step is done whole or not at all, and once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import FolioError
from pipelines.steps.here import Here
from pipelines.steps.step import Step, move, run_step, tell
from tests.conftest import PROJECT

HERE = Here()


def note(place: Path, out: Path, text: str, times: str) -> dict[str, Any]:
    """Writes `text`, and a line to the file `times` whenever it is called."""
    with Path(times).open("a") as file:
        file.write("called\n")
    (out / "notes").mkdir()
    (out / "notes" / f"{text}.txt").write_text(text)
    if text == "wrong":
        raise FolioError("no such text")
    tell(1, None, "letters")
    return {"length": len(text)}


def halting(place: Path, out: Path) -> dict[str, Any]:
    (out / "half").write_text("half")
    print("half", flush=True)
    time.sleep(60)
    return {}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def noting(place: Path, text: str) -> Step:
    return Step(text, note, {"text": text, "times": str(place.with_name("times"))})


def calls(place: Path) -> int:
    return len(place.with_name("times").read_text().splitlines())


def silent(*progress: object) -> None:
    pass


def test_a_finished_step_is_not_repeated(place: Path) -> None:
    first, second = (run_step(place, noting(place, "a")) for _ in range(2))
    assert first == second and first.found == {"length": 1} and calls(place) == 1
    assert list(first.files) == ["notes/a.txt"]
    assert sorted(path.name for path in place.rglob("*") if path.is_file()) == ["a.json", "a.txt"]


@pytest.mark.parametrize("name", ["notes/a.txt", "done/a.json"])
@pytest.mark.parametrize("data", [b"", b"b", None])
def test_what_is_damaged_is_done_again(place: Path, name: str, data: bytes | None) -> None:
    run_step(place, noting(place, "a"))
    (place / name).unlink() if data is None else (place / name).write_bytes(data)
    run_step(place, noting(place, "a"))
    assert calls(place) == 2 and (place / "notes/a.txt").read_text() == "a"


def test_a_step_that_fails_leaves_nothing(place: Path) -> None:
    with pytest.raises(FolioError, match="no such text"):
        run_step(place, noting(place, "wrong"))
    assert not list(place.iterdir())


def test_a_killed_step_leaves_nothing_that_counts(place: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.steps.step import Step, run_step;"
        "from tests.pipelines.steps.test_step import halting;"
        "run_step(Path(sys.argv[1]), Step('halt', halting))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(place)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        cwd=PROJECT,
    )
    assert process.stdout is not None and process.stdout.readline() == b"half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (place / "done").exists() and not (place / "half").exists()


def test_results_come_in_the_order_of_the_steps(place: Path) -> None:
    heard: list[tuple[float, float | None, str]] = []
    steps = [noting(place, text) for text in ("ccc", "a", "bb")]
    done = HERE.run(place, steps, lambda *said: heard.append(said), "notes written")
    assert [one.found["length"] for one in done] == [3, 1, 2]
    assert heard == [(number, 3, "notes written") for number in (1, 2, 3)]


def test_a_step_that_is_alone_tells_how_far_it_is(place: Path) -> None:
    heard: list[tuple[float, float | None, str]] = []
    HERE.run(place, [noting(place, "a")], lambda *said: heard.append(said), "notes written")
    assert heard == [(1, None, "letters"), (1, 1, "notes written")]


def test_the_first_error_is_raised(place: Path) -> None:
    with pytest.raises(FolioError, match="no such text"):
        HERE.run(place, [noting(place, text) for text in ("a", "wrong", "b")], silent, "notes")


def test_a_step_of_a_stage_that_has_ended_makes_nothing(place: Path) -> None:
    step = noting(place, "a")
    shutil.rmtree(place)
    with pytest.raises(FileNotFoundError):
        run_step(place, step)
    assert not place.exists()


def test_files_are_moved_with_their_folder(place: Path, tmp_path: Path) -> None:
    done = run_step(place, noting(place, "a"))
    (tmp_path / "out").mkdir()
    move(place, tmp_path / "out", list(done.files))
    assert (tmp_path / "out/notes/a.txt").read_text() == "a"
    assert not (place / "notes/a.txt").exists()
