"""Checks that registry, journal and store are consistent and unchanged: `folio verify`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.audit.leaks import leaks
from pipelines.errors import UnreadableError, UsageError
from pipelines.registry.champions import HEAD, complete_interrupted, digests, journal_of
from pipelines.registry.journal import DIGEST, Line
from pipelines.registry.lookup import unregistered
from pipelines.registry.mlflow_access import is_own, mlflow_at
from pipelines.registry.versions import CHAMPION, Version, asked, journal_path, versions
from pipelines.serving.registered import registered_digest
from pipelines.store.artifacts import Artifact, Progress, Store
from pipelines.store.lineage import Graph, stored
from pipelines.store.run_records import Record, Runs

if TYPE_CHECKING:
    import mlflow

STAGES = ("source", "corpus", "start", "tokens", "batches", "model", "mix", "metrics")


@dataclass(frozen=True)
class Verified:
    """What was checked, and one line for each problem."""

    lines: int
    versions: int
    artifacts: int
    problems: list[str]

    def as_json(self) -> dict[str, Any]:
        return {"whole": not self.problems, **vars(self)}


def verify(home: Path, store: Path, progress: Progress, name: str | None = None) -> Verified:
    """Check the journal's chain; that aliases and versions match it; each version's files; that
    what the runs released is registered; and for those in use, the artifacts they were made of and
    that none has used test text.

    Only one model if `name` is given. Raises UsageError if it is unknown.
    """
    known, artifacts = versions(home, name), Store(store)
    lines, problems = _journal(home, name)
    released = list(_unregistered(home, artifacts, known, name))
    if name and not (known or lines or released):
        raise UsageError(
            f"{name}: no version is registered; `folio models` lists the registered models"
        )
    if known or lines:
        with mlflow_at(home) as (_, client):
            complete_interrupted(home, client)
            known = asked(client, home, name)
            lines, problems = _journal(home, name)
            if lines is not None:
                problems += _heads(home, client, lines, name)
    for done, version in enumerate(known):
        progress(done, len(known), "versions checked")
        problems += _version(version, lines or [])
    problems += released
    seen: dict[Path, str | None] = {}
    for done, version in enumerate(one for one in known if one.aliases):
        progress(done, None, "lineages checked")
        problems += _lineage(version, artifacts, seen)
    return Verified(len(lines or []), len(known), len(seen), problems)


def _journal(home: Path, name: str | None) -> tuple[list[Line] | None, list[str]]:
    """The lines on that model, or all, and the problems of the journal; None if it cannot be
    read."""
    journal = journal_of(home)
    try:
        return journal.lines(name), list(journal.problems())
    except UnreadableError as error:
        return None, [str(error)]


def _unregistered(
    home: Path, store: Store, known: list[Version], name: str | None
) -> Iterator[str]:
    """Which last releases of pipelines are missing in the home's registry, because it was lost or
    is an older copy."""
    last: dict[str, Record] = {}
    for record in Runs(home / "runs") if is_own(home) else ():
        if record["version"] is not None and name in (None, record["pipeline"]):
            last.setdefault(record["pipeline"], record)
    for pipeline, record in sorted(last.items()):
        keys = {entry["stage"]: entry["key"] for entry in record["stages"]}
        artifact = store.find("release", keys.get("release") or "")
        if artifact is not None and (why := unregistered(artifact, known)):
            yield (
                f"{pipeline}: run {record['run']} registered version {record['version']}, but "
                f"{why}; register it again with: folio run {pipeline}"
            )


def _heads(
    home: Path, client: mlflow.MlflowClient, journal: list[Line], name: str | None
) -> Iterator[str]:
    """Whether each model's alias and the digest in the registry match its last line."""
    names = {line["model"] for line in journal}
    names |= {version.name for version in asked(client, home, name)}
    for model in sorted(names):
        lines = [line for line in journal if line["model"] == model]
        found = client.search_registered_models(f"name = '{model}'")
        if not found:
            yield f"{model}: it is in the journal but not in the registry"
            continue
        registered = client.get_registered_model(model)
        number = registered.aliases.get(CHAMPION)
        journalled = lines[-1]["champion"] if lines else None
        if (None if number is None else int(number)) != journalled:
            yield (
                f"{model}: the champion is {_version_name(number)}, but "
                f"{_version_name(journalled)} in the journal: it was moved outside folio"
            )
        head = registered.tags.get(HEAD)
        if lines and head != lines[-1][DIGEST] and is_own(home):
            yield (
                f"{journal_path(home)}: its last line on {model} does not match the "
                "registry: lines were removed from the end, or it was changed"
            )


def _version_name(number: str | int | None) -> str:
    return "none" if number is None else f"version {number}"


def _version(version: Version, lines: list[Line]) -> Iterator[str]:
    """The files of a version, and what the journal says about it."""
    where = f"{version.name} version {version.number}"
    folder, noted = version.folder, version.tags.get("folio.files")
    if folder is not None and not folder.is_dir():
        yield f"{where}: its files are missing: {folder}"
    elif folder is not None and noted and registered_digest(folder) != noted:
        yield f"{where}: its files are not those that were registered: {folder}"
    recorded = [
        line for line in lines if (line["model"], line["version"]) == (version.name, version.number)
    ]
    now, then = digests(version.tags), recorded[-1].get("digests", {}) if recorded else {}
    changed = sorted(key for key in now.keys() | then.keys() if now.get(key) != then.get(key))
    if recorded and changed:
        yield (
            f"{where}: the digest of its {', '.join(changed)} differs from line "
            f"{recorded[-1]['number']} of the journal"
        )


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
            yield f"{where}: {stage} artifact {artifact.key[:12]} is not the one it was made from"
    if not any(seen[artifact.path] for artifact in found.values()):
        yield from (f"{where}: {leak}" for leak in leaks(found, _upstream(found, store)))


def _upstream(found: Mapping[str, Artifact], store: Store) -> list[Artifact]:
    """The corpora of the models that these artifacts started from."""
    if "start" not in found:
        return []
    above = Graph(stored(store)).above([found["start"]], upstream=True)
    return [one for one in above if one.stage == "corpus"]
