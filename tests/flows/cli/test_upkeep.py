"""`folio gc` as a user meets it: a dry run, the deletion, and a home that works on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pipelines.store.lineage import stored
from pipelines.store.settings import Settings
from tests.flows.cli.test_cli import Folio, api, assert_one_line, command, environment, folio
from tests.pipelines.upkeep.test_collect import unneeded

pytestmark = pytest.mark.slow

__all__ = ["api", "command", "environment", "folio"]


@pytest.fixture
def here(trained: Settings, tmp_path: Path) -> Settings:
    return Settings.at(shutil.copytree(trained.home, tmp_path / "home"))


@pytest.mark.long
def test_gc_deletes_what_its_dry_run_says(
    folio: Folio, command: Folio, here: Settings, reviews: Path, play: Path
) -> None:
    paths = {str(path) for path in unneeded(here, "tiny-play")}
    dry = json.loads(folio("gc", "--json").stdout)
    assert dry["dry_run"] and {item["path"] for item in dry["items"]} == paths
    assert dry["bytes"] == sum(item["bytes"] for item in dry["items"]) > 0
    assert set(dry["items"][0]) == {"kind", "name", "path", "bytes", "reason"}
    shown = command("gc").stdout.splitlines()
    assert shown[-1] == "nothing was deleted; to delete these, run: folio gc --yes"
    assert shown[-2].split()[:2] == ["total", "2"]
    assert all(Path(path).is_dir() for path in paths)

    done = json.loads(folio("gc", "--yes", "--json").stdout)
    assert done == dry | {"dry_run": False}
    assert not any(Path(path).exists() for path in paths)
    assert command("gc", "--yes").stdout == "Nothing to delete\n"
    for pipeline in (reviews, play):
        planned = json.loads(command("plan", str(pipeline), "--json").stdout)
        assert {stage["action"] for stage in planned["stages"]} == {"reuse"}
    assert command("predict", "tiny-reviews", "a fine film").returncode == 0


def test_gc_of_nothing_and_of_wrong_options(folio: Folio, command: Folio, tmp_path: Path) -> None:
    assert folio("gc").stdout == "Nothing to delete\n"
    assert json.loads(command("gc", "--yes", "--json").stdout) == {
        "dry_run": False,
        "bytes": 0,
        "items": [],
    }
    assert list((tmp_path / "home").glob("*")) == []
    assert folio("gc", "--keep", "0").returncode == 2


def test_gc_says_what_it_leaves_alone(
    folio: Folio, environment: dict[str, str], tmp_path: Path
) -> None:
    environment |= {
        "FOLIO_STORE": f"file://{tmp_path}/gone/far",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/far.db",
    }
    done = folio("gc", "--json")
    assert json.loads(done.stdout)["items"] == []
    assert "FOLIO_STORE" in done.stderr and "MLFLOW_TRACKING_URI" in done.stderr


@pytest.mark.long
def test_gc_deletes_in_the_shared_store_what_no_home_has(
    command: Folio, here: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Settings.at(here.home, f"file://{tmp_path}/far")
    monkeypatch.setenv("FOLIO_STORE", f"file://{tmp_path}/far")
    paths = unneeded(here, "tiny-play")
    for artifact in stored(shared.store):
        if artifact.stage not in ("release", "report"):
            shared.store.share(artifact)
    there = [tmp_path / "far" / path.parent.name / path.name / "manifest.json" for path in paths]
    manifests = set((tmp_path / "far").glob("*/*/manifest.json"))
    assert there and set(there) <= manifests
    for path in (tmp_path / "far").rglob("*"):
        os.utime(path, times=(1, 1))
    items = json.loads(command("gc", "--json").stdout)["items"]
    listed = [item for item in items if item["kind"] == "shared artifact"]
    assert len(listed) == len(there) and all(item["path"] is None for item in listed)
    assert set((tmp_path / "far").glob("*/*/manifest.json")) == manifests
    done = json.loads(command("gc", "--yes", "--json").stdout)
    assert done["items"] == items
    assert set((tmp_path / "far").glob("*/*/manifest.json")) == manifests - set(there)


def test_gc_without_the_server_that_it_was_told_of(
    folio: Folio, environment: dict[str, str]
) -> None:
    environment["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
    assert_one_line(folio("gc", "--yes"), 1, "PREFECT_API_URL", "does not answer")
