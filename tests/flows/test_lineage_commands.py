"""Lineage, differences, reports and reproductions, as a user asks for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.execute import Settings
from tests.conftest import artifact_of
from tests.flows.test_cli import FOLIO, assert_one_line

Folio = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def home(trained: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("lineage") / "home"
    shutil.copytree(trained.home, folder)
    return Settings.at(folder)


@pytest.fixture
def folio(home: Settings, tmp_path: Path) -> Folio:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([FOLIO, *arguments], cwd=tmp_path, text=True, capture_output=True,
                              env={**os.environ, "FOLIO_HOME": str(home.home)}, timeout=250)
    return call


def test_lineage_of_a_champion_for_people_and_programs(folio: Folio, home: Settings,
                                                       tmp_path: Path) -> None:
    done = folio("lineage", "tiny-play@champion", "--svg", "drawn.svg")
    assert done.returncode == 0 and "(champion" in done.stdout.replace("challenger, ", "")
    lines = done.stdout.splitlines()
    tree = [line for line in lines if "──" in line]
    assert [line.split("── ")[1].split()[0] for line in tree] == [
        "metrics", "model", "batches", "tokens", "corpus", "source", "play.txt", "batches",
        "tokens", "corpus"]
    model = artifact_of(home, "tiny-play", "model")
    assert model.key[:12] in tree[1] and model.digest[:12] in tree[1]
    assert "training.epochs 2" in done.stdout
    assert (tmp_path / "drawn.svg").read_text().startswith("<svg xmlns=")
    said = json.loads(folio("lineage", "tiny-play@champion", "--json").stdout)
    assert [one["stage"] for one in said["artifacts"]][-1] == "source"


def test_lineage_of_a_file(folio: Folio) -> None:
    done = folio("lineage", "--of", "play.txt")
    assert done.returncode == 0
    assert "tiny-play version 1 (challenger, champion)" in done.stdout
    assert "tiny-reviews" not in done.stdout
    assert json.loads(folio("lineage", "--of", "play.txt", "--json").stdout)["versions"]


@pytest.mark.parametrize(("arguments", "parts"), [
    (("lineage",), ("--of FILE",)),
    (("lineage", "tiny-play@1", "--of", "play.txt"), ("--of FILE",)),
    (("lineage", "tiny-play@9"), ("tiny-play@9", "no such version")),
    (("lineage", "--of", "nowhere.txt"), ("nowhere.txt", "no such file")),
    (("diff", "tiny-play@1", "nothing"), ("nothing", "folio runs")),
    (("report", "nothing"), ("nothing", "folio runs")),
    (("reproduce", "tiny-play@1", "--until", "tokenz"), ("tokenz", "tokens")),
    (("reproduce", "tiny-play@1", "--into", "HOME"), ("--into",)),
])
def test_wrong_usage_is_one_line(folio: Folio, home: Settings, arguments: tuple[str, ...],
                                 parts: tuple[str, ...]) -> None:
    told = [str(home.home) if argument == "HOME" else argument for argument in arguments]
    assert_one_line(folio(*told), 2, *parts)


def test_difference_for_people_and_programs(folio: Folio) -> None:
    done = folio("diff", "tiny-play@1", "tiny-reviews@1")
    assert done.returncode == 0
    for part in ("model.cell", "'gru'", "'lstm'", "play.txt", "reviews.csv", "absent",
                 "tokens.train.documents", "bits per character"):
        assert part in done.stdout, part
    assert "the same" in folio("diff", "tiny-play@1", "tiny-play@1").stdout.splitlines()[-1]
    assert json.loads(folio("diff", "tiny-play@1", "tiny-reviews@1", "--json").stdout)["files"]


def test_where_the_report_is(folio: Folio, home: Settings) -> None:
    page = artifact_of(home, "tiny-play", "metrics").path / "report.html"
    assert folio("report", "tiny-play@champion").stdout == f"{page}\n"
    assert json.loads(folio("report", "tiny-play", "--json").stdout) == {
        "report": str(page), "pdf": None}


def test_reproducing_says_what_agrees(folio: Folio, home: Settings, tmp_path: Path) -> None:
    done = folio("reproduce", "tiny-play@champion", "--until", "batches", "--into", "again")
    assert done.returncode == 0, done.stderr
    assert "every byte the same" in done.stdout.splitlines()[-1]
    assert [line for line in done.stderr.splitlines() if line.startswith("tokens: agrees")]
    assert (tmp_path / "again" / "store" / "batches").is_dir()

    path = artifact_of(home, "tiny-play", "tokens").path / "manifest.json"
    before = path.read_text()
    manifest = json.loads(before)
    manifest["files"]["vocabulary/tokens.tsv"]["sha256"] = "0" * 64
    manifest["libraries"]["polars"] = "0.1"
    path.write_text(json.dumps(manifest))
    done = folio("reproduce", "tiny-play@champion", "--until", "tokens", "--json")
    path.write_text(before)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["first"] == "tokens" and "polars 0.1 →" in said["why"]
    assert said["stages"][2]["files"] == ["vocabulary/tokens.tsv"]
