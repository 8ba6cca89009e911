"""The registered model versions, and the one place where MLflow is imported.

Importing MLflow takes seconds, so a registry in SQLite, which is the default, is read directly
and read-only; what people move in MLflow's own pages is seen all the same.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from pipelines.addresses import redacted, shown
from pipelines.errors import FolioError
from pipelines.fingerprint import digest_json
from pipelines.home import made, why_closed
from pipelines.mlflow_database import make_database
from pipelines.names import unsafe
from pipelines.sqlite_file import read_only

if TYPE_CHECKING:
    import mlflow

CHAMPION, CHALLENGER = "champion", "challenger"  # the aliases
SQLITE = "sqlite:///"
LOCK_SECONDS = 10  # another process may hold the database for that long
DELETED = "Deleted_Internal"  # MLflow's mark on a deleted version
# No reports to its makers, no progress bars, no looking for other projects' files.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1", "MLFLOW_UV_AUTO_DETECT": "false",
         "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
         "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}


@dataclass(frozen=True)
class Version:
    """A registered version. `location` is its folder, or an address that MLflow fetches from."""

    name: str
    number: int
    created: str
    location: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    @property
    def folder(self) -> Path | None:
        """Where the model lies, or None when it is on another machine."""
        parts = urlsplit(self.location)
        if parts.scheme not in ("", "file"):
            return None
        return Path(unquote(parts.path) if parts.scheme else self.location)


def tracking_uri(home: Path) -> str:
    """MLFLOW_TRACKING_URI, else the database of this home."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _own_uri(home)


def registry_uri(home: Path) -> str:
    return os.environ.get("MLFLOW_REGISTRY_URI") or tracking_uri(home)


def is_own(home: Path) -> bool:
    """Whether tracking and registry are the database of this home, and no one else's."""
    return tracking_uri(home) == registry_uri(home) == _own_uri(home)


def _own_uri(home: Path) -> str:
    return f"{SQLITE}{home.absolute()}/mlflow/mlflow.db"


def journal_path(home: Path) -> Path:
    """Beside the home's registry; of a registry elsewhere, what this home did to it."""
    other = "" if is_own(home) else f"-{digest_json([registry_uri(home)])[:16]}"
    return home / "mlflow" / f"journal{other}.jsonl"


def versions(home: Path, name: str | None = None) -> list[Version]:
    """All registered versions, or those of one name, oldest first.

    Raises FolioError when the registry does not answer.
    """
    uri = registry_uri(home)
    if not uri.startswith(SQLITE):
        return _ask_mlflow(home, name)
    path = Path(uri.removeprefix(SQLITE).partition("?")[0])
    if not path.is_file():
        return []
    try:
        with read_only(path, LOCK_SECONDS) as database:
            return _read(database, name)
    except sqlite3.OperationalError:
        # A newer MLflow made it, or a killed writer left it without tables or to be rolled back.
        return _ask_mlflow(home, name)
    except sqlite3.DatabaseError as error:
        raise FolioError(f"{path}: not an MLflow database ({error}); move it away and release "
                         "again") from error


def _read(database: sqlite3.Connection, name: str | None) -> list[Version]:
    tags: dict[tuple[str, int], dict[str, str]] = {}
    for model, number, key, value in database.execute(
            "SELECT name, version, key, value FROM model_version_tags"):
        tags.setdefault((model, number), {})[key] = value
    aliases: dict[tuple[str, int], list[str]] = {}
    for model, number, alias in database.execute(
            "SELECT name, version, alias FROM registered_model_aliases ORDER BY alias"):
        aliases.setdefault((model, number), []).append(alias)
    rows = database.execute(
        "SELECT name, version, creation_time, coalesce(storage_location, source) "
        "FROM model_versions WHERE current_stage != ? AND (? IS NULL OR name = ?) "
        "ORDER BY name, version", (DELETED, name, name))
    return [Version(model, number, utc(created / 1000), location, tags.get((model, number), {}),
                    tuple(aliases.get((model, number), ())))
            for model, number, created, location in rows]


def _ask_mlflow(home: Path, name: str | None) -> list[Version]:
    with mlflow_at(home) as (_, client):
        return asked(client, name)


def asked(client: mlflow.MlflowClient, name: str | None = None) -> list[Version]:
    """As `versions`, of a registry that is open already."""
    found = []
    for model in client.search_registered_models(filter_string=_named(name)):
        aliases: dict[int, list[str]] = {}
        for alias, number in sorted(client.get_registered_model(model.name).aliases.items()):
            aliases.setdefault(int(number), []).append(alias)
        for one in client.search_model_versions(_named(model.name)):
            number = int(one.version)
            location = client.get_model_version_download_uri(model.name, str(number))
            found.append(Version(model.name, number, utc(one.creation_timestamp / 1000), location,
                                 dict(one.tags), tuple(aliases.get(number, ()))))
    return sorted(found, key=lambda version: (version.name, version.number))


