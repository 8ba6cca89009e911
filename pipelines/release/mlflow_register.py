"""Makes a folder an MLflow model and a registered version. Called within `mlflow_at`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.registry.home_artifacts import ARTIFACTS, SCHEME
from pipelines.registry.lookup import PACKAGE
from pipelines.registry.mlflow_access import is_own, tracking_uri

if TYPE_CHECKING:
    import mlflow

LOADER = "pipelines.serving.mlflow_model"


def register(
    mlflow: Any,
    client: mlflow.MlflowClient,
    home: Path,
    folder: Path,
    name: str,
    tags: Mapping[str, str],
    requirements: list[str],
    parameters: Mapping[str, Any],
    figures: Mapping[str, float | None],
) -> int:
    """Log the folder as one MLflow model and register it. Returns the version."""
    settings = json.loads((folder / PACKAGE / "package.json").read_bytes())
    with mlflow.start_run(experiment_id=_experiment(client, home, name)) as run:
        mlflow.set_tags(tags)
        mlflow.log_params(parameters)
        mlflow.log_metrics(
            {
                key: value
                for key, value in figures.items()
                if value is not None and math.isfinite(value)
            }
        )
        logged = mlflow.pyfunc.log_model(
            name=PACKAGE,
            loader_module=LOADER,
            data_path=str(folder / PACKAGE),
            code_paths=[str(folder / "code" / "pipelines")],
            pip_requirements=requirements,
            signature=_signature(settings["kind"], settings["labels"]),
        )
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(
        name,
        logged.model_uri,
        run.info.run_id,
        tags=dict(tags),
        model_id=logged.model_id,
        await_creation_for=30,
    )
    return int(version.version)


def _experiment(client: mlflow.MlflowClient, home: Path, name: str) -> str:
    """The pipeline's experiment; its files are in this home unless a server stores them."""
    found = client.get_experiment_by_name(name)
    if found is None:
        return client.create_experiment(name, artifact_location=_location(home, name))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _location(home: Path, name: str) -> str | None:
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if is_own(home):
        return f"{SCHEME}:/{name}"
    direct = urlsplit(tracking_uri(home)).scheme.partition("+")[0] in DATABASE_ENGINES
    return (home.absolute() / "mlflow" / ARTIFACTS / name).as_uri() if direct else None


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
