"""A home that can only be read, or not even that: what reads works, the rest says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from flows.cli.main import app
from pipelines.registry.versions import versions
from pipelines.store.settings import Settings
from tests.conftest import PROJECT
from tests.flows.test_full_disk import NAMESPACE, may_mount
from tests.prefect_server import migrated

pytestmark = pytest.mark.slow

READS = [
    ["list"],
    ["plan", "{play}"],
    ["run", "{play}", "{reviews}"],
    ["runs"],
    ["show"],
    ["predict", "tiny-reviews", "A fine film."],
    [
        "predict",
        "tiny-reviews",
        "--file",
        "{samples}/reviews.csv",
        "--column",
        "review",
        "--out",
        "{out}/scored.csv",
    ],
    ["generate", "tiny-play", "--length", "5"],
    ["models"],
    ["models", "tiny-play", "--history"],
    ["champion", "tiny-play"],
    ["verify"],
    ["lineage", "tiny-play@champion"],
    ["lineage", "--of", "play.txt"],
    ["diff", "tiny-play@1", "tiny-play@champion"],
    ["reproduce", "tiny-play@1", "--until", "tokens"],
    ["report"],
    ["gc"],
    ["status"],
    ["check", "{play}"],
    ["schema"],
    ["init", "{samples}/reviews.csv", "--out", "{out}/made.yaml"],
    ["export", "tiny-reviews", "--out", "{out}/exported", "--format", "light"],
]
WRITES = [
    ["run", "{play}", "--set", "tokens.lower=true"],
    ["compare", "{play}", "--grid", "training.epochs=1,3"],
    ["tune", "{play}", "--space", "training.epochs=[1, 3]"],
    ["dashboard"],
    ["promote", "tiny-play", "1"],
    ["rollback", "tiny-play"],
    ["gc", "--yes"],
    ["doctor", "--fix"],
    ["add", "{play}"],
    ["remove", "tiny-play"],
    ["up"],
]
OTHERS = [["doctor"], ["down"]]  # say more than one line, and that nothing is to be stopped
UNENDING = {"serve"}  # answers until it is stopped
LEFT_OUT = "-dac_override,-dac_read_search,-fowner"  # what makes root bound by permissions


@pytest.fixture
def home(trained: Settings, prefect_home: Path, tmp_path: Path) -> Path:
    shutil.copytree(trained.home, tmp_path / "home")
    return migrated(prefect_home, tmp_path / "home")


@pytest.fixture
def names(play: Path, reviews: Path, tmp_path: Path) -> dict[str, Path]:
    return {
        "play": play,
        "reviews": reviews,
        "out": tmp_path,
        "samples": PROJECT / "data" / "samples",
    }


def said(
    home: Path, how: str, commands: list[list[str]], names: dict[str, Path], *before: str
) -> dict[str, Any]:
    words = [[word.format(**names) for word in command] for command in commands]
    given = home.with_name("commands.json")
    given.write_text(json.dumps(words))
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.flows.closed_home", how, str(home), str(given)],
        cwd=PROJECT,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {
        " ".join(command): one
        for command, one in zip(commands, json.loads(done.stdout), strict=True)
    }


def bound() -> list[str]:
    """Before a command: root's rights taken away, so that permissions count."""
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("tests run as root, and there is no setpriv to take its rights away")
    return ["setpriv", f"--bounding-set={LEFT_OUT}", f"--inh-caps={LEFT_OUT}"]


def given_away(home: Path, files: int, folders: int) -> None:
    """Another user's as far as we may give it away, with these permissions."""
    for path in (*home.rglob("*"), home):
        path.chmod(folders if path.is_dir() else files)
        if not os.geteuid():
            os.chown(path, 65534, 65534)


def assert_closed(one: dict[str, Any], line: str) -> None:
    assert (one["code"], one["out"]) == (1, ""), one
    assert one["err"].splitlines()[-1].startswith(f"folio: {line}"), one["err"]


def assert_in_words(one: dict[str, Any]) -> None:
    for raw in ("Errno", "Traceback", "--verbose shows where", "PermissionError"):
        assert raw not in one["err"] + one["out"], one


