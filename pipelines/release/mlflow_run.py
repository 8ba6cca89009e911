"""What the MLflow run of a version shows: curves by epoch, data sets, samples, times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pipelines.store.artifacts import Artifact, Inputs
from pipelines.tracking.live import points_of
from pipelines.tracking.runs import MODEL, training_tag

if TYPE_CHECKING:
    import mlflow
    from mlflow.entities import DatasetInput, Metric, Run

MOST_PER_CALL = 1000  # MLflow's limit
CONTEXTS = {"train": "training", "test": "testing"}
CONTEXT = "mlflow.data.context"


def unregistered(client: mlflow.MlflowClient, experiment: str, model: Artifact) -> Run | None:
    """The run in which the model was trained, unless a version has it already."""
    wanted = f"tags.`{MODEL}` = '{training_tag(model.key)}'"
    newest = ["attributes.start_time DESC"]
    return next(iter(client.search_runs([experiment], wanted, order_by=newest)), None)


def fill_run(client: mlflow.MlflowClient, run_id: str, inputs: Inputs, samples: Any) -> None:
    """`inputs` has the model and the corpus; `samples` are generated texts, if any. Epochs that the
    run has already, from its training, are left as they are."""
    known = {point.step for point in client.get_metric_history(run_id, "loss")}
    curves = [point for point in _curves(inputs["model"]) if point.step not in known]
    for first in range(0, len(curves), MOST_PER_CALL):
        client.log_batch(run_id, curves[first : first + MOST_PER_CALL])
    client.log_inputs(run_id, datasets=list(_data_sets(inputs["corpus"])))
    client.log_metric(run_id, "training_seconds", sum(inputs["model"].counts["epoch_seconds"]))
    if commit := inputs["model"].manifest["git_commit"]:  # an installed Folio has none
        client.set_tag(run_id, "mlflow.source.git.commit", commit)
    if samples:
        client.log_dict(run_id, samples, "samples.json")


def _curves(model: Artifact) -> Iterator[Metric]:
    """Each column of the history as a metric, a step an epoch, at the time when that ended."""
    from mlflow.entities import Metric

    history = pq.read_table(model.path / "history.parquet").to_pylist()
    seconds = model.counts["epoch_seconds"]
    ended = datetime.fromisoformat(model.manifest["created"]).timestamp() - sum(seconds)
    for row, took in zip(history, seconds, strict=True):
        ended += took
        yield from (Metric(*point) for point in points_of(row, took, int(1000 * ended)))


def _data_sets(corpus: Artifact) -> Iterator[DatasetInput]:
    """The splits, with the digest of the corpus, and their numbers of documents and characters."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    for split, counts in corpus.counts["splits"].items():
        yield DatasetInput(
            Dataset(
                name=f"{corpus.manifest['pipeline']} {split}",
                digest=corpus.digest[:12],
                source_type="folio",
                source=json.dumps({"corpus": corpus.key, "split": split}),
                profile=json.dumps(counts),
            ),
            [InputTag(CONTEXT, CONTEXTS.get(split, split))],
        )
