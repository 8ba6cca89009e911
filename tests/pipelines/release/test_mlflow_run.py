"""What MLflow shows of a version: curves, data sets, samples, and a description."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.registry.mlflow_access import mlflow_at
from pipelines.release.model_card import model_card
from pipelines.store.settings import Settings
from pipelines.tracking.report_files import FOLDER
from tests.conftest import artifact_of

pytestmark = pytest.mark.slow

REVIEWS, PLAY = "tiny-reviews", "tiny-play"


@pytest.mark.parametrize("name", [REVIEWS, PLAY])
def test_the_run_has_a_point_for_each_epoch(name: str, trained: Settings) -> None:
    model = artifact_of(trained, name, "model")
    history = pq.read_table(model.path / "history.parquet").to_pylist()
    with mlflow_at(trained.home) as (_, client):
        version = client.get_model_version(name, "1")
        run = client.get_run(version.run_id)
        found = {
            key: client.get_metric_history(run.info.run_id, key)
            for key in ("loss", "validation_loss", "validation_accuracy")
        }
    for key, points in found.items():
        assert [(point.step, point.value) for point in points] == [
            (row["epoch"], pytest.approx(row[key])) for row in history
        ]
        assert len(points) == 2 and points[0].timestamp < points[1].timestamp
    assert run.info.run_name == model.manifest["run"]
    assert run.data.metrics["training_seconds"] == sum(model.counts["epoch_seconds"])
    assert run.data.tags["mlflow.source.name"] == "folio"
    assert run.data.tags["mlflow.source.git.commit"] == model.manifest["git_commit"]


def test_the_run_has_the_splits_and_the_samples(trained: Settings, tmp_path: Path) -> None:
    corpus = artifact_of(trained, PLAY, "corpus")
    with mlflow_at(trained.home) as (_, client):
        run = client.get_run(client.get_model_version(PLAY, "1").run_id)
        path = client.download_artifacts(run.info.run_id, "samples.json", str(tmp_path))
    found = {
        one.tags[0].value: (one.dataset.name, one.dataset.digest, json.loads(one.dataset.profile))
        for one in run.inputs.dataset_inputs
    }
    assert set(found) == {"training", "validation", "testing"}
    for context, split in (("training", "train"), ("testing", "test")):
        counts = corpus.counts["splits"][split]
        assert found[context] == (f"{PLAY} {split}", corpus.digest[:12], counts)
    metrics = json.loads((artifact_of(trained, PLAY, "metrics").path / "metrics.json").read_text())
    assert json.loads(Path(path).read_text()) == metrics["samples"]


@pytest.mark.parametrize("name", [REVIEWS, PLAY])
def test_the_run_has_the_report_and_its_plots(name: str, trained: Settings, tmp_path: Path) -> None:
    report = artifact_of(trained, name, "report")
    with mlflow_at(trained.home) as (_, client):
        run = client.get_model_version(name, "1").run_id
        got = Path(client.download_artifacts(run, FOLDER, str(tmp_path)))
    files = {str(path.relative_to(got)) for path in got.rglob("*") if path.is_file()}
    assert files == report.manifest["files"].keys() and "plots/training.png" in files
    assert all((got / one).read_bytes() == (report.path / one).read_bytes() for one in files)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            REVIEWS,
            [
                "Classifies texts as `negative`, `positive` (lstm classifier of the pipeline",
                "| accuracy | 0.",
                "Compared with counting: ",
                "Documents: train 248, validation 68, test 84; sources: `reviews.csv`",
                "Weakest parts of the test split (accuracy): length `",
                "Of a text it reads its last 40.",
                "`folio predict tiny-reviews`",
            ],
        ),
        (
            PLAY,
            [
                "Predicts the next token of a text (gru language model of the pipeline tiny-play)",
                "| bits per character | ",
                "Weakest parts of the test split (bits per character): ",
                "Characters: train ",
                "char tokens",
                "`folio generate tiny-play`",
            ],
        ),
    ],
)
def test_a_version_is_described(name: str, lines: list[str], trained: Settings) -> None:
    with mlflow_at(trained.home) as (_, client):
        version = client.get_model_version(name, "1")
        model, run = client.get_registered_model(name), client.get_run(version.run_id)
    for line in lines:
        assert line in version.description, version.description
    assert f'mlflow.pyfunc.load_model("models:/{name}@champion")' in version.description
    figure = "accuracy" if name == REVIEWS else "bits per character"
    interval = rf"\| {figure} \| [0-9.]+ \| [0-9.]+ to [0-9.]+ \|"
    assert re.search(interval, version.description), version.description
    assert model.description == run.data.tags["mlflow.note.content"] == version.description


def test_names_are_never_markdown(trained: Settings) -> None:
    above = {
        stage: artifact_of(trained, REVIEWS, stage).manifest
        for stage in ("source", "corpus", "tokens", "model")
    }
    metrics = json.loads(
        (artifact_of(trained, REVIEWS, "metrics").path / "metrics.json").read_text()
    )
    card = model_card(
        REVIEWS, "accuracy", metrics, above, ("[a](http://x) `b`\n# c", "<script>"), True
    )
    assert "`[a](http://x) 'b' # c`, `<script>`" in card
    assert "**Trained on the small sample text: not for use.**" in card
