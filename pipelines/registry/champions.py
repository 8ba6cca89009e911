"""Who is champion: the registry's alias and the journal, moved together or not at all.

What is about to happen is noted in `journal.pending.json` first; then the alias moves, which is
what counts; then the line is appended. Whoever comes after a kill in between finds the note: an
alias that had moved gets its line, one that had not leaves no trace.
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
from pipelines.registry.lookup import absent
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

HEAD = "folio.journal"  # the tag of a registered model: the digest of its last line
FOUND = "found"  # the action of a line about an alias that was moved elsewhere


def journal_of(home: Path) -> Journal:
    return Journal(journal_path(home))


def pending_path(home: Path) -> Path:
    """The note of what is about to happen."""
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
    """Bring alias and journal of a model to agree before it is changed: what a kill cut off is
    ended, what was moved elsewhere is written down. Returns the line that a kill had cut off."""
    mended = mend(home, client)
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
            reason="moved without folio, or before there was a journal",
            digests=_digests_of(client, name, champion),
        )
    return mended


def mend(home: Path, client: mlflow.MlflowClient) -> Line | None:
    """End what a kill cut off. Returns its line if the alias had moved, else None.

    A note that cannot be read is set aside: the alias is what counts, and `settle` writes down
    where it is.
    """
    path = pending_path(home)
    try:
        line = read_pending(path)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        print(
            f"{error}; set aside as {set_aside(path).name}: the champion is the one that the "
            "registry names",
            file=sys.stderr,
        )
        return None
    if _crowned(client, line["model"]) != line["champion"]:
        path.unlink()
        return None
    _finish(home, client, line)
    return line


def read_pending(path: Path) -> Line:
    """The line that was about to be written. Raises FileNotFoundError or UnreadableError."""
    line = read_object(path)
    if not is_line(line) or not is_sealed(line):
        raise UnreadableError(f"{path}: not the line of a journal")
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
    """What a version says of its package and of the stages above it."""
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
    """Make a version champion, whatever the gate said. Returns the journal's line on it.

    Raises FolioError when there is no such version or its files are gone.
    """
    with mlflow_at(home) as (_, client):
        version = _usable(asked(client, name), name, number)
        settle(home, client, name)
        lines = journal_of(home).lines(name)
        if lines and lines[-1]["champion"] == number:
            return lines[-1]
        return record(
            home,
            client,
            name,
            action="promote",
            version=number,
            champion=number,
            reason=reason,
            digests=digests(version.tags),
        )


def rollback(home: Path, name: str, reason: str) -> Line:
    """Make the former champion champion again. Returns the journal's line on it.

    A rollback that a kill cut off counts as this one. Raises FolioError when there is no former
    champion that is still registered.
    """
    with mlflow_at(home) as (_, client):
        known = asked(client, name)
        if not known:
            raise FolioError(absent(name, None, []))
        mended = settle(home, client, name)
        if mended and (mended["model"], mended["action"]) == (name, "rollback"):
            return mended
        there = [one for one in known if one.folder is None or one.folder.is_dir()]
        target = rollback_target(there, name, reigns(journal_of(home).lines(name)))
        if target is None:
            raise FolioError(
                f"{name}: the champion has no former one that is still registered; "
                f"`folio models {name}` lists the versions, `folio promote {name} "
                "VERSION` takes one of them"
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
        raise FolioError(absent(name, number, [one.number for one in known]))
    if found.folder is not None and not found.folder.is_dir():
        raise FolioError(
            f"{name} version {number}: {found.folder} is missing, so it cannot serve; "
            "choose another"
        )
    return found


# Asking


def history(home: Path, name: str) -> list[Line]:
    """The journal's lines on a model, oldest first; raises FolioError when it is not known."""
    _mend_if_needed(home)
    lines = journal_of(home).lines(name)
    if not lines and not versions(home, name):
        raise FolioError(absent(name, None, []))
    return lines


def reigns_of(lines: Iterable[Line]) -> list[tuple[str, int | None]]:
    """(since when, the champion or None) of each change that a model's lines tell of."""
    found: list[tuple[str, int | None]] = []
    for line in lines:
        if line["champion"] != (found[-1][1] if found else None):
            found.append((line["time"], line["champion"]))
    return found


def champion_at(home: Path, name: str, moment: datetime | None = None) -> Line | None:
    """The line by which a version was champion at that time, or is now; None: there is none."""
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


def _mend_if_needed(home: Path) -> None:
    if os.path.lexists(pending_path(home)):
        with mlflow_at(home) as (_, client):
            mend(home, client)
