"""Lineage, differences, reports and reproductions, as a user asks for them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.display import lineage as display_lineage
from flows.server.lifecycle import prefect_api
from pipelines.audit.difference import difference
from pipelines.registry.references import resolve
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from pipelines.upkeep.collect import collect, garbage, take_stock
from pipelines.upkeep.garbage import Policy
from tests.conftest import PROJECT, artifact_of, rewritten
from tests.flows.cli.test_cli import FOLIO, Folio, assert_one_line, in_process
from tests.pipelines.upkeep.test_dashboard_browser import CHROMIUM

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(trained: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("lineage") / "home"
    shutil.copytree(trained.home, folder)
    return Settings.at(folder)


@pytest.fixture
def folio(
    home: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Folio:
    monkeypatch.chdir(tmp_path)
    return in_process({"FOLIO_HOME": str(home.home)}, monkeypatch, capfd)


def test_lineage_of_a_champion_for_people_and_programs(
    folio: Folio, home: Settings, tmp_path: Path
) -> None:
    done = folio("lineage", "tiny-play@champion", "--svg", "drawn.svg")
    assert done.returncode == 0 and "(champion" in done.stdout.replace("challenger, ", "")
    lines = done.stdout.splitlines()
    tree = [line for line in lines if "──" in line]
    assert [line.split("── ")[1].split()[0] for line in tree] == [
        "metrics",
        "model",
        "batches",
        "tokens",
        "corpus",
        "source",
        "play.txt",
        "batches",
        "tokens",
        "corpus",
    ]
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


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("lineage",), ("--of FILE",)),
        (("lineage", "tiny-play@1", "--of", "play.txt"), ("--of FILE",)),
        (("lineage", "tiny-play@9"), ("tiny-play@9", "no such version")),
        (("lineage", "--of", "nowhere.txt"), ("nowhere.txt", "no such file")),
        (("diff", "tiny-play@1", "nothing"), ("nothing", "folio runs")),
        (("report", "nothing"), ("nothing", "folio runs")),
        (("reproduce", "tiny-play@1", "--until", "tokenz"), ("tokenz", "tokens")),
        (("reproduce", "tiny-play@1", "--into", "HOME"), ("--into",)),
    ],
)
def test_wrong_usage_is_one_line(
    folio: Folio, home: Settings, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    told = [str(home.home) if argument == "HOME" else argument for argument in arguments]
    assert_one_line(folio(*told), 2, *parts)


def test_difference_for_people_and_programs(
    folio: Folio, home: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command compares no two pipelines, though what it shows would hold for any two sides."""
    old, new = (resolve(f"{name}@1", home) for name in ("tiny-play", "tiny-reviews"))
    found = difference(old.manifests(home), new.manifests(home))
    display_lineage.difference({"old": old.name, "new": new.name, **found})
    shown = capfd.readouterr().out
    for part in (
        "model.cell",
        '"gru"',
        '"lstm"',
        "play.txt",
        "reviews.csv",
        "absent",
        "tokens.train.documents",
        "bits per character",
    ):
        assert part in shown, part
    refused = folio("diff", "tiny-play@1", "tiny-reviews@1")
    assert_one_line(refused, 2, "tiny-play version 1 is of tiny-play, tiny-reviews version 1 of ")
    assert "the same" in folio("diff", "tiny-play@1", "tiny-play@1").stdout.splitlines()[-1]
    same = json.loads(folio("diff", "tiny-play@1", "tiny-play@champion", "--json").stdout)
    assert same["files"] == [] and same["artifacts"]


def test_where_the_report_is(folio: Folio, home: Settings) -> None:
    page = artifact_of(home, "tiny-play", "report").path / "report.html"
    assert folio("report", "tiny-play@champion").stdout == f"{page}\n"
    assert json.loads(folio("report", "tiny-play", "--json").stdout) == {
        "report": str(page),
        "pdf": None,
    }


@pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"
)
def test_the_report_is_printed(folio: Folio, tmp_path: Path) -> None:
    assert folio("report", "tiny-play@champion", "--pdf", "play.pdf").stdout == "play.pdf\n"
    assert (tmp_path / "play.pdf").read_bytes().startswith(b"%PDF")


