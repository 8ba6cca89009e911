"""A server's process ends itself when nobody uses it, and not before."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SERVER = """
import signal, sys, time
from flows.web.orphaned import end_when_unused
end_when_unused(unused_seconds=0.5)
print("up", flush=True)
time.sleep(60)
"""


def test_it_lives_while_it_is_used_and_ends_soon_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_FOLIO_SERVER_FOLDER", str(tmp_path))
    with (tmp_path / "users.lock").open("a") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            start_new_session=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout and server.stdout.readline() == "up\n"
        time.sleep(1.2)
        assert server.poll() is None
    with (tmp_path / "start.lock").open("a") as start:  # somebody is about to join
        fcntl.flock(start, fcntl.LOCK_EX)
        time.sleep(1.2)
        assert server.poll() is None
    assert server.wait(5) == -15
    server.stdout.close()


def test_it_ends_when_its_home_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "prefect"
    folder.mkdir()
    monkeypatch.setenv("_FOLIO_SERVER_FOLDER", str(folder))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], start_new_session=True, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout and server.stdout.readline() == "up\n"
    folder.rmdir()
    assert server.wait(20) == -15
    server.stdout.close()
