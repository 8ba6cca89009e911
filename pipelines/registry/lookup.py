"""Looks up registered versions and their packages. Imports nothing heavy, not even MLflow as long
as the registry is the SQLite file of the home."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.errors import UnreadableError, UsageError
from pipelines.files.small_files import parse_object
from pipelines.registry.figures import Figures
from pipelines.registry.versions import CHALLENGER, CHAMPION, Version, champion_of, versions

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

PACKAGE = "package"  # the folder in the model with the package
PACKAGE_TAG = "folio.package"  # the digest of a version's files and requirements
VERDICT_TAG = "folio.verdict"
WAITS: Literal["waits"] = "waits"  # the verdict on a version that a person has to approve
NUMBER = (int, float)


def list_models(home: Path, name: str | None = None) -> list[dict[str, Any]]:
    """[{name, versions: [{version, aliases, metric, value, verdict, reason, baseline, mix, sample,
    evidence, created, mlflow_run}]}], oldest version first; of all models, or of one."""
    models: dict[str, list[dict[str, Any]]] = {}
    for version in versions(home, name):
        models.setdefault(version.name, []).append(_described(version))
    return [{"name": key, "versions": found} for key, found in models.items()]


def champions(home: Path) -> dict[str, dict[str, Any]]:
    """{name: its champion, described as in `list_models`}."""
    return {
        version.name: _described(version)
        for version in versions(home)
        if CHAMPION in version.aliases
    }


def figures_of(version: Version) -> Figures:
    """A version's description from its tags. Tags can be edited in MLflow's UI: a value that is not
    a number counts as not measured."""
    noted = object_in(version, "folio.figures")
    return Figures(
        {name: value for name, value in noted.items() if isinstance(value, NUMBER)},
        version.tags.get("folio.sample") == "true",
        version.number,
    )


def object_in(version: Version, tag: str, **keys: type | tuple[type, ...]) -> dict[str, Any]:
    """The JSON object in a tag, which must have `keys`; {} if there is none."""
    try:
        return parse_object(version.tags.get(tag, "").encode(), tag, **keys)
    except UnreadableError:
        return {}


def waits(version: Version) -> bool:
    """Whether it is the newest of its model and waits for approval. `promote` and `decline` change
    the verdict."""
    return version.tags.get(VERDICT_TAG) == WAITS and CHALLENGER in version.aliases


def waiting(home: Path, name: str) -> int | None:
    """The version of a model that waits for approval, if any."""
    return next((one.number for one in versions(home, name) if waits(one)), None)


def how_to_approve(name: str, number: int) -> str:
    return f"waits for approval: folio promote {name} {number}"


def unchanged(artifact: Artifact, home: Path) -> str:
    """Of an artifact that is reused, in words: a release may still wait for approval."""
    if artifact.counts.get("verdict") != WAITS:
        return "nothing changed"
    name, version = artifact.manifest["config"]["name"], artifact.counts["version"]
    if waiting(home, name) != version:
        return "nothing changed"
    return f"nothing changed; version {version} {how_to_approve(name, version)}"


def _described(version: Version) -> dict[str, Any]:
    figures, metric = figures_of(version), version.tags.get("folio.metric")
    return {
        "version": version.number,
        "aliases": list(version.aliases),
        "metric": metric,
        "value": figures.value(metric) if metric else None,
        "verdict": version.tags.get(VERDICT_TAG),
        "waits": waits(version),
        "reason": version.tags.get("folio.reason"),
        "baseline": version.tags.get("folio.baseline"),
        "mix": version.tags.get("folio.mix"),
        "sample": figures.sample,
        "evidence": object_in(version, "folio.evidence", effect=NUMBER, low=NUMBER, high=NUMBER)
        or None,
        "created": version.created,
        "mlflow_run": version.run,
    }


def unregistered(release: Artifact, known: Iterable[Version]) -> str | None:
    """Why the registry does not have exactly the version that a release artifact records; None if
    it does. In a lost, restored or different registry, the number may belong to another model.

    Releases of earlier versions of Folio recorded only the number.
    """
    name, counts = release.manifest["config"].get("name"), release.counts
    number, package = counts.get("version"), counts.get("package")
    own = [one for one in known if one.name == name]
    found = next((one for one in own if one.number == number), None)
    alike = [one.number for one in own if package and one.tags.get(PACKAGE_TAG) == package]
    if found is None:
        return (
            f"this registry has this package of {name} as version {alike[-1]}, not {number}"
            if alike
            else f"this registry has no version of this package of {name}"
        )
    if package and number not in alike:
        return f"version {number} of {name} is another model in this registry"
    if package and found.created != counts.get("registered"):
        return (
            f"version {number} of {name} was registered in this registry by another release, "
            f"at {found.created}"
        )
    if found.folder is not None and not found.folder.is_dir():
        return f"the files of {name} version {number} are missing: {found.folder}"
    return None


def named_version(home: Path, name: str, version: int | None = None) -> Version:
    """The champion, or a version. Raises FolioError if there is none."""
    known = versions(home, name)
    if version is None:
        found = champion_of(known)
    else:
        found = next((one for one in known if one.number == version), None)
    if found is None:
        held = next((one for one in known if version is None and waits(one)), None)
        if held:
            how = how_to_approve(name, held.number)
            raise UsageError(f"{name}: no version is champion; version {held.number} {how}")
        raise absent(name, version, [one.number for one in known])
    return found


def absent(name: str, version: int | None, known: list[int]) -> UsageError:
    """Why there is no such version (None: no champion), of those `known`, and what to do."""
    if not known:
        return UsageError(f"{name}: no model is registered; train one with: folio run {name}")
    numbers = ", ".join(map(str, known))
    if version is not None:
        return UsageError(f"{name}: there is no version {version}; registered: {numbers}")
    return UsageError(
        f"{name}: no version is champion (registered: {numbers}); name one with --version, or "
        f"train another with: folio run {name}"
    )
