"""The database of a registry: making an empty one, reading versions, where the models' files are,
deleting for good. MLflow has no public functions for these, or none that answers at once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pipelines.files.sqlite_file import address_of
from pipelines.mlflow_private.schema import SCHEMA

if TYPE_CHECKING:
    import mlflow

DELETED = "Deleted_Internal"  # MLflow's mark on a deleted version
LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def make_database(path: Path) -> None:
    """Create an empty database at `path` unless there is one; by one caller at a time.

    MLflow creates it with some seventy migrations. If these are interrupted, by a kill or a full
    disk, they leave tables behind that make every later attempt fail. The public function only
    creates it in place.
    """
    if path.exists():
        return
    from mlflow.store.db import utils

    new = path.with_name(f".new-{path.name}")
    new.unlink(missing_ok=True)
    engine = utils.create_sqlalchemy_engine_with_retry(address_of(new))
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()
    if not path.exists():  # MLflow's own server may have created one in the meantime
        new.rename(path)


class Row(NamedTuple):
    """A version in MLflow's tables; `created` in milliseconds since 1970."""

    name: str
    number: int
    created: int
    location: str
    run: str | None


def read_versions(
    database: sqlite3.Connection, name: str | None
) -> Iterator[tuple[Row, dict[str, str], tuple[str, ...]]]:
    """(row, tags, aliases) of all versions, or of those with one name, oldest first.

    Importing MLflow takes seconds; reading its tables is immediate. Raises sqlite3.OperationalError
    if they are not as expected.
    """
    tags: dict[tuple[str, int], dict[str, str]] = {}
    for model, number, key, value in database.execute(
        "SELECT name, version, key, value FROM model_version_tags"
    ):
        tags.setdefault((model, number), {})[key] = value
    aliases: dict[tuple[str, int], list[str]] = {}
    for model, number, alias in database.execute(
        "SELECT name, version, alias FROM registered_model_aliases ORDER BY alias"
    ):
        aliases.setdefault((model, number), []).append(alias)
    rows = database.execute(
        "SELECT name, version, creation_time, coalesce(storage_location, source), run_id "
        "FROM model_versions WHERE current_stage != ? AND (? IS NULL OR name = ?) "
        "ORDER BY name, version",
        (DELETED, name, name),
    )
    for row in map(Row._make, rows):
        key = row.name, row.number
        yield row, tags.get(key, {}), tuple(aliases.get(key, ()))


def absolute_roots(database: sqlite3.Connection) -> list[str]:
    """The folders `…/mlflow/artifacts/`, as addresses, in which earlier versions of Folio put
    their models' files.

    Empty if MLflow's tables are of another version, or not complete.
    """
    try:
        (schema,) = database.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
    except sqlite3.OperationalError:
        return []
    if schema != SCHEMA:
        return []
    found = database.execute(
        "SELECT DISTINCT substr(artifact_location, 1, length(artifact_location) - length(name)) "
        "FROM experiments WHERE artifact_location LIKE 'file:%/mlflow/artifacts/' || name"
    )
    return [root for (root,) in found]


def model_places(database: sqlite3.Connection, root: str) -> list[str]:
    """The places of the models' files below a root."""
    found = database.execute(
        "SELECT substr(artifact_location, ?) FROM logged_models "
        "WHERE substr(artifact_location, 1, ?) = ?",
        (len(root) + 1, len(root), root),
    )
    return [place for (place,) in found]


def relocate(database: sqlite3.Connection, root: str, address: str) -> None:
    """Replace the root by another address in all rows, in one transaction.

    MLflow has no public function for that.
    """
    with database:
        for table, column in LOCATIONS:
            database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column}, 1, ?) = ?",
                (address, len(root) + 1, len(root), root),
            )


def delete_for_good(client: mlflow.MlflowClient, model: str, run: str) -> None:
    """Delete a logged model and its run, and their rows.

    The public functions only mark them as deleted, and the command `mlflow gc` would also delete
    experiments that someone has marked.
    """
    client.delete_logged_model(model)
    client.delete_run(run)
    store = client._tracking_client.store
    store._hard_delete_logged_model(model)
    store._hard_delete_run(run)
