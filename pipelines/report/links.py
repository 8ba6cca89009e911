"""The addresses of Prefect, MLflow and Folio's own server, from the environment."""

from __future__ import annotations

import os
from urllib.parse import quote

from pipelines.errors import UsageError

# Such as http://127.0.0.1:4200; if one is unset, there are no links to it.
ADDRESSES = {
    "prefect": "FOLIO_PREFECT_UI",
    "mlflow": "FOLIO_MLFLOW_UI",
    "dashboard": "FOLIO_DASHBOARD",
}


def addresses() -> dict[str, str | None]:
    """{prefect, mlflow, dashboard: its address, or None if the environment does not set it}.

    Raises UsageError if one is not a valid address.
    """
    given = {name: os.environ.get(variable) for name, variable in ADDRESSES.items()}
    for name, address in given.items():
        if address and not address.startswith(("http://", "https://")):
            raise UsageError(
                f"{ADDRESSES[name]}={address}: not an address; write it like http://127.0.0.1:4200"
            )
    return {name: address.rstrip("/") if address else None for name, address in given.items()}


def report_address(stage: str, key: str) -> str | None:
    """Of the page in an artifact, on the server of the home's files."""
    server = addresses()["dashboard"]
    return f"{server}/store/{stage}/{key}/report.html" if server else None


def version_address(model: str, version: int) -> str | None:
    """Of a model version, in MLflow's UI."""
    server = addresses()["mlflow"]
    return f"{server}/#/models/{quote(model)}/versions/{version}" if server else None


def run_address(run: str | None) -> str | None:
    """Of an MLflow run, in its UI."""
    server = addresses()["mlflow"]
    return f"{server}/#/runs/{quote(run)}" if server and run else None
