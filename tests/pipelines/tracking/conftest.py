"""A tracking server of MLflow's, for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from flows.services.mlflow_process import command, environment
from tests.conftest import PROJECT
from tests.postgres import free_port


@pytest.fixture(scope="module")
def server(empty_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own, of a home without a password."""
    home, port = tmp_path_factory.mktemp("server") / "home", free_port()
    shutil.copytree(empty_registry, home)
    own = os.environ | {key: value for key, value in environment(home).items() if value}
    address = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command(home, port), env=own, cwd=PROJECT) as process:
        try:
            _await(f"{address}/health")
            yield address
        finally:
            process.terminate()


def _await(address: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if requests.get(address, timeout=1).ok:
                return
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(address)
