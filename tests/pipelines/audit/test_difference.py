"""What changed between two runs: all of it, and nothing else."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit.difference import difference
from pipelines.registry.references import of_run, resolve
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from tests.plain_stages import NAMES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(trained: Settings, tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Settings:
    """The home, and a second run of the reviews with shorter texts and one epoch."""
    folder = tmp_path_factory.mktemp("changed") / "home"
    shutil.copytree(trained.home, folder)
    settings = Settings.at(folder)
    retrain_plain(
        str(reviews),
        None,
        ("tokens.max_tokens=20", "training.epochs=1"),
        settings=settings,
        selection=Selection.of(until="metrics"),
        notice=lambda text: None,
    )
    return settings


def sides(home: Settings) -> list[dict[str, Any]]:
    """Of the reviews, the first run's manifests and the second's."""
    records = [record for record in home.runs if record["pipeline"] == "tiny-reviews"]
    return [of_run(record).manifests(home) for record in sorted(records, key=lambda r: r["run"])]


def rows(found: list[dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {next(iter(row.values())): (row["old"], row["new"]) for row in found}


@pytest.mark.long
def test_two_real_runs(home: Settings) -> None:
    old, new = sides(home)
    found = difference(old, new)
    assert {row["stage"]: row["same"] for row in found["artifacts"]} == {
        "source": "the same",
        "corpus": "the same",
        "tokens": "different",
        "batches": "different",
        "model": "different",
        "metrics": "different",
        "release": "only in the old",
        "report": "different",
    }
    assert rows(found["declaration"]) == {"tokens.max_tokens": (40, 20), "training.epochs": (2, 1)}
    assert found["code"] == found["libraries"] == found["files"] == []
    counts = rows(found["counts"])
    tokens = [side["tokens"]["counts"]["train"]["tokens"] for side in (old, new)]
    assert counts["tokens.train.tokens"] == tuple(tokens) and tokens[0] > tokens[1]
    assert counts["tokens.train.longest"] == (40, 20)
    assert "corpus.splits.train.documents" not in counts  # not changed
    row = next(one for one in found["counts"] if one["count"] == "tokens.train.tokens")
    assert row["delta"] == tokens[1] - tokens[0]
    assert list(rows(found["metrics"])) == ["accuracy", "log_loss", "roc_auc"]
    for row in found["metrics"]:
        assert row["delta"] == row["new"] - row["old"]
        if row["delta"]:
            assert row["better"] == ((row["delta"] < 0) == (row["metric"] == "log_loss"))


def test_a_run_differs_from_itself_in_nothing(home: Settings) -> None:
    old = sides(home)[0]
    found = difference(old, old)
    assert all(row["same"] == "the same" for row in found["artifacts"])
    assert all(row["delta"] == 0 and row["better"] is None for row in found.pop("metrics"))
    assert not any(value for name, value in found.items() if name != "artifacts")


def test_code_libraries_and_bytes(home: Settings) -> None:
    old = sides(home)[0]
    new = copy.deepcopy(old)
    new["tokens"]["key"] = "0" * 64
    new["tokens"]["code"] |= {"pipelines/tokens/stage.py": "f" * 64, "pipelines/more.py": "e" * 64}
    new["batches"]["code"] |= {"pipelines/tokens/stage.py": "f" * 64}
    del new["corpus"]["code"]["pipelines/readers/read.py"]
    new["tokens"]["libraries"] |= {"polars": "9.9"}
    new["source"]["files"]["reviews.csv"]["sha256"] = "d" * 64
    found = difference(old, new)
    before = old["tokens"]["code"]["pipelines/tokens/stage.py"]
    assert [row for row in found["code"] if row["file"] != "pipelines/tokens/stage.py"] == [
        {
            "file": "pipelines/readers/read.py",
            "old": old["corpus"]["code"]["pipelines/readers/read.py"],
            "new": None,
            "stages": ["corpus"],
        },
        {"file": "pipelines/more.py", "old": None, "new": "e" * 64, "stages": ["tokens"]},
    ]
    assert {
        "file": "pipelines/tokens/stage.py",
        "old": before,
        "new": "f" * 64,
        "stages": ["tokens"],
    } in found["code"]
    assert found["libraries"] == [
        {
            "library": "polars",
            "new": "9.9",
            "stages": ["tokens"],
            "old": old["tokens"]["libraries"]["polars"],
        }
    ]
    assert found["files"] == [
        {
            "file": "reviews.csv",
            "new": "d" * 64,
            "old": old["source"]["files"]["reviews.csv"]["sha256"],
        }
    ]
    same = {row["stage"]: row["same"] for row in found["artifacts"]}
    assert same["tokens"] == "the same bytes"  # under another key


def test_what_is_gone_or_never_came_is_said(home: Settings) -> None:
    old, new = sides(home)
    found = difference(old | {"tokens": None}, {"source": new["source"]})
    assert {row["stage"]: row["same"] for row in found["artifacts"]} == {
        "source": "the same",
        **dict.fromkeys(NAMES[1:], "only in the old"),
    }
    assert difference(old | {"tokens": None}, new)["artifacts"][2] == {
        "stage": "tokens",
        "same": "gone",
        "old": None,
        "new": {
            name: new["tokens"][name] for name in ("key", "digest", "git_commit", "run", "created")
        },
    }
    assert all(
        row["new"] is None and row["delta"] is None for row in difference(old, {})["metrics"]
    )


def test_versions_are_compared_as_well(home: Settings) -> None:
    version = resolve("tiny-reviews@1", home).manifests(home)
    assert list(version) == ["source", "corpus", "tokens", "batches", "model", "metrics"]
    found = difference(version, sides(home)[0])
    assert found["artifacts"][-1]["same"] == "only in the new"  # the release itself
