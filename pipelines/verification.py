"""Proves that registry, journal and store still say what was written: what `folio verify` tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.candidate import registered_digest
from pipelines.champions import HEAD, digests, journal_of, mend
from pipelines.errors import UsageError
from pipelines.journal import DIGEST, Journal
from pipelines.sealed import leaks
from pipelines.store import Artifact, Progress, Store
from pipelines.versions import (
    CHAMPION,
    Version,
    asked,
    is_own,
    journal_path,
    mlflow_at,
    versions,
)

if TYPE_CHECKING:
    import mlflow

STAGES = ("source", "corpus", "tokens", "batches", "model", "metrics")


@dataclass(frozen=True)
class Verified:
    """What was looked at, and each thing that is wrong, in one line."""

    lines: int
    versions: int
    artifacts: int
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        return {"whole": not self.problems, **vars(self)}


def verify(home: Path, store: Path, progress: Progress, name: str | None = None) -> Verified:
    """Check the journal's chain; that aliases and versions are what it says; each version's files;
    and of those that serve, the artifacts they were made of and that none has seen test text.

    Of one model when `name` is given. Raises UsageError when it is not known.
    """
    journal = journal_of(home)
    known = versions(home, name)
    if name and not known and not journal.lines(name):
        raise UsageError(f"{name}: no version is registered; `folio models` lists what is")
    problems, artifacts = list(journal.problems()), Store(store)
    if known or journal.lines():
        with mlflow_at(home) as (_, client):
            mend(home, client)
            known = asked(client, name)
            problems += _heads(home, client, journal, name)
    for done, version in enumerate(known):
        progress(done, len(known), "versions checked")
        problems += _version(version, journal)
    seen: dict[Path, str | None] = {}
    for done, version in enumerate(one for one in known if one.aliases):
        progress(done, None, "lineages checked")
        problems += _lineage(version, artifacts, seen)
    return Verified(len(journal.lines(name)), len(known), len(seen), problems)


def _heads(home: Path, client: mlflow.MlflowClient, journal: Journal,
           name: str | None) -> Iterator[str]:
    """Whether each model's alias and the digest in the registry are those of its last line."""
    names = {line["model"] for line in journal.lines(name)}
    names |= {version.name for version in asked(client, name)}
    for model in sorted(names):
        lines = journal.lines(model)
        found = client.search_registered_models(f"name = '{model}'")
        if not found:
            yield f"{model}: the journal has it, the registry does not"
            continue
        registered = client.get_registered_model(model)
        number = registered.aliases.get(CHAMPION)
        told = lines[-1]["champion"] if lines else None
        if (None if number is None else int(number)) != told:
            yield (f"{model}: the champion is {_version_name(number)}, but {_version_name(told)} "
                   "by the journal: it was moved without folio")
        head = registered.tags.get(HEAD)
        if lines and head != lines[-1][DIGEST] and is_own(home):
            yield (f"{journal_path(home)}: its last line on {model} is not the one that the "
                   "registry knows: lines were taken from the end, or it was changed")


def _version_name(number: str | int | None) -> str:
    return "none" if number is None else f"version {number}"


def _version(version: Version, journal: Journal) -> Iterator[str]:
    """The files of a version, and what the journal says of it."""
    where = f"{version.name} version {version.number}"
    folder, noted = version.folder, version.tags.get("folio.files")
    if folder is not None and not folder.is_dir():
        yield f"{where}: its files are missing: {folder}"
    elif folder is not None and noted and registered_digest(folder) != noted:
        yield f"{where}: its files are not those that were registered: {folder}"
    told = [line for line in journal.lines(version.name) if line["version"] == version.number]
    now, then = digests(version.tags), told[-1].get("digests", {}) if told else {}
    changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
    if told and changed:
        yield (f"{where}: the digest of its {', '.join(changed)} is not that of line "
               f"{told[-1]['number']} of the journal")


def _lineage(version: Version, store: Store, seen: dict[Path, str | None]) -> Iterator[str]:
    """The artifacts that the version names, as far as the store has them."""
    where = f"{version.name} version {version.number}"
    found: dict[str, Artifact] = {}
    for stage in STAGES:
        key = version.tags.get(f"folio.{stage}.key", "")
        artifact = store.find(stage, key)
        if artifact is None:
            if harm := store.remains(stage, key):
                yield f"{where}: {stage} artifact {key[:12]}: {harm}"
            continue
        found[stage] = artifact
        if artifact.path not in seen:
            seen[artifact.path] = damage = store.damage(artifact)
            if damage:
                yield f"{where}: {stage} artifact {artifact.key[:12]}: {damage}"
        if artifact.digest != version.tags.get(f"folio.{stage}.digest"):
            yield f"{where}: {stage} artifact {artifact.key[:12]} is not the one it was made of"
    if not any(seen[artifact.path] for artifact in found.values()):
        yield from (f"{where}: {leak}" for leak in leaks(found))
