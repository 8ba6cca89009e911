"""Resolves what a user names: a version of a model, a run, or an artifact by its key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import UsageError
from pipelines.registry.versions import Version, versions
from pipelines.stages import NAMES
from pipelines.store.settings import Settings

PREFIX = re.compile(r"[0-9a-f]{4,64}")
FORMS = "NAME@VERSION, NAME@champion, a run, or a prefix of an artifact's key"


@dataclass(frozen=True)
class Reference:
    """The named object with a readable name, and its artifacts by stage."""

    kind: Literal["version", "run", "artifact"]
    name: str
    keys: dict[str, str]
    digests: dict[str, str] = field(default_factory=dict)  # of the content, if it is known
    version: Version | None = None
    record: dict[str, Any] | None = None

    @property
    def pipeline(self) -> str | None:
        """None for an artifact, which several pipelines may share."""
        if self.version is not None:
            return self.version.name
        return self.record["pipeline"] if self.record else None

    def manifests(self, settings: Settings) -> dict[str, dict[str, Any] | None]:
        """{stage: its manifest, or None if the artifact is gone}, upstream first."""
        found = {
            stage: settings.store.find(stage, self.keys[stage])
            for stage in NAMES
            if stage in self.keys
        }
        return {stage: one.manifest if one else None for stage, one in found.items()}


def resolve(text: str, settings: Settings) -> Reference:
    """What `text` names. Raises UsageError if that is nothing, or several things."""
    name, at, which = text.partition("@")
    if at:
        return _of_version(name, which, settings.home)
    artifacts = _with_prefix(text, settings.store.root)
    if artifacts:
        return _of_artifact(text, artifacts)
    if text == "latest" or any(record["run"].startswith(text) for record in settings.runs):
        return of_run(settings.runs.get(text))
    if versions(settings.home, text):
        return _of_version(text, "champion", settings.home)
    raise UsageError(f"{text}: not found; give {FORMS} (`folio runs` and `folio models` list them)")


def of_run(record: dict[str, Any]) -> Reference:
    keys = {entry["stage"]: entry["key"] for entry in record["stages"] if entry["key"]}
    return Reference("run", record["run"], keys, record=record)


def of_version(version: Version) -> Reference:
    """By its tags, which name every earlier stage."""
    noted: dict[str, dict[str, str]] = {"key": {}, "digest": {}}
    for tag, value in version.tags.items():
        stage, _, what = tag.removeprefix("folio.").rpartition(".")
        if stage in NAMES and what in noted:
            noted[what][stage] = value
    return Reference(
        "version",
        f"{version.name} version {version.number}",
        noted["key"],
        noted["digest"],
        version=version,
    )


def _of_version(name: str, which: str, home: Path) -> Reference:
    """The version with that number or that alias."""
    known = versions(home, name)
    if not known:
        raise UsageError(
            f"{name}@{which}: no model {name} is registered; `folio models` lists them"
        )
    found = [one for one in known if which == str(one.number) or which in one.aliases]
    if not found:
        there = ", ".join(
            f"{one.number} ({', '.join(one.aliases)})" if one.aliases else str(one.number)
            for one in known
        )
        raise UsageError(f"{name}@{which}: there is no such version; registered: {there}")
    return of_version(found[0])


def _with_prefix(text: str, root: Path) -> list[tuple[str, str]]:
    """(stage, key) of the artifacts whose keys start like this."""
    if not PREFIX.fullmatch(text):
        return []
    return sorted((path.parent.name, path.name) for path in root.glob(f"[!.]*/{text}*"))


def _of_artifact(text: str, found: Iterable[tuple[str, str]]) -> Reference:
    (stage, key), *others = found
    if others:
        listed = ", ".join(f"{stage} {key[:16]}" for stage, key in found)
        raise UsageError(
            f"{text}: several artifacts' keys start like this: {listed}; give a longer prefix"
        )
    return Reference("artifact", f"{stage} {key[:12]}", {stage: key})
