"""What Folio writes into MLflow while something is trained, and where to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from pipelines.mlflow_private.run_tables import Point, Run, Tables
from pipelines.registry.home_artifacts import ARTIFACTS, SCHEME
from pipelines.registry.mlflow_access import is_own, tracking_uri

MODEL = "folio.model"  # tag: the start of the model's key, until the model is registered
VERSION = "folio.version"  # tag: the number, from then on
PARENT = "mlflow.parentRunId"  # MLflow's own tag
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")  # that MLflow keeps runs in
MOST_VALUE = 6000  # MLflow's limit for a parameter, in characters
MAKE = """
import sys
from pathlib import Path
from pipelines.registry.mlflow_access import mlflow_at
with mlflow_at(Path(sys.argv[1])):
    pass
"""
PER_CALL = 100  # MLflow's limit for parameters and tags


class Tracking(Protocol):
    """The part of MLflow that is needed while something is trained."""

    def experiment(self, name: str) -> str:
        """The id of the experiment with this name, which is made if there is none."""

    def create(self, experiment: str, name: str, start: int) -> str:
        """The id of a new active run that starts at this time, in milliseconds."""

    def find(self, experiment: str, tag: str, value: str) -> list[Run]:
        """The runs with this tag, newest first."""

    def log(
        self,
        run: str,
        points: Collection[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Parameters that the run has already keep their value."""

    def update(self, run: str, status: str, end: int | None = None, name: str = "") -> None: ...

    def steps(self, run: str, key: str) -> set[int]:
        """The steps at which the metric has points."""


def tracking_at(home: Path) -> Tracking | None:
    """The tracking of this home; None if it is at an address that only MLflow can write to.

    Every call may raise an exception if it does not answer.
    """
    from pipelines.tracking.rest import Server

    address = tracking_uri(home)
    scheme = urlsplit(address).scheme.partition("+")[0]
    if scheme in ("http", "https"):
        return Server(address)
    if scheme not in DATABASES:
        return None
    make = partial(_make_database, home) if is_own(home) else None
    return Tables(address, partial(artifact_location, home), make)


def _make_database(home: Path) -> None:
    """Some seventy migrations by MLflow: in another process, the training goes on in this one."""
    command = [sys.executable, "-c", MAKE, str(home)]
    subprocess.run(command, check=False, capture_output=True)


def artifact_location(home: Path, name: str) -> str | None:
    """Where the files of an experiment are: in this home, unless a server stores them."""
    if is_own(home):
        return f"{SCHEME}:/{name}"
    direct = urlsplit(tracking_uri(home)).scheme.partition("+")[0] in DATABASES
    return (home.absolute() / "mlflow" / ARTIFACTS / name).as_uri() if direct else None


def training_tag(key: str) -> str:
    """The value of the tag MODEL."""
    return key[:12]


def as_params(config: Mapping[str, Any]) -> dict[str, str]:
    """As MLflow writes the same values once they have been in a manifest."""
    plain = json.loads(json.dumps(config))
    return {key: str(value)[:MOST_VALUE] for key, value in plain.items()}
