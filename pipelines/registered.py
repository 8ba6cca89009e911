"""Asks which versions are registered, and where their packages are. Nothing heavy is imported: as
long as the registry is the SQLite file of the home, not even MLflow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError
from pipelines.promotion import Figures
from pipelines.versions import CHAMPION, Version, champion_of, fetched, versions

PACKAGE = "package"  # the folder in the model that inference reads


def list_models(home: Path, name: str | None = None) -> list[dict[str, Any]]:
    """[{name, versions: [{version, aliases, metric, value, verdict, reason, sample, evidence,
    created}]}], oldest version first; of all models, or of one."""
    models: dict[str, list[dict[str, Any]]] = {}
    for version in versions(home, name):
        models.setdefault(version.name, []).append(_described(version))
    return [{"name": key, "versions": found} for key, found in models.items()]


def champions(home: Path) -> dict[str, dict[str, Any]]:
    """{name: its champion, described as in `list_models`}."""
    return {version.name: _described(version) for version in versions(home)
            if CHAMPION in version.aliases}


def figures_of(version: Version) -> Figures:
    """What a version says of itself."""
    return Figures(json.loads(version.tags.get("folio.figures", "{}")),
                   version.tags.get("folio.sample") == "true", version.number)


def _described(version: Version) -> dict[str, Any]:
    figures, metric = figures_of(version), version.tags.get("folio.metric")
    return {"version": version.number, "aliases": list(version.aliases), "metric": metric,
            "value": figures.value(metric) if metric else None,
            "verdict": version.tags.get("folio.verdict"),
            "reason": version.tags.get("folio.reason"), "sample": figures.sample,
            "evidence": json.loads(version.tags.get("folio.evidence", "null")),
            "created": version.created}


def is_registered(home: Path, name: str, version: int) -> bool:
    """Whether a version is there, and its files where they are on this machine."""
    return any(found.number == version and (found.folder is None or found.folder.is_dir())
               for found in versions(home, name))


def load_champion(home: Path, name: str, version: int | None = None) -> Path:
    """The package folder of the champion, or of a version, for `inference.Predictor.load`.

    Raises FolioError when there is none.
    """
    return package_of(home, named_version(home, name, version))


def named_version(home: Path, name: str, version: int | None = None) -> Version:
    """The champion, or a version. Raises FolioError when there is none."""
    known = versions(home, name)
    if version is None:
        found = champion_of(known)
    else:
        found = next((one for one in known if one.number == version), None)
    if found is None:
        raise FolioError(absent(name, version, [one.number for one in known]))
    return found


def package_of(home: Path, version: Version) -> Path:
    """The package folder of a version. Raises FolioError when it is gone, or its files are not
    those that were registered (versions of earlier Folios do not say which those were)."""
    from pipelines.candidate import registered_digest
    from pipelines.package import altered

    folder = fetched(home, version)
    package, noted = folder / "data" / PACKAGE, version.tags.get("folio.files")
    which = f"{version.name} version {version.number}"
    if not package.is_dir():
        raise FolioError(f"{which}: {package} is missing; release it again with: "
                         f"folio run {version.name} --only release")
    if noted and registered_digest(folder) != noted:
        cause = altered(package)  # unknown of a package that was not sealed, and of its code
        why, again = f" ({cause})" if cause else "", (
            f"folio rollback {version.name}, or move that away and release it again with: "
            f"folio run {version.name} --only release" if version.folder else
            "delete that, and it is fetched again")
        raise FolioError(f"{which}: its files are not those that were registered{why}: {folder}; "
                         f"{again}")
    return package


def absent(name: str, version: int | None, known: list[int]) -> str:
    """Why there is no such version (None: no champion), of those `known`, and what to do."""
    if not known:
        return f"{name}: no model is registered; train one with: folio run {name}"
    numbers = ", ".join(map(str, known))
    if version is not None:
        return f"{name}: there is no version {version}; registered: {numbers}"
    return (f"{name}: no version is champion (registered: {numbers}); name one with --version, or "
            f"train another with: folio run {name}")
