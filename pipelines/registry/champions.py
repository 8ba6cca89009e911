"""Changes the champion: the registry's alias and the journal are updated together, or not at all.

The change is first written to `journal.pending.json`; then the alias is moved, which makes it
effective; then the line is appended. If the process is killed in between, the next one finds the
pending file: it writes the line if the alias was moved, and discards the change otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FolioError, UnreadableError
from pipelines.files.small_files import read_object, set_aside
from pipelines.files.whole_files import write_json
from pipelines.registry.journal import DIGEST, Journal, Line, is_line, is_sealed, reigns, who
from pipelines.registry.lookup import VERDICT_TAG, absent, waits
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import (
    CHAMPION,
    Version,
    asked,
    journal_path,
    rollback_target,
    versions,
)
from pipelines.store.times import utc

if TYPE_CHECKING:
    import mlflow

HEAD = "folio.journal"  # the tag of a registered model with the digest of its last line
FOUND = "found"  # the action of a line about an alias that was moved elsewhere


def journal_of(home: Path) -> Journal:
    return Journal(journal_path(home))


def pending_path(home: Path) -> Path:
    """The pending file."""
    return journal_path(home).with_suffix(".pending.json")


# Within `mlflow_at`, whose lock makes us the only writer


def record(
    home: Path,
    client: mlflow.MlflowClient,
    name: str,
    *,
    action: str,
    version: int | None,
    champion: int | None,
    reason: str,
    **more: Any,
) -> Line:
    """Make `champion` (a version; None: there is none yet) the champion and write the line.

    Call `settle` before. Returns the line.
    """
    line = journal_of(home).sealed(
        {
            "time": utc(datetime.now(UTC).timestamp()),
            "who": who(),
            "action": action,
            "model": name,
            "version": version,
            "former": _crowned(client, name),
            "champion": champion,
            "reason": reason,
            **more,
        }
    )
    write_json(pending_path(home), line)
    if champion is not None and line["former"] != champion:
        client.set_registered_model_alias(name, CHAMPION, str(champion))
    _finish(home, client, line)
    return line


def settle(home: Path, client: mlflow.MlflowClient, name: str) -> Line | None:
    """Bring a model's alias and journal into agreement before a change: complete what a kill
    interrupted, record aliases that were moved elsewhere. Returns the interrupted line."""
    completed = complete_interrupted(home, client)
    lines = journal_of(home).lines(name)
    champion = _crowned(client, name)
    if champion != (lines[-1]["champion"] if lines else None):
        record(
            home,
            client,
            name,
            action=FOUND,
            version=champion,
            champion=champion,
            reason="moved outside folio, or before there was a journal",
            digests=_digests_of(client, name, champion),
        )
    return completed


def complete_interrupted(home: Path, client: mlflow.MlflowClient) -> Line | None:
    """Complete an interrupted change. Returns its line if the alias had been moved, else None.

    An unreadable pending file is set aside: the alias is authoritative, and `settle` records it.
    """
    path = pending_path(home)
    try:
        line = read_pending(path)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        print(
            f"{error}; set aside as {set_aside(path).name}: the champion is the one in "
            "the registry",
            file=sys.stderr,
        )
        return None
    if _crowned(client, line["model"]) != line["champion"]:
        path.unlink()
        return None
    _finish(home, client, line)
    return line


def read_pending(path: Path) -> Line:
    """The pending line. Raises FileNotFoundError or UnreadableError."""
    line = read_object(path)
    if not is_line(line) or not is_sealed(line):
        raise UnreadableError(f"{path}: not a journal line")
    return line


def _finish(home: Path, client: mlflow.MlflowClient, line: Line) -> None:
    journal = journal_of(home)
    if line not in journal.lines():
        journal.append(line)
    client.set_registered_model_tag(line["model"], HEAD, line[DIGEST])
    pending_path(home).unlink()


def _crowned(client: mlflow.MlflowClient, name: str) -> int | None:
    if not client.search_registered_models(f"name = '{name}'"):
        return None
    number = client.get_registered_model(name).aliases.get(CHAMPION)
    return None if number is None else int(number)


def digests(tags: Mapping[str, str]) -> dict[str, str]:
    """A version's digests of its package and of its artifacts."""
    return {
        key.removeprefix("folio.").removesuffix(".digest"): value
        for key, value in sorted(tags.items())
        if key in ("folio.package", "folio.files") or key.endswith(".digest")
    }


