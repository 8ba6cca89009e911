"""A disk that is full in the middle of a run: one line, nothing half-written, and on it goes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.store.settings import Settings
from tests.conftest import PROJECT, artifact_of
from tests.flows.cli.test_cli import api, environment
from tests.plain_stages import NAMES

pytestmark = pytest.mark.slow

__all__ = ["api", "environment"]

NAMESPACE = ["unshare", "--map-root-user", "--mount"]  # in which anybody may mount


def may_mount() -> bool:
    trial = [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(trial, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.long
@pytest.mark.skipif(not may_mount(), reason="a small disk cannot be mounted here (unshare --mount)")
def test_a_disk_full_in_the_middle_publishes_nothing_half_and_a_rerun_goes_on(
    environment: dict[str, str], trained: Settings, play: Path, tmp_path: Path
) -> None:
    (tmp_path / "disk").mkdir()
    done = subprocess.run(
        [
            *NAMESPACE,
            sys.executable,
            "-m",
            "tests.flows.full_disk",
            str(tmp_path / "disk"),
            str(play),
        ],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)

    full = told["full"]["out"] + told["full"]["err"]  # where depends on whether a record has room
    full_disk = f"the disk of {tmp_path}/disk/store/batches is full "
    (line,) = (line for line in full.splitlines() if full_disk in line)
    assert told["full"]["code"] == 1 and "Traceback" not in full
    assert f"(mounted at {tmp_path}/disk, " in line and "bytes free now); free space there" in line
    made = [f"store/{stage}/{artifact_of(trained, play.stem, stage).key}" for stage in NAMES[:3]]
    assert {path for path in told["skipped"] if "/." not in path} == set(made)
    assert not any("/.tmp-" in path for path in told["skipped"])
    assert disk(told["doctor"]).endswith("GB free, too little for a run of the larger pipelines")

    (record,) = json.loads(told["again"]["out"])
    assert [entry["action"] for entry in record["stages"]] == ["reuse"] * 3 + ["run"] * 5
    assert told["again"]["code"] == 0 and record["version"] == 1
    assert "is read-only (its file system is mounted read-only)" in disk(told["read-only"])


def disk(doctor: dict[str, str]) -> str:
    """The problem that doctor has with the disk."""
    (text,) = (
        one["text"]
        for one in json.loads(doctor["out"])["findings"]
        if (one["check"], one["state"]) == ("disk", "problem")
    )
    assert doctor["code"] == 1
    return text
