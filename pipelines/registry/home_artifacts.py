"""Addresses of model files that hold wherever the home is: `mlflow-artifacts:/NAME/…`.

MLflow's server resolves them itself. Without a server, with the tracking address of a SQLite
database, the files are in the folder `artifacts` beside that database, as in a home.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipelines.files.sqlite_file import path_of
from pipelines.mlflow_private.registry_tables import absolute_roots, model_places, relocate
from pipelines.mlflow_private.schema import LOCK_SECONDS

SCHEME = "mlflow-artifacts"
ARTIFACTS = "artifacts"


def local_path(location: str, database: str) -> Path | None:
    """Where the files at an address of MLflow's are on this machine, for a registry at the address
    `database`; None if they are not, or not within its folder."""
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path) if parts.scheme else location)
    beside = path_of(database)
    if parts.scheme != SCHEME or parts.netloc or beside is None:
        return None
    root = beside.absolute().parent / ARTIFACTS
    path = root / unquote(parts.path).lstrip("/")
    return path if path.resolve().is_relative_to(root.resolve()) else None


def adopt(path: Path) -> None:
    """Make the addresses in the database at `path` independent of the home's place.

    Earlier versions of Folio wrote absolute ones, which in a copied home lead to the original.
    """
    if not os.access(path, os.W_OK):
        return
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as database:
        for root in own_roots(database, path.parent / ARTIFACTS):
            relocate(database, root, f"{SCHEME}:/")


def own_roots(database: sqlite3.Connection, artifacts: Path) -> list[str]:
    """The absolute roots in the database that are this folder, or have been before it was copied
    or moved here: then it has models that the database names."""
    return [
        root
        for root in absolute_roots(database)
        if root == f"{artifacts.absolute().as_uri()}/"
        or any((artifacts / unquote(place)).is_dir() for place in model_places(database, root))
    ]
