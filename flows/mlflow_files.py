"""MLflow's reader and writer of addresses `mlflow-artifacts:`, an entry point in pyproject.toml;
pipelines/registry/home_artifacts.py explains them.

MLflow imports this with itself, so it imports nothing of `pipelines` yet: a registered model brings
its own modules of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository


def repository(
    artifact_uri: str, tracking_uri: str | None = None, registry_uri: str | None = None
) -> ArtifactRepository:
    """The folder in the home, or MLflow's own client of a server."""
    import mlflow
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
    from mlflow.store.artifact.mlflow_artifacts_repo import MlflowArtifactsRepository

    from pipelines.registry.home_artifacts import local_path

    path = local_path(artifact_uri, tracking_uri or mlflow.get_tracking_uri())
    if path is None:
        return MlflowArtifactsRepository(artifact_uri, tracking_uri, registry_uri)
    return LocalArtifactRepository(path.absolute().as_uri(), tracking_uri, registry_uri)