def test_reproducing_says_what_agrees(folio: Folio, home: Settings, tmp_path: Path) -> None:
    done = folio("reproduce", "tiny-play@champion", "--until", "batches", "--into", "again")
    assert done.returncode == 0, done.stderr
    assert "every byte is identical" in done.stdout.splitlines()[-1]
    assert [line for line in done.stderr.splitlines() if line.startswith("tokens: agrees")]
    assert (tmp_path / "again" / "store" / "batches").is_dir()

    def otherwise(manifest: dict[str, Any]) -> None:
        manifest["files"]["vocabulary/tokens.tsv"]["sha256"] = "0" * 64
        manifest["libraries"]["polars"] = "0.1"

    shutil.copytree(home.store.root, tmp_path / "before")
    rewritten(home, "tiny-play", "tokens", otherwise)
    done = folio("reproduce", "tiny-play@champion", "--until", "tokens", "--json")
    shutil.rmtree(home.store.root)
    shutil.move(tmp_path / "before", home.store.root)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["first"] == "tokens" and "polars 0.1 →" in said["why"]
    assert said["stages"][2]["files"] == ["vocabulary/tokens.tsv"]


OTHERWISE = """\
title: The same pipeline a month later, all of it otherwise
source: {path: other.txt}
corpus: {reader: paragraphs, split: shuffled, validation: 0.2, test: 0.2}
tokens: {kind: word, lower: true, min_count: 2}
batches: {batch_size: 16, layout: windows, sequence_length: 5}
model: {kind: language_model, cell: lstm, embedding: 4, units: [3]}
training: {epochs: 1}
evaluation: {start: "some of them", sample_length: 12, temperatures: [0.7]}
registry: {metric: perplexity, floor: 5000}
seed: 9
"""


@pytest.fixture(scope="module")
def later(trained: Settings, prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Folio:
    """A home in which the tiny play has been run since from another text, with all else changed,
    and garbage collected; `folio` in it, on the session's Prefect."""
    tmp_path = tmp_path_factory.mktemp("later")
    shutil.copytree(trained.home, tmp_path / "home")
    settings = Settings.at(tmp_path / "home")
    text = (PROJECT / "data" / "samples" / "play.txt").read_text(encoding="utf-8")
    (tmp_path / "other.txt").write_text(text.swapcase().replace("\n", "\n\n"), encoding="utf-8")
    (tmp_path / "tiny-play.yaml").write_text(f"name: tiny-play\n{OTHERWISE}")
    for number, overrides, until in ((1, ("seed=3",), "batches"), (2, (), None)):
        retrain_plain(
            str(tmp_path / "tiny-play.yaml"),
            overrides=overrides,
            settings=settings,
            run=f"20991231-00000{number}-tiny-play-0000",
            selection=Selection.of(until=until),
            notice=lambda text: None,
        )
    policy, stock = Policy(runs=1, days=0), take_stock(settings)
    collect(garbage(stock, settings, policy), settings, policy, stock.now, pytest.fail)
    with prefect_api(prefect_home) as url:
        environment = {**os.environ, "FOLIO_HOME": str(settings.home), "PREFECT_API_URL": url}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [FOLIO, *arguments],
            cwd=tmp_path,
            env=environment,
            text=True,
            capture_output=True,
            timeout=250,
        )

    return call


@pytest.mark.long
def test_an_old_model_is_evaluated_a_month_later(later: Folio, trained: Settings) -> None:
    """On the artifacts that its manifests name, though newer runs have changed everything."""
    old = next(record for record in trained.runs if record["pipeline"] == "tiny-play")
    done = later("run", "tiny-play.yaml", "--only", "metrics", "--using", old["run"], "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    keys = {entry["stage"]: entry["key"] for entry in record["stages"]}
    for entry in old["stages"][:5]:
        assert keys[entry["stage"]] == entry["key"]
    # The same model on the same test text; only what the new declaration has it write is new.
    assert record["metrics"] == old["metrics"]
    metrics = next(entry for entry in record["stages"] if entry["stage"] == "metrics")
    samples = Path(metrics["path"], "samples.txt").read_text()
    assert "temperature 0.7" in samples and "temperature 0.5" not in samples
    assert record["stages"][-1]["action"] == "run" and record["stale"] == ["release"]


@pytest.mark.long
def test_what_garbage_collection_took_cannot_be_evaluated(later: Folio) -> None:
    """Of the run in between nothing serves and nothing is recent."""
    done = later(
        "run", "tiny-play.yaml", "--only", "metrics", "--using", "20991231-000001-tiny-play-0000"
    )
    assert_one_line(done, 2, "no run named '20991231-000001-tiny-play-0000'", "folio runs")
