"""MLflow's tables of experiments and runs: importing MLflow takes seconds, writing a row does not.
Those of another version are not written to."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from pipelines.errors import FolioError
from pipelines.files.sqlite_file import path_of
from pipelines.mlflow_private.schema import LOCK_SECONDS, SCHEMA

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, TableClause

NAME = "mlflow.runName"  # MLflow's own tag
COLUMNS = {
    "alembic_version": "version_num",
    "experiments": "experiment_id name artifact_location lifecycle_stage creation_time "
    "last_update_time",
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time "
    "end_time source_version lifecycle_stage artifact_uri experiment_id",
    "tags": "key value run_uuid",
    "params": "key value run_uuid",
    "metrics": "key value timestamp run_uuid step is_nan",
    "latest_metrics": "key value timestamp run_uuid step is_nan",
}


class Run(NamedTuple):
    id: str
    name: str
    status: str  # RUNNING, FINISHED, FAILED, KILLED


class Point(NamedTuple):
    key: str
    value: float
    timestamp: int  # milliseconds since 1970
    step: int


class Tables:
    """The database at an address. `files_of` says where the files of an experiment are; `make`, if
    given, makes the database if its file is not there."""

    def __init__(
        self, address: str, files_of: Callable[[str], str | None], make: Callable[[], None] | None
    ) -> None:
        self._address, self._files_of, self._make = address, files_of, make

    @cached_property
    def _engine(self) -> Engine:
        from sqlalchemy import create_engine

        path = path_of(self._address)
        if path is not None and not path.exists() and self._make is not None:
            self._make()
        if path is not None and not path.exists():
            raise FolioError(f"{path}: there is no such database")
        patience = {"timeout": LOCK_SECONDS} if path is not None else {}
        engine = create_engine(self._address, connect_args=patience)
        alembic = _table("alembic_version")
        with engine.connect() as database:
            schema = database.execute(alembic.select()).scalar()
        if schema != SCHEMA:
            raise FolioError(f"MLflow's tables are of version {schema}, which Folio does not know")
        return engine

    def experiment(self, name: str) -> str:
        table = _table("experiments")
        with self._engine.begin() as database:
            query = table.select().where(table.c.name == name)
            found = database.execute(query).mappings().first()
            if found is None:
                database.execute(table.insert().values(self._new_experiment(name)))
                found = database.execute(query).mappings().one()
            elif found["lifecycle_stage"] == "deleted":
                active = table.update().where(table.c.name == name).values(lifecycle_stage="active")
                database.execute(active)
        return str(found["experiment_id"])

    def _new_experiment(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "artifact_location": self._files_of(name),
            "lifecycle_stage": "active",
            "creation_time": _now(),
            "last_update_time": _now(),
        }

    def create(self, experiment: str, name: str, start: int) -> str:
        run, experiments = uuid4().hex, _table("experiments")
        with self._engine.begin() as database:
            location = (
                database.execute(
                    experiments.select().where(experiments.c.experiment_id == int(experiment))
                )
                .mappings()
                .one()["artifact_location"]
            )
            row = {
                "run_uuid": run,
                "name": name,
                "source_type": "UNKNOWN",  # MLflow's own client writes these too
                "source_name": "",
                "entry_point_name": "",
                "user_id": "",
                "status": "RUNNING",
                "start_time": start,
                "source_version": "",
                "lifecycle_stage": "active",
                "artifact_uri": f"{location.rstrip('/')}/{run}/artifacts",
                "experiment_id": int(experiment),
            }
            database.execute(_table("runs").insert().values(row))
            _set(database, "tags", run, {NAME: name})
        return run

    def find(self, experiment: str, tag: str, value: str) -> list[Run]:
        runs, tags = _table("runs"), _table("tags")
        tagged = tags.select().with_only_columns(tags.c.run_uuid)
        tagged = tagged.where(tags.c.key == tag, tags.c.value == value)
        query = runs.select().where(
            runs.c.experiment_id == int(experiment),
            runs.c.lifecycle_stage == "active",
            runs.c.run_uuid.in_(tagged),
        )
        with self._engine.connect() as database:
            rows = database.execute(query.order_by(runs.c.start_time.desc())).mappings()
            return [Run(row["run_uuid"], row["name"], row["status"]) for row in rows]

    def log(
        self,
        run: str,
        points: Collection[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        known = _table("params")
        with self._engine.begin() as database:
            if params:
                rows = database.execute(known.select().where(known.c.run_uuid == run)).mappings()
                old = {row["key"] for row in rows}
                new = {key: value for key, value in params.items() if key not in old}
                _set(database, "params", run, new)
            _set(database, "tags", run, tags or {})
            if points:
                _add_points(database, run, points)

    def update(self, run: str, status: str, end: int | None = None, name: str = "") -> None:
        runs = _table("runs")
        values: dict[str, Any] = {"status": status, "end_time": end}
        with self._engine.begin() as database:
            if name:
                values["name"] = name
                _set(database, "tags", run, {NAME: name})
            database.execute(runs.update().where(runs.c.run_uuid == run).values(values))

    def steps(self, run: str, key: str) -> set[int]:
        metrics = _table("metrics")
        query = metrics.select().where(metrics.c.run_uuid == run, metrics.c.key == key)
        with self._engine.connect() as database:
            return {row["step"] for row in database.execute(query).mappings()}


def _table(name: str) -> TableClause:
    from sqlalchemy import column, table

    return table(name, *map(column, COLUMNS[name].split()))


def _set(database: Connection, name: str, run: str, values: Mapping[str, str]) -> None:
    """Each value in place of the one that the run has, if it has one."""
    table = _table(name)
    for key, value in values.items():
        database.execute(table.delete().where(table.c.run_uuid == run, table.c.key == key))
        database.execute(table.insert().values(key=key, value=value, run_uuid=run))


def _add_points(database: Connection, run: str, points: Collection[Point]) -> None:
    """And the latest of each metric, which MLflow keeps in a table of its own."""
    rows = [{**point._asdict(), "run_uuid": run, "is_nan": False} for point in points]
    database.execute(_table("metrics").insert(), rows)
    latest = _table("latest_metrics")
    for row in {row["key"]: row for row in sorted(rows, key=lambda row: row["step"])}.values():
        mine = (latest.c.run_uuid == run, latest.c.key == row["key"])
        database.execute(latest.delete().where(*mine, latest.c.step <= row["step"]))
        if database.execute(latest.select().where(*mine)).first() is None:
            database.execute(latest.insert().values(row))


def _now() -> int:
    return int(1000 * time.time())
