"""The registered model versions, and the only place where MLflow is imported.

Importing MLflow takes seconds, so the default registry, in SQLite, is read directly and read-only.
Changes made in MLflow's UI are seen as well.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import FolioError, UnreadableError
from pipelines.files.digests import digest_json
from pipelines.files.home import made
from pipelines.files.names import unsafe
from pipelines.files.small_files import parse_object
from pipelines.files.sqlite_file import path_of, read_only
from pipelines.mlflow_private.registry_tables import delete_for_good, read_versions
from pipelines.mlflow_private.schema import LOCK_SECONDS
from pipelines.network.addresses import shown
from pipelines.registry.home_artifacts import ARTIFACTS, SCHEME, local_path, own_roots
from pipelines.registry.mlflow_access import is_own, mlflow_at, registry_uri
from pipelines.store.times import utc

if TYPE_CHECKING:
    import mlflow

LINEAGE = "folio.lineage"  # a tag
CHAMPION, CHALLENGER = "champion", "challenger"  # the aliases


@dataclass(frozen=True)
class Version:
    """A registered version. `location` is its folder here, or an address that MLflow fetches
    from; `run` is the id of its run in MLflow."""

    name: str
    number: int
    created: str
    location: str
    tags: dict[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    run: str | None = None

    @property
    def folder(self) -> Path | None:
        """The model's folder, or None if it is on another machine."""
        return local_path(self.location, database="")


def journal_path(home: Path) -> Path:
    """Next to the home's registry; for another registry, what this home did to it."""
    other = "" if is_own(home) else f"-{digest_json([registry_uri(home)])[:16]}"
    return home / "mlflow" / f"journal{other}.jsonl"


def versions(home: Path, name: str | None = None) -> list[Version]:
    """All registered versions, or those of one name, oldest first.

    Raises FolioError if the registry does not answer.
    """
    uri = registry_uri(home)
    path = path_of(uri)
    if path is None:
        return _ask_mlflow(home, name)
    if not path.is_file():
        return []
    try:
        with read_only(path, LOCK_SECONDS) as database:
            return _read(database, name, uri, path.parent / ARTIFACTS)
    except sqlite3.OperationalError:
        # A newer MLflow created it, or a killed writer left it without tables or with a journal to
        # roll back.
        return _ask_mlflow(home, name)
    except sqlite3.DatabaseError as error:
        raise FolioError(
            f"{path}: not an MLflow database ({error}); move it away and register the models again"
        ) from error


def _read(
    database: sqlite3.Connection, name: str | None, uri: str, artifacts: Path
) -> list[Version]:
    roots = own_roots(database, artifacts)
    found = []
    for row, tags, aliases in read_versions(database, name):
        location = row.location
        for root in roots:
            location = location.replace(root, f"{SCHEME}:/", 1)
        where = _here(location, uri)
        created, noted = utc(row.created / 1000), expanded(tags)
        found.append(Version(row.name, row.number, created, where, noted, aliases, row.run))
    return found


