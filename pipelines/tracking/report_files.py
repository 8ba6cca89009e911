"""The report of a version, among the files of its run in MLflow."""

from __future__ import annotations

from pathlib import Path

from pipelines.registry.lookup import named_version
from pipelines.registry.mlflow_access import mlflow_at

FOLDER = "report"  # of the run's files
PAGE, PLOTS = "report.html", "plots"


def attach_report(home: Path, name: str, version: int, report: Path) -> None:
    """Copy the page and the plots from the folder `report`, in place of an earlier report.

    Raises FolioError if there is no such version, or MLflow does not take them.
    """
    run = named_version(home, name, version).run
    if run is None:
        return
    with mlflow_at(home) as (_, client):
        client.log_artifact(run, str(report / PAGE), FOLDER)
        client.log_artifacts(run, str(report / PLOTS), f"{FOLDER}/{PLOTS}")
