"""Opens MLflow on the registry of a home: silent, one process at a time."""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FolioError, first_line
from pipelines.files.home import made, why_closed
from pipelines.files.locks import locked
from pipelines.files.sqlite_file import address_of
from pipelines.mlflow_private.registry_tables import make_database
from pipelines.network.addresses import redacted
from pipelines.registry.home_artifacts import adopt

if TYPE_CHECKING:
    import mlflow


# No usage reports, no progress bars, no search for other projects' files.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


def tracking_uri(home: Path) -> str:
    """MLFLOW_TRACKING_URI, else the database of this home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri(home)


def registry_uri(home: Path) -> str:
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri(home)


def is_own(home: Path) -> bool:
    """Whether tracking and registry are this home's own database."""
    return tracking_uri(home) == registry_uri(home) == _own_uri(home)


def _own_uri(home: Path) -> str:
    return address_of(_own_database(home))


def _own_database(home: Path) -> Path:
    return home.absolute() / "mlflow" / "mlflow.db"


@contextmanager
def mlflow_at(home: Path) -> Iterator[tuple[Any, mlflow.MlflowClient]]:
    """(mlflow, client) on the registry of `home`: silent, exclusive, all settings restored
    afterwards.

    MLflow's errors become FolioErrors.
    """
    with _one_at_a_time(home / "mlflow"), _environment(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uri = tracking_uri(home)
        import mlflow
        from sqlalchemy.exc import DBAPIError

        levels = _set_levels({"mlflow": logging.ERROR, "alembic": logging.ERROR})
        mlflow.set_tracking_uri(uri)
        try:
            if uri == _own_uri(home):
                make_database(_own_database(home))
                adopt(_own_database(home))
            yield mlflow, mlflow.MlflowClient(uri, registry_uri(home))
        except mlflow.exceptions.MlflowException as error:
            message = (
                f"MLflow at {uri}: {first_line(error)[:300]}; fix that, or set another "
                "registry in MLFLOW_TRACKING_URI"
            )
            raise FolioError(_without_secrets(message, home)) from error
        except (DBAPIError, sqlite3.Error) as error:  # a full disk, a locked or damaged database
            why = getattr(error, "orig", error)
            message = f"MLflow at {uri}: {why}; fix that (free space, permissions) and run again"
            raise FolioError(_without_secrets(message, home)) from error
        finally:
            # None: unset. The previous values are in the environment too.
            mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
            _set_levels(levels)


def _without_secrets(message: str, home: Path) -> str:
    return redacted(redacted(message, tracking_uri(home)), registry_uri(home))


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Admits one thread of one process at a time, because MLflow's settings are global and it
    creates a new database without a lock. In a read-only home nothing is created."""
    if why_closed(folder):
        yield
        return
    with locked(made(folder) / ".lock"):
        yield


@contextmanager
def _environment() -> Iterator[None]:
    """Sets QUIET and PATIENCE where the user set nothing, and restores all of MLflow's settings."""
    before = {key: value for key, value in os.environ.items() if key.startswith("MLFLOW_")}
    for key, value in (QUIET | PATIENCE).items():
        os.environ.setdefault(key, value)
    try:
        yield
    finally:
        for key in [key for key in os.environ if key.startswith("MLFLOW_")]:
            if key not in before and key not in QUIET:
                del os.environ[key]
        os.environ.update(before)


def _set_levels(levels: dict[str, int]) -> dict[str, int]:
    """Set loggers' levels and return the previous ones."""
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    return before
