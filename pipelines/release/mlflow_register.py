"""Makes a folder an MLflow model and a registered version. Called within `mlflow_at`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.registry.lookup import PACKAGE
from pipelines.registry.versions import bundled
from pipelines.release.mlflow_run import fill_run, unregistered
from pipelines.tracking.runs import MODEL, VERSION, artifact_location

if TYPE_CHECKING:
    import mlflow

    from pipelines.release.candidate import Candidate

READ = {  # by people
    f"folio.{key}" for key in ("verdict", "reason", "baseline", "mix", "profile", "seed", "sample")
}
LOADER = "pipelines.serving.mlflow_model"


def register(
    mlflow: Any, client: mlflow.MlflowClient, home: Path, new: Candidate, tags: Mapping[str, str]
) -> int:
    """Log the candidate's folder as one MLflow model and register it. Returns the version."""
    name, folder = new.name, new.folder
    settings = json.loads((folder / PACKAGE / "package.json").read_bytes())
    experiment = _experiment(client, home, name)
    trained = unregistered(client, experiment, new.inputs["model"])
    with mlflow.start_run(
        trained and trained.info.run_id,
        experiment_id=None if trained else experiment,
        run_name=new.run,
        description=new.card,
    ) as run:
        mlflow.set_tags(
            {f"folio.{key}": tags[f"folio.{key}"] for key in READ if f"folio.{key}" in tags}
        )
        mlflow.log_params(
            {key: value for key, value in new.parameters.items() if key not in run.data.params}
        )
        mlflow.log_metrics(
            {
                key: value
                for key, value in new.figures.items()
                if value is not None and math.isfinite(value)
            }
        )
        fill_run(client, run.info.run_id, new.inputs, new.metrics.get("samples"))
        logged = mlflow.pyfunc.log_model(
            name=PACKAGE,
            loader_module=LOADER,
            data_path=str(folder / PACKAGE),
            code_paths=[str(folder / "code" / "pipelines")],
            pip_requirements=new.requirements,
            signature=_signature(settings["kind"], settings["labels"]),
        )
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name, description=new.card)
    version = client.create_model_version(
        name,
        logged.model_uri,
        run.info.run_id,
        tags=bundled(tags),
        description=new.card,
        model_id=logged.model_id,
        await_creation_for=30,
    )
    client.set_tag(run.info.run_id, VERSION, version.version)
    if trained:
        client.delete_tag(run.info.run_id, MODEL)
        if trained.info.end_time:  # its duration stays that of the training
            client.set_terminated(run.info.run_id, end_time=trained.info.end_time)
    return int(version.version)


def _experiment(client: mlflow.MlflowClient, home: Path, name: str) -> str:
    """The pipeline's experiment; its files are in this home unless a server stores them."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=artifact_location(home, name))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _signature(kind: str, labels: list[str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import (
        ColSpec,
        DataType,
        Map,
        ParamSchema,
        ParamSpec,
        Schema,
        TensorSpec,
    )

    from pipelines.serving.mlflow_model import PARAMETERS, columns

    types: dict[type, Any] = {
        str: DataType.string,
        float: DataType.double,
        int: DataType.long,
        dict: Map(DataType.double),
    }
    given = [ParamSpec(name, types[type(value)], value) for name, value in PARAMETERS]
    answers: list[ColSpec | TensorSpec] = [
        ColSpec(types[of], name, required=False) for name, of in columns(kind, labels).items()
    ]
    parameters = ParamSchema(given) if kind == "language_model" else None
    return ModelSignature(
        Schema([ColSpec("string", "text")]),
        Schema(answers),
        parameters,  # type: ignore[arg-type]  # None is its default
    )
