"""What is used every day: options, errors and tables, for people, scripts and old terminals."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from tests.conftest import PLAY, PROJECT, declared
from tests.flows.cli.test_cli import (
    FOLIO,
    Folio,
    api,
    assert_one_line,
    command,
    environment,
    folio,
    write,
)
from tests.flows.display.test_terminal import Screen

pytestmark = pytest.mark.slow

__all__ = ["api", "command", "environment", "folio"]


def test_the_version(folio: Folio) -> None:
    assert folio("--version").stdout == f"folio {version('folio')}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "shakespere"), "'shakespere'; did you mean shakespeare?; known: imdb, "),
        (("plan", "imdb", "--only", "tokenise"), "'tokenise'; did you mean tokenize?; known: "),
        (("run", "imdb", "--until", "metric"), "'metric'; did you mean metrics?"),
    ],
)
def test_did_you_mean(command: Folio, arguments: tuple[str, ...], said: str) -> None:
    assert_one_line(command(*arguments), 2, said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("predict", "nobody", "x"),
        ("generate", "nobody"),
        ("serve", "nobody"),
        ("models", "nobody"),
        ("champion", "nobody"),
        ("promote", "nobody", "1"),
        ("rollback", "nobody"),
        ("export", "nobody", "--out", "there"),
        ("verify", "nobody"),
        ("lineage", "nobody@champion"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_model_that_is_not_registered_is_one_fault(
    command: Folio, arguments: tuple[str, ...]
) -> None:
    assert_one_line(command(*arguments), 2, "nobody", "registered")


def test_an_error_is_one_document_for_programs(command: Folio, folio: Folio) -> None:
    asked = folio("plan", "nobody", "--json")
    error = json.loads(asked.stdout)
    assert error == {"error": asked.stderr.strip().removeprefix("folio: "), "code": 2}
    assert command("plan", "nobody").stdout == ""
    assert command("down", "--json").returncode == 2
    assert json.loads(command("down", "--json").stdout)["error"].startswith("folio up is not runn")


def test_what_has_answered_prints_no_second_document(tmp_path: Path, folio: Folio) -> None:
    """The record of a failed run says why."""
    ran = folio("run", write(tmp_path, PLAY.replace("play.txt", "absent.txt")), "--json")
    [record] = json.loads(ran.stdout)
    assert record["state"] == "failed" and "absent.txt" in record["error"]
    assert ran.returncode == 2


def test_a_table_is_separated_by_tabs_unless_a_terminal_shows_it(
    command: Folio, environment: dict[str, str]
) -> None:
    piped = [line.split("\t") for line in command("list").stdout.splitlines()]
    assert piped[0] == ["pipeline", "champion", "metric", "last run", "state", "title"]
    assert {len(row) for row in piped} == {6} and ["words", "The next word after five"] in [
        [row[0], row[5]] for row in piped
    ]
    screen = Screen()
    subprocess.run(
        [FOLIO, "list"], env=environment | {"COLUMNS": "60"}, stdout=screen.descriptor, check=True
    )
    shown = screen.text()
    assert "\t" not in shown and "pipeline  " in shown


@pytest.mark.parametrize(
    "encoding",
    [
        "euc_jp",
        *(pytest.param(one, marks=pytest.mark.long) for one in ("latin-1", "shift_jis", "ascii")),
    ],
)
def test_a_terminal_that_is_not_utf_8_gets_signs_in_place_of_others(
    environment: dict[str, str], tmp_path: Path, encoding: str
) -> None:
    title = "Grüße, 手紙 und €"
    file = write(tmp_path, PLAY.replace("Tiny play", title))
    strange = environment | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    asked = ("add", file), ("list",), ("plan", "mine"), ("generate", "mine", "--start", "é")
    for arguments in asked:
        done = subprocess.run([FOLIO, *arguments], env=strange, capture_output=True)
        assert b"Traceback" not in done.stderr and b"codec" not in done.stderr
        assert done.returncode == (2 if arguments[0] == "generate" else 0), done.stderr
        if arguments == ("list",):
            known = title.encode(encoding, "backslashreplace")
            assert known in done.stdout


def test_gc_advises_what_it_was_asked(command: Folio, tmp_path: Path) -> None:
    home, until = Settings.at(tmp_path / "home"), Selection.of(until="source")
    file = write(tmp_path, PLAY)
    for seed in range(3):
        (tmp_path / "text.txt").write_text(f"text {seed}")
        own = (f"source.path={tmp_path}/text.txt",)
        retrain_plain(file, None, own, settings=home, selection=until, notice=lambda text: None)
    advice = "nothing was deleted; to delete these, run: folio gc --keep 1 --older-than 0 --yes"
    assert command("gc", "--keep", "1", "--older-than", "0").stdout.splitlines()[-1] == advice
    deleted = command("gc", "--keep", "1", "--older-than", "0", "--yes")
    assert deleted.stdout.splitlines()[-1] == "deleted"


def test_two_pipelines_are_not_compared(command: Folio, tmp_path: Path) -> None:
    home, until = Settings.at(tmp_path / "home"), Selection.of(until="source")
    ran = [
        retrain_plain(
            str(declared(tmp_path, name, PLAY)),
            settings=home,
            selection=until,
            notice=lambda text: None,
        )["run"]
        for name in ("one", "two", "two")
    ]
    assert_one_line(command("diff", *ran[:2]), 2, f"{ran[0]} is of one, {ran[1]} of two: ")
    assert command("diff", *ran[1:]).returncode == 0


@pytest.mark.long
def test_a_run_that_registers_nothing(command: Folio, tmp_path: Path) -> None:
    file = write(tmp_path, PLAY)
    ran = command("run", file, "--no-register", "--json")
    [record] = json.loads(ran.stdout)
    assert re.findall(r"^mine · model: epoch (\d+)/2: loss \d", ran.stderr, re.M) == ["1", "2"]
    done = [entry["stage"] for entry in record["stages"]]
    assert done[-2:] == ["metrics", "report"] and "release" not in done
    assert record["metrics"] and record["version"] is None and record["report"]
    assert_one_line(command("models", "mine"), 2, "mine: no version is registered")
    both = command("run", file, "--no-register", "--from", "model")
    assert_one_line(both, 2, "--no-register is for whole runs: leave out --only")


def test_an_interrupt_reaches_what_was_started_in_the_background(
    environment: dict[str, str],
) -> None:
    """A shell without job control lets `folio … &` ignore SIGINT."""
    waiting = subprocess.Popen(
        [FOLIO, "up", "--no-password", "--notify", "-"],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert waiting.stdin is not None
    handled = Path(f"/proc/{waiting.pid}/status")
    while not caught(handled):
        assert waiting.poll() is None, waiting.communicate()
    os.kill(waiting.pid, signal.SIGINT)
    _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 130 and said.splitlines()[-1].startswith("folio: interrupted")


def test_a_suite_in_the_background_hands_no_ignored_interrupt_down() -> None:
    """`make test &` starts pytest so; its tests interrupt what they start."""
    child = "print(next(line for line in open('/proc/self/status') if line.startswith('SigIgn')))"
    suite = (
        "import signal, subprocess, sys; signal.signal(signal.SIGINT, signal.SIG_IGN);"
        "import tests.conftest; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", suite, child], capture_output=True, text=True, cwd=PROJECT
    )
    ignored = int(done.stdout.split()[1], 16)
    assert not ignored & 1 << (signal.SIGINT - 1), done.stderr


def caught(status: Path) -> bool:
    """Whether the process has a handler for SIGINT."""
    lines = dict(line.split(":\t") for line in status.read_text().splitlines() if ":\t" in line)
    return bool(int(lines["SigCgt"], 16) & 1 << (signal.SIGINT - 1))