@pytest.mark.parametrize("command", ["list", "run", "doctor", "up"])
def test_a_folio_home_that_names_a_file_is_refused_by_its_name(
    command: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words = {"run": ["run", "shakespeare"], "doctor": ["doctor", "--json"]}.get(command, [command])
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=os.environ | {"FOLIO_HOME": str(tmp_path / "file")},
        check=False,
    )
    line = f"FOLIO_HOME={tmp_path}/file: {tmp_path}/file is a file, not a folder"
    if command == "doctor":
        (found,) = json.loads(done.stdout)["findings"]
        assert (done.returncode, found["state"], found["text"]) == (1, "problem", line)
        assert found["remedy"] == "use a folder"
    else:
        assert (done.returncode, done.stderr) == (2, f"folio: {line}; use a folder\n")


@pytest.mark.long
@pytest.mark.skipif(not may_mount(), reason="nothing can be mounted here (unshare --mount)")
def test_on_a_home_that_is_mounted_read_only_each_command_works_or_says_so(
    home: Path, names: dict[str, Path]
) -> None:
    told = said(home, "mounted", [*READS, *WRITES, *OTHERS], names, *NAMESPACE)
    assert {words.split()[0] for words in told} == set(get_command(app).commands) - UNENDING
    line = f"FOLIO_HOME={home}: the home is read-only (its file system is mounted read-only)"
    for words, one in told.items():
        assert_in_words(one)
        if words.split(" ") in READS:
            assert one["code"] == 0 and one["out"], one
        elif words.split(" ") in WRITES:
            assert_closed(one, line)
    nothing = told["run {play} {reviews}"]
    assert f"nothing to do, and nothing recorded: {line}" in nothing["err"]
    assert nothing["out"].count("nothing to do") == 2
    assert told["doctor"]["code"] == 1 and line in told["doctor"]["out"]
    assert told["down"]["code"] == 2 and "nothing to stop" in told["down"]["err"]
    assert (names["out"] / "scored.csv").is_file()


@pytest.mark.long
def test_a_home_of_another_user_is_read_as_far_as_it_may_be(
    home: Path, names: dict[str, Path]
) -> None:
    rights, line = bound(), f"FOLIO_HOME={home}: the home is read-only (it belongs to "
    given_away(home, 0o444, 0o555)
    reads = [
        ["list"],
        ["plan", "{play}"],
        ["run", "{play}"],
        ["predict", "tiny-reviews", "Good."],
        ["gc"],
        ["status"],
    ]
    told = said(home, "as-it-is", [*reads, *WRITES[:4], *OTHERS[:1]], names, *rights)
    for words, one in told.items():
        assert_in_words(one)
        if words.split(" ") in reads:
            assert one["code"] == 0 and one["out"], one
        elif words != "doctor":
            assert_closed(one, line)
    assert line in told["doctor"]["out"]


def test_a_home_that_may_not_even_be_read_is_named(home: Path, names: dict[str, Path]) -> None:
    rights = bound()
    given_away(home, 0o600, 0o700)
    if not rights:
        home.chmod(0)
    commands = [
        ["list"],
        ["runs"],
        ["run", "{play}"],
        ["predict", "tiny-reviews", "Good."],
        ["status"],
        ["dashboard"],
    ]
    for one in said(home, "as-it-is", commands, names, *rights).values():
        assert_in_words(one)
        assert_closed(one, f"FOLIO_HOME={home}: the home can be neither read nor written")
    home.chmod(0o700)


@pytest.mark.long
@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.skipif(not may_mount(), reason="nothing can be mounted here (unshare --mount)")
def test_a_home_elsewhere_needs_nothing_of_the_place_where_it_was(
    home: Path, names: dict[str, Path], copied: bool
) -> None:
    """Mounted elsewhere, or copied and mounted; the original place is hidden."""
    if copied:
        shutil.copytree(home, copy := home.with_name("copy"), symlinks=True)
        hidden, home = home, copy
        given_away(hidden, 0, 0)
    commands = [
        ["predict", "tiny-reviews", "A fine film."],
        ["plan", "{play}"],
        ["run", "{play}", "--set", "training.epochs=1", "--set", "registry.floor=9"],
        ["promote", "tiny-play", "2"],
        ["generate", "tiny-play", "--length", "5"],
        ["rollback", "tiny-play"],
        ["gc", "--yes", "--keep", "1"],
        ["predict", "tiny-reviews", "A fine film."],
        ["verify"],
    ]
    told = said(home, "elsewhere", commands, names, *(bound() if copied else ()), *NAMESPACE)
    for one in told.values():
        assert one["code"] == 0 and str(home) + "/" not in one["err"], one
    assert "version 2 is champion" in told["promote tiny-play 2"]["out"]
    assert "version 1" in told["rollback tiny-play"]["out"]
    assert [one.number for one in versions(home, "tiny-play")] == [1, 2]