def bundled(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a version as MLflow keeps them: the keys and digests of the lineage, which are
    for programs, in one tag, so that a page shows what a person reads."""
    inner = {key: value for key, value in tags.items() if key.endswith((".key", ".digest"))}
    return {key: value for key, value in tags.items() if key not in inner} | {
        LINEAGE: json.dumps(inner)
    }


def expanded(tags: Mapping[str, str]) -> dict[str, str]:
    """The inverse. Earlier versions of Folio wrote a tag for each; such a tag is preferred."""
    own = dict(tags)
    try:
        inner = parse_object(own.pop(LINEAGE, "{}").encode(), LINEAGE)
    except UnreadableError:  # edited in MLflow's UI
        inner = {}
    return {key: str(value) for key, value in inner.items()} | own


def _here(location: str, uri: str) -> str:
    """The folder on this machine, if there is one, of an address in the registry at `uri`."""
    path = local_path(location, uri)
    return str(path) if path and location.startswith(SCHEME) else location


def _ask_mlflow(home: Path, name: str | None) -> list[Version]:
    with mlflow_at(home) as (_, client):
        return asked(client, home, name)


def asked(client: mlflow.MlflowClient, home: Path, name: str | None = None) -> list[Version]:
    """Like `versions`, with a registry that is already open."""
    found, uri = [], registry_uri(home)
    for model in client.search_registered_models(filter_string=_named(name)):
        aliases: dict[int, list[str]] = {}
        for alias, number in sorted(client.get_registered_model(model.name).aliases.items()):
            aliases.setdefault(int(number), []).append(alias)
        for one in client.search_model_versions(_named(model.name)):
            number = int(one.version)
            location = _here(client.get_model_version_download_uri(model.name, str(number)), uri)
            found.append(
                Version(
                    model.name,
                    number,
                    utc(one.creation_timestamp / 1000),
                    location,
                    expanded(one.tags),
                    tuple(aliases.get(number, ())),
                    one.run_id,
                )
            )
    return sorted(found, key=lambda version: (version.name, version.number))


def champion_of(known: Iterable[Version]) -> Version | None:
    """The champion among the versions of one model."""
    return next((version for version in known if CHAMPION in version.aliases), None)


def rollback_target(known: Iterable[Version], name: str, stack: Sequence[int]) -> Version | None:
    """The champion before the current one that is among `known`; `stack` comes from
    `journal.reigns`. Champions from before the journal existed are inferred from the versions'
    verdicts."""
    own = {one.number: one for one in known if one.name == name}
    earlier = [own[number] for number in stack[:-1] if number in own]
    champion = champion_of(own.values())
    promoted = [
        own[number]
        for number in sorted(own)
        if own[number].tags.get("folio.verdict") == "promote"
        and (champion is None or number < champion.number)
    ]
    return next(iter((*reversed(earlier), *reversed(promoted))), None)


def _named(name: str | None) -> str | None:
    return f"name = '{name}'" if name else None


def fetched(home: Path, version: Version) -> Path:
    """The version's folder on this machine; downloaded once if it is on another."""
    if version.folder is not None:
        return version.folder
    final = download_folder(home, version)
    if not final.is_dir():
        partial = final.with_name(f".{final.name}.{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        made(partial)
        with mlflow_at(home) as (mlflow, _):
            # The folder itself or a subfolder, as in the address.
            found = mlflow.artifacts.download_artifacts(
                version.location, dst_path=str(partial), registry_uri=registry_uri(home)
            )
        Path(found).rename(final)
        shutil.rmtree(partial, ignore_errors=True)
    return final


def download_folder(home: Path, version: Version) -> Path:
    identity = digest_json([registry_uri(home), version.location, version.created])[:16]
    if unsafe(version.name) or "/" in version.name:
        raise FolioError(
            f"{version.name!r}: not a valid name of a Folio model; it is in the registry "
            f"at {shown(registry_uri(home))}"
        )
    return home / "mlflow" / "downloads" / f"{version.name}-{version.number}-{identity}"


def is_within(home: Path, version: Version) -> bool:
    """Whether its files are in this home."""
    own = (home / "mlflow").resolve()
    return version.folder is not None and own in version.folder.resolve().parents


def delete_version(
    client: mlflow.MlflowClient, home: Path, version: Version, others: Iterable[Version]
) -> None:
    """Delete a version, and its run and files unless one of `others` shares them.

    The files are deleted first, so that after a kill the version is found again; then its rows.
    """
    found = client.get_model_version(version.name, str(version.number))
    folder, alone = version.folder, all(other.location != version.location for other in others)
    if alone and folder is not None and is_within(home, version):
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # it contains something else
            folder.parent.rmdir()
        if (files := _run_folder(client, home, found.run_id)) is not None:
            shutil.rmtree(files, ignore_errors=True)
    client.delete_model_version(version.name, found.version)
    if alone and found.source and found.run_id:
        delete_for_good(client, found.source.removeprefix("models:/"), found.run_id)


def _run_folder(client: mlflow.MlflowClient, home: Path, run: str | None) -> Path | None:
    """The folder in this home with the files of a run: samples, the report."""
    path = local_path(client.get_run(run).info.artifact_uri, registry_uri(home)) if run else None
    own = (home / "mlflow").resolve()
    return path.parent if path and own in path.resolve().parents else None
