"""A wheel has all that the commands need, and works where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.conftest import PROJECT

LAYERS = ("pipelines", "tasks", "flows", "folio")
PLACES = """
import json
from flows.deployments import FILE, deployments, shipped
from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec
from pipelines.files.home import home_folder
samples = [load_spec(name, sample=True).source.path for name in shipped_names()]
count = len(deployments(shipped())["deployments"])
print(json.dumps([str(home_folder()), str(FILE), count, samples]))
"""
FIRST_HOUR = """
import json, folio
tiny = {"training.epochs": 1, "model.units": [4], "model.embedding": 4}
record = folio.run("imdb", "quick", offline=True, allow_sample=True, settings=tiny)
model = folio.load("imdb@champion")
label = model.predict(["A film to remember."])[0]["label"]
print(json.dumps([record["state"], record["sample"], model.version, label,
                  len(folio.batches("imdb").train)]))
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build writes into its folder."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*LAYERS, "data/samples"):
        unwanted = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / name, source / name, symlinks=True, ignore=unwanted)
    for name in ("pyproject.toml", "prefect.yaml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
    given = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(out)]
    subprocess.run([*pip, *given, str(source)], check=True)
    return next(out.glob("folio-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with Folio, but without its libraries."""
    folder = tmp_path_factory.mktemp("packages")
    ZipFile(wheel).extractall(folder)
    return folder


def test_a_wheel_has_the_code_the_catalog_the_samples_and_the_deployments(wheel: Path) -> None:
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {
        str(path.relative_to(PROJECT))
        for layer in LAYERS
        for path in (PROJECT / layer).rglob("*.py")
    }
    data = [
        path
        for pattern in (
            "pipelines/catalog/*",
            "pipelines/report/templates/*",
            "folio/data/samples/*",
        )
        for path in PROJECT.glob(pattern)
        if path.is_file()
    ]
    assert len(data) > 15
    assert packed == code | {str(path.relative_to(PROJECT)) for path in data} | {
        "folio/prefect.yaml"
    }
    with ZipFile(wheel) as opened:
        for path in (*data, PROJECT / "prefect.yaml"):
            name = str(path.relative_to(PROJECT)).replace("prefect.yaml", "folio/prefect.yaml")
            assert opened.read(name) == path.read_bytes()


def places(packages: Path, **environment: str) -> list:
    bare = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-P", "-c", PLACES],
        env=bare | {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_home_of_an_installed_folio_is_the_users_data_folder(
    installed: Path, tmp_path: Path
) -> None:
    user = {"HOME": str(tmp_path)}
    home, file, deployments, samples = places(installed, **user)
    assert home == str(tmp_path / ".local" / "share" / "folio")
    assert places(installed, **user, XDG_DATA_HOME="/srv/data")[0] == "/srv/data/folio"
    assert places(installed, **user, XDG_DATA_HOME="relative")[0] == home
    assert places(installed, **user, FOLIO_HOME="/srv/texts")[0] == "/srv/texts"
    assert Path(file).is_relative_to(installed) and Path(file).is_file() and deployments > 10
    assert len(samples) > 5
    for sample in samples:
        assert Path(sample).is_relative_to(installed) and Path(sample).is_file()
    assert not (tmp_path / ".local").exists()


def files_in(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.long
@pytest.mark.timeout(900)  # a busy machine takes minutes to start a server
def test_an_installed_wheel_trains_and_answers_outside_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    venv, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    given = ["--quiet", "--no-deps", "--no-index", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install"]
    subprocess.run([*pip, *given], check=True)
    packages = next(venv.glob("lib/python*/site-packages"))
    libraries = (
        packages / "libraries.pth"
    )  # a .pth file there, such as an editable Folio's, is not read
    libraries.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    before = files_in(packages)

    environment = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    order = {"cwd": elsewhere, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([python, "-c", FIRST_HOUR], **order)
    assert done.returncode == 0, done.stderr
    state, sample, version, label, batches = json.loads(done.stdout)
    assert (state, sample, version) == ("done", True, 1)
    assert label in ("negative", "positive") and batches > 1

    shown = subprocess.run([venv / "bin" / "folio", "show", "--json"], **order)
    record = json.loads(shown.stdout)
    home = tmp_path / "data" / "folio"
    assert (home / "store").is_dir() and os.stat(home).st_mode & 0o077 == 0
    assert {entry["manifest"]["git_commit"] for entry in record["stages"]} == {None}
    assert files_in(packages) == before and not list(elsewhere.iterdir())
