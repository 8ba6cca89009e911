"""What the machine refuses is named, whatever library met it: refusals.py has it done."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import FolioError, UsageError
from pipelines.files.machine import one_line, refusal_in, refusal_of
from pipelines.store.settings import Settings
from tests.conftest import PROJECT
from tests.flows.test_full_disk import NAMESPACE, may_mount

mounts = pytest.mark.skipif(not may_mount(), reason="nothing can be mounted here (unshare --mount)")
DISK = {
    "write",
    "copy",
    "wrapped",
    "hdf5",
    "sqlite",
    "sqlalchemy",
    "parquet",
    "temporary",
    "asked for",
}
MEMORY = {"python", "numpy", "pyarrow", "map", "thread", "library", "import"}


def refused(*arguments: str, before: tuple[str, ...] = ()) -> dict[str, str]:
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.pipelines.refusals", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@mounts
def test_a_full_disk_is_named_and_not_what_was_copied_there(tmp_path: Path) -> None:
    told = refused("disk", str(tmp_path), before=tuple(NAMESPACE))
    assert set(told) == DISK
    for name, line in told.items():
        assert line.startswith(f"the disk of {tmp_path} is full (mounted at {tmp_path}, "), name
        assert "bytes free now); free space there (folio gc" in line, name


@mounts
def test_a_disk_that_is_mounted_read_only_is_named(tmp_path: Path) -> None:
    told = refused("closed", str(tmp_path), before=tuple(NAMESPACE))
    assert set(told) == {"write", "folder", "database", "new database"}
    assert all(
        line.startswith(
            f"FOLIO_HOME={tmp_path}: the home is read-only (its file system is mounted read-only)"
        )
        for line in told.values()
    ), told


def test_too_little_memory_is_named() -> None:
    told = refused("memory")
    assert set(told) == MEMORY
    assert all(
        line.startswith("too little memory: the limit of this process is ")
        for line in told.values()
    ), told


def test_too_many_open_files_are_named() -> None:
    told = refused("files")
    assert set(told) == {"open", "process", "database"}
    assert set(told.values()) == {"too many open files: the limit is 32; raise it: ulimit -n 1024"}


def test_too_long_a_name_is_said_and_cut(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        (tmp_path / ("9" * 5000)).stat()
    line = one_line(caught.value)
    assert line.endswith("…: no file can have so long a name; use a shorter one")
    assert len(line) < 200


def test_other_errors_are_left_to_their_own_words(tmp_path: Path) -> None:
    assert refusal_of(UsageError("no space left on device: such a text quotes anything")) is None
    assert refusal_of(FileNotFoundError(2, "No such file or directory", "/nowhere")) is None
    assert (
        refusal_of(PermissionError(13, "Permission denied", str(tmp_path / "not-the-home"))) is None
    )
    assert refusal_in("an ordinary log\nTraceback: ValueError: 5", tmp_path) is None
    assert one_line(ValueError("wrong")) == "ValueError: wrong"
    error = FolioError("the sentence of a stage")
    error.__cause__ = MemoryError()
    assert one_line(error).startswith("too little memory")


def test_what_one_may_not_write_in_the_home_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path))
    told = refusal_of(PermissionError(13, "Permission denied", str(tmp_path / "runs" / "x.json")))
    assert told == (
        f"{tmp_path}/runs/x.json: Permission denied; another user created it: give the "
        f"home {tmp_path} to one user, or share it with a group (FOLIO_SHARED_HOME=group)"
    )


@pytest.mark.parametrize(
    ("limit", "bound", "command", "line"),
    [
        (
            resource.RLIMIT_NOFILE,
            24,
            ("run", "shakespeare"),
            "folio: too many open files: the limit is 24; raise it: ulimit -n 1024",
        ),
        (
            resource.RLIMIT_AS,
            350 << 20,  # under some 310, NumPy's OpenBLAS ends the process itself
            ("verify",),  # where it imports MLflow
            "too little memory: the limit of this process is 367 MB; raise it: ulimit -v unlimited",
        ),
        (
            resource.RLIMIT_AS,
            2 << 30,
            ("generate", "tiny-play", "--length", "3000"),  # before TensorFlow aborts
            "folio: too little memory: the limit of this process is 2,147 MB; raise it: "
            "ulimit -v unlimited",
        ),
    ],
)
def test_a_command_ends_with_the_limit_that_it_met(
    limit: int, bound: int, command: tuple[str, ...], line: str, trained: Settings, tmp_path: Path
) -> None:
    shutil.copytree(trained.home, tmp_path / "home")
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *command],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=own | {"FOLIO_HOME": str(tmp_path / "home")},
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(limit, (bound, bound)),
    )
    assert done.returncode == 1 and line in done.stderr.splitlines()[-1], done.stderr
