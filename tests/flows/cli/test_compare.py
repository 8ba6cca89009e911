"""`folio compare` ranks variants by validation; only the best one reads the test split."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from pipelines.store.lineage import stored
from pipelines.store.settings import Settings
from tests.flows.cli.test_cli import Folio, api, assert_one_line, command, environment

__all__ = ["api", "command", "environment"]
pytestmark = pytest.mark.slow


def measured(home: Settings) -> set[str]:
    """The digests of the models that were measured on the test split."""
    return {one.manifest["inputs"]["model"] for one in stored(home.store, "metrics")}


def chosen(home: Settings, row: dict[str, Any]) -> set[str]:
    """The digests of the models of a row."""
    records = [home.runs.get(one["run"]) for one in row["trainings"]]
    keys = [entry["key"] for one in records for entry in one["stages"] if entry["stage"] == "model"]
    return {home.store.open("model", key).digest for key in keys}


@pytest.mark.long
def test_only_the_best_variant_reads_the_test_split(
    command: Folio, reviews: Path, tmp_path: Path
) -> None:
    asked = ("compare", str(reviews), "--grid", "training.epochs=1,2", "--seeds", "2")
    small = ("--set", "model.bidirectional=false")
    done = command(*asked, *small, "--json")
    assert done.returncode == 0, done.stderr
    compared, home = json.loads(done.stdout), Settings.at(tmp_path / "home")
    best, other = compared["rows"]
    assert (compared["split"], compared["measure"], compared["seeds"]) == (
        "validation",
        "accuracy",
        [1, 2],
    )
    assert measured(home) == chosen(home, best) and not measured(home) & chosen(home, other)
    assert other["test"] == {} and len(best["test"]["accuracy"]["values"]) == 2

    figure = best["validation"]["accuracy"]
    assert figure["mean"] >= other["validation"]["accuracy"]["mean"]
    assert figure["mean"] == statistics.fmean(figure["values"])
    assert figure["sd"] == pytest.approx(abs(figure["values"][0] - figure["values"][1]) / 2**0.5)
    for row in compared["rows"]:
        values = row["validation"]["accuracy"]["values"]
        for one, value in zip(row["trainings"], values, strict=True):
            record = home.runs.get(one["run"])
            (entry,) = (entry for entry in record["stages"] if entry["stage"] == "model")
            counts = home.store.open("model", entry["key"]).counts
            assert value == counts["best"]["validation_accuracy"]

    folder = Path(compared.pop("folder"))
    assert json.loads((folder / "comparison.json").read_text()) == compared
    assert (folder / "comparison.png").read_bytes().startswith(b"\x89PNG")

    shown = command(*asked, *small).stdout
    assert "by accuracy on validation; only the best one read the test split" in shown
    assert f"{figure['mean']:.4f} ± {figure['sd']:.4f}" in shown

    all_read = json.loads(command(*asked, *small, "--on", "test", "--json").stdout)
    assert all_read["split"] == "test" and len(measured(home)) == 4
    means = [row["test"]["accuracy"]["mean"] for row in all_read["rows"]]
    assert means == sorted(means, reverse=True)


def test_seeds_alone_and_a_variant_that_fails(command: Folio, play: Path) -> None:
    """The other variants are compared, and the command says that one failed."""
    one_epoch = ("--set", "training.epochs=1")
    tried = ("--grid", "batches.sequence_length=100000,50")
    done = command("compare", str(play), *tried, *one_epoch, "--json")
    assert done.returncode == 1
    best, failed = json.loads(done.stdout)["rows"]
    assert best["error"] is None and best["test"]["bits_per_character"]["sd"] is None
    assert failed["variant"] == {"batches.sequence_length": 100000} and failed["error"]
    assert failed["validation"] == failed["test"] == {}

    alone = command("compare", str(play), *one_epoch, "--seeds", "2", "--json")
    (row,) = json.loads(alone.stdout)["rows"]
    assert row["variant"] == {} and len(row["trainings"]) == 2


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--grid", "model.cell=gru", "--on", "valid"), "--on valid: give validation or test"),
        (("--grid", "evaluation.threshold=0.4,0.5"), "evaluation.threshold changes no figure"),
        (("--grid", "seed=1,2", "--seeds", "3"), "--seeds: the grid has a seed"),
        (("--grid", "model.cell=gru,lstm", "--seeds", "501"), "1,002 trainings: the limit is"),
        (("--grid", "model.cell=gru,gruu"), "model.cell"),
        ((), "give the values to try"),
    ],
)
def test_what_makes_no_sense_is_refused(
    command: Folio, tmp_path: Path, options: tuple[str, ...], part: str
) -> None:
    assert_one_line(command("compare", "imdb", *options), 2, part)
    assert not (tmp_path / "home" / "store").exists()
