"""`folio compare` and `folio tune` choose by validation; only a compared best one reads test."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pipelines.registry.mlflow_access import mlflow_at
from pipelines.store.lineage import stored
from pipelines.store.settings import Settings
from pipelines.tracking.runs import PARENT
from tests.conftest import PLAY, declared
from tests.flows.cli.test_cli import FOLIO, Folio, api, assert_one_line, command, environment

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
    assert compared["same_text"]
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


def in_mlflow(home: Path, pipeline: str) -> tuple[Any, list[Any]]:
    """The one parent run, and those under it, oldest first."""
    with mlflow_at(home) as (_, client):
        experiment = client.get_experiment_by_name(pipeline)
        runs = client.search_runs([experiment.experiment_id], order_by=["start_time"])
    (parent,) = [run for run in runs if "folio.search" in run.data.tags]
    nested = [run for run in runs if run.data.tags.get(PARENT) == parent.info.run_id]
    return parent, nested


@pytest.mark.long
def test_seeds_alone_and_a_variant_that_fails(command: Folio, play: Path, tmp_path: Path) -> None:
    """The other variants are compared, and the command says that one failed."""
    one_epoch = ("--set", "training.epochs=1")
    tried = ("--grid", "batches.sequence_length=100000,50")
    done = command("compare", str(play), *tried, *one_epoch, "--json")
    assert done.returncode == 1
    best, failed = json.loads(done.stdout)["rows"]
    assert best["error"] is None and best["test"]["bits_per_character"]["sd"] is None
    assert failed["variant"] == {"batches.sequence_length": 100000} and failed["error"]
    assert failed["validation"] == failed["test"] == {}
    parent, nested = in_mlflow(tmp_path / "home", "tiny-play")
    assert (parent.info.run_name, parent.info.status) == ("compare tiny-play", "FINISHED")
    assert parent.data.tags["folio.choice"] == "sequence_length 50"
    assert [run.info.status for run in nested] == ["FAILED", "FINISHED"]
    value = best["validation"]["bits_per_character"]["mean"]
    assert nested[1].data.metrics["best_validation_bits_per_character"] == value
    assert nested[1].data.params["batches.sequence_length"] == "50"
    (model,) = stored(Settings.at(tmp_path / "home").store, "model")
    assert nested[1].info.run_name == model.manifest["run"]
    assert not [name for run in nested for name in run.data.metrics if "test" in name]

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


TUNED = """
tune:
  training.learning_rate: {{low: 0.001, high: 0.1, log: true}}
  model.units: [[3], [5]]
"""


def finished(folder: Path) -> int:
    """The trials of a search, as its file says."""
    files = list(folder.glob("comparisons/tune-*/tuning.json"))
    return len(json.loads(files[0].read_text())["trials"]) if files else 0


def stopped_by(number: int, environment: dict[str, str], path: str, trials: int) -> str:
    """What a search says that gets this signal in the training after so many trials."""
    home = Path(environment["FOLIO_HOME"])
    process = subprocess.Popen(
        [FOLIO, "tune", path, "--trials", "3"],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if finished(home) == trials and list(home.glob("store/model/.work-*")):
            process.send_signal(number)
            break
        time.sleep(0.05)
    out, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    assert "Traceback" not in out + err
    return err


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_search_that_is_interrupted_and_killed_ends_like_any_other(
    command: Folio, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = str(declared(tmp_path, "mine", PLAY.replace("epochs: 2", "epochs: 1") + TUNED))
    other = environment | {"FOLIO_HOME": str(tmp_path / "interrupted")}
    said = stopped_by(signal.SIGINT, other, path, 0).splitlines()
    assert said[-2] == "tune: 0 trials are kept; to continue, give the same command again"
    assert said[-1].startswith("folio: interrupted")
    stopped_by(signal.SIGKILL, other, path, 1)

    found = json.loads(command("tune", path, "--trials", "3", "--json").stdout)
    done = subprocess.run(
        [FOLIO, "tune", path, "--trials", "3", "--json"], env=other, text=True, capture_output=True
    )
    assert done.returncode == 0 and "trial 1 of 3" not in done.stderr
    again = json.loads(done.stdout)
    for answer in (found, again):
        del answer["folder"], answer["best"]["run"]
        for trial in answer["trials"]:
            assert trial.pop("run")
    assert found == again
    values = [trial["value"] for trial in found["trials"]]
    assert found["best"]["value"] == min(values) and found["split"] == "validation"
    assert [values[number - 1] for number in found["ranked"]] == sorted(values)
    assert measured(Settings.at(tmp_path / "home")) == set()
    for home in ("home", "interrupted"):  # the same parent was continued, the killed trial too
        parent, nested = in_mlflow(tmp_path / home, "mine")
        assert (parent.info.run_name, parent.info.status) == ("tune mine", "FINISHED")
        assert [run.data.metrics["best_validation_bits_per_character"] for run in nested] == values
        assert all(run.info.status == "FINISHED" for run in nested)
        assert f"trial {found['best']['number']}: " in parent.data.tags["folio.choice"]

    shown = command("tune", path, "--trials", "2")  # there are more already: nothing runs
    assert shown.returncode == 0 and "3 trials" in shown.stdout and not shown.stderr
    assert found["yaml"] in shown.stdout and "--profile tuned" in shown.stdout


@pytest.mark.long
def test_settings_that_cannot_be_trained_are_failed_trials(command: Folio, play: Path) -> None:
    """Ends when it is always so: then there is something else that is wrong."""
    space = ("--space", "batches.sequence_length=[100000, 200000]")
    done = command("tune", str(play), *space, "--trials", "9")
    assert_one_line(done, 1, "3 trials failed one after another", "too few for one sequence")
    assert "tune: trial 3 of 9" in done.stderr and "tune: 3 trials are kept" in done.stderr


def test_no_trial_begins_after_the_time(command: Folio, play: Path, tmp_path: Path) -> None:
    done = command("tune", str(play), "--space", "training.epochs=[1, 2]", "--hours", "0")
    assert done.returncode == 1 and "no trial has succeeded" in done.stdout
    assert not (tmp_path / "home" / "store").exists()


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--space", "model.units"), "--space model.units: write key=values"),
        (("--space", "model.units={low: 5, high: 2}"), "--space model.units: low 5 must be below"),
        (("--space", "training.learnin=[1, 2]"), "did you mean learning_rate?"),
        (("--space", "training.learning_rate=[1, 5000]"), "5000 is impossible"),
        (("--space", "seed=[1, 2]"), "only keys of tokens, batches, model, training"),
        (("--trials", "0"), ""),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(
    command: Folio, tmp_path: Path, options: tuple[str, ...], part: str
) -> None:
    done = command("tune", "imdb", *options)
    assert done.returncode == 2 and part in done.stderr and not done.stdout
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").glob("comparisons/*"))