def _digests_of(client: mlflow.MlflowClient, name: str, version: int | None) -> dict[str, str]:
    if version is None:
        return {}
    return digests(client.get_model_version(name, str(version)).tags)


# By hand


def promote(home: Path, name: str, number: int, reason: str) -> Line:
    """Make a version champion, overriding the promotion gate. Returns its journal line.

    Raises FolioError if there is no such version or its files are missing.
    """
    with mlflow_at(home) as (_, client):
        version = _usable(asked(client, home, name), name, number)
        settle(home, client, name)
        lines = journal_of(home).lines(name)
        if lines and lines[-1]["champion"] == number:
            return lines[-1]
        line = record(
            home,
            client,
            name,
            action="promote",
            version=number,
            champion=number,
            reason=reason,
            digests=digests(version.tags),
        )
        if waits(version):
            client.set_model_version_tag(name, str(number), VERDICT_TAG, "promote")
        return line


def rollback(home: Path, name: str, reason: str) -> Line:
    """Make the previous champion the champion again. Returns its journal line.

    A rollback that was interrupted by a kill counts as this one. Raises FolioError if no previous
    champion is still registered.
    """
    with mlflow_at(home) as (_, client):
        known = asked(client, home, name)
        if not known:
            raise absent(name, None, [])
        completed = settle(home, client, name)
        if completed and (completed["model"], completed["action"]) == (name, "rollback"):
            return completed
        there = [one for one in known if one.folder is None or one.folder.is_dir()]
        target = rollback_target(there, name, reigns(journal_of(home).lines(name)))
        if target is None:
            raise FolioError(
                f"{name}: no previous champion is still registered; `folio models {name}` "
                f"lists the versions, `folio promote {name} VERSION` promotes one of them"
            )
        return record(
            home,
            client,
            name,
            action="rollback",
            version=target.number,
            champion=target.number,
            reason=reason,
            digests=digests(target.tags),
        )


def _usable(known: list[Version], name: str, number: int) -> Version:
    found = next((one for one in known if one.number == number), None)
    if found is None:
        raise absent(name, number, [one.number for one in known])
    if found.folder is not None and not found.folder.is_dir():
        raise FolioError(
            f"{name} version {number}: {found.folder} is missing, so it cannot be used; "
            "choose another"
        )
    return found


# Queries


def history(home: Path, name: str) -> list[Line]:
    """The journal's lines on a model, oldest first; raises FolioError if it is unknown."""
    _complete_if_interrupted(home)
    lines = journal_of(home).lines(name)
    if not lines and not versions(home, name):
        raise absent(name, None, [])
    return lines


def reigns_of(lines: Iterable[Line]) -> list[tuple[str, int | None]]:
    """(since when, the champion or None) of each change in a model's lines."""
    found: list[tuple[str, int | None]] = []
    for line in lines:
        if line["champion"] != (found[-1][1] if found else None):
            found.append((line["time"], line["champion"]))
    return found


def champion_at(home: Path, name: str, moment: datetime | None = None) -> Line | None:
    """The line that made a version champion at that time, or now; None if there is none."""
    lines = history(home, name)
    before = (
        lines
        if moment is None
        else [line for line in lines if line["time"] <= utc(moment.timestamp())]
    )
    if not before or before[-1]["champion"] is None:
        return None
    champion = before[-1]["champion"]
    return next(
        line
        for line, earlier in zip(reversed(before), [*reversed(before[:-1]), None], strict=True)
        if earlier is None or earlier["champion"] != champion
    )


def _complete_if_interrupted(home: Path) -> None:
    if os.path.lexists(pending_path(home)):
        with mlflow_at(home) as (_, client):
            complete_interrupted(home, client)
