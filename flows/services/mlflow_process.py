"""The MLflow server of `folio up`: its address, command line and environment."""

from __future__ import annotations

import sys
from pathlib import Path

from flows.web.passwords import MLFLOW_AUTH, auth_string
from pipelines.registry.mlflow_access import registry_uri, tracking_uri

LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # 560 MB instead of 1.7 GB


def address(home: Path, port: int) -> str | None:
    """The address of MLflow's UI; None if another server has the registry and the UI."""
    given = tracking_uri(home)
    return None if given.startswith("http") else f"http://127.0.0.1:{port}"


def command(home: Path, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--app-name",
        "folio",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
        "--artifacts-destination",
        (home.absolute() / "mlflow" / "artifacts").as_uri(),
    ]


def environment(home: Path) -> dict[str, str | None]:
    """With the databases' addresses, which may contain passwords: any user can list command
    lines."""
    return {
        **LEAN,
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(home),
        "MLFLOW_REGISTRY_STORE_URI": registry_uri(home),
        MLFLOW_AUTH: auth_string(home),
    }