def champion_of(known: Iterable[Version]) -> Version | None:
    """The one that is champion among the versions of one model."""
    return next((version for version in known if CHAMPION in version.aliases), None)


def rollback_target(known: Iterable[Version], name: str, stack: Sequence[int]) -> Version | None:
    """The champion before the present one that is among `known`; `stack` as `journal.reigns` gives
    it. What was before there was a journal is told from the versions' verdicts."""
    own = {one.number: one for one in known if one.name == name}
    told = [own[number] for number in stack[:-1] if number in own]
    champion = champion_of(own.values())
    promoted = [own[number] for number in sorted(own)
                if own[number].tags.get("folio.verdict") == "promote"
                and (champion is None or number < champion.number)]
    return next(iter((*reversed(told), *reversed(promoted))), None)


def _named(name: str | None) -> str | None:
    return f"name = '{name}'" if name else None


def utc(seconds: float) -> str:
    """As manifests and records write times."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def fetched(home: Path, version: Version) -> Path:
    """The version's folder on this machine; downloaded once when it is on another."""
    if version.folder is not None:
        return version.folder
    final = download_folder(home, version)
    if not final.is_dir():
        partial = final.with_name(f".{final.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        made(partial)
        with mlflow_at(home) as (mlflow, _):
            # The folder itself or one below it, as the address has it.
            found = mlflow.artifacts.download_artifacts(
                version.location, dst_path=str(partial), registry_uri=registry_uri(home))
        Path(found).rename(final)
        shutil.rmtree(partial, ignore_errors=True)
    return final


def download_folder(home: Path, version: Version) -> Path:
    identity = digest_json([registry_uri(home), version.location, version.created])[:16]
    if unsafe(version.name) or "/" in version.name:
        raise FolioError(f"{version.name!r}: no model of ours is called so; the registry at "
                         f"{shown(registry_uri(home))} names it")
    return home / "mlflow" / "downloads" / f"{version.name}-{version.number}-{identity}"


def is_within(home: Path, version: Version) -> bool:
    """Whether its files are this home's: in a copied home they are still those of the original."""
    own = (home / "mlflow").resolve()
    return version.folder is not None and own in version.folder.resolve().parents


def forget(client: mlflow.MlflowClient, home: Path, version: Version,
           others: Iterable[Version]) -> None:
    """Delete a version, and its run and files unless one of `others` shares them.

    The files go first: killed here, the version is found again. Then its rows, for good; the
    command `mlflow gc` would delete the experiments in MLflow's bin as well.
    """
    found = client.get_model_version(version.name, str(version.number))
    alone = all(other.location != version.location for other in others)
    if alone and is_within(home, version):
        shutil.rmtree(version.folder, ignore_errors=True)
        with suppress(OSError):  # it holds something else
            version.folder.parent.rmdir()
    client.delete_model_version(version.name, found.version)
    if alone:
        store, model = client._tracking_client.store, found.source.removeprefix("models:/")
        client.delete_logged_model(model)
        client.delete_run(found.run_id)
        store._hard_delete_logged_model(model)
        store._hard_delete_run(found.run_id)


@contextmanager
def mlflow_at(home: Path) -> Iterator[tuple[Any, mlflow.MlflowClient]]:
    """(mlflow, client) on the registry of `home`: silent, one user at a time, nothing left set.

    What MLflow raises becomes a FolioError.
    """
    with _locked(home / "mlflow"), _environment(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uri = tracking_uri(home)
        import mlflow
        from sqlalchemy.exc import DBAPIError

        levels = _set_levels({"mlflow": logging.ERROR, "alembic": logging.ERROR})
        mlflow.set_tracking_uri(uri)
        try:
            if uri == _own_uri(home):
                make_database(Path(uri.removeprefix(SQLITE)))
            yield mlflow, mlflow.MlflowClient(uri, registry_uri(home))
        except mlflow.exceptions.MlflowException as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            message = (f"MLflow at {uri}: {first[:300]}; mend that, or name another registry in "
                       "MLFLOW_TRACKING_URI")
            raise FolioError(_without_secrets(message, home)) from error
        except DBAPIError as error:  # a full disk, a database that is locked or damaged
            message = f"MLflow at {uri}: {error.orig}; mend that (free space, rights) and run again"
            raise FolioError(_without_secrets(message, home)) from error
        finally:
            mlflow.set_tracking_uri(None)  # what was set before is in the environment as well
            _set_levels(levels)


def _without_secrets(message: str, home: Path) -> str:
    return redacted(redacted(message, tracking_uri(home)), registry_uri(home))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """MLflow's settings are the process's, and it makes a new database without a lock of its own:
    one thread of one process at a time. Where nothing can be written, nothing is made either."""
    if why_closed(folder):
        yield
        return
    with (made(folder) / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _environment() -> Iterator[None]:
    """QUIET and PATIENCE where the user set nothing; everything of MLflow's as it was, after."""
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
    """Set loggers' levels and return those that they had."""
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    return before
