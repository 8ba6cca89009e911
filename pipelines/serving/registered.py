"""The package of a registered version, its files checked against the registry."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import FolioError
from pipelines.files.digests import digest_file, digest_json
from pipelines.registry.lookup import PACKAGE, named_version
from pipelines.registry.versions import Version, fetched


def load_champion(home: Path, name: str, version: int | None = None) -> Path:
    """The package folder of the champion, or of a version, for `Predictor.load`.

    Raises FolioError if there is none.
    """
    return package_of(home, named_version(home, name, version))


def package_of(home: Path, version: Version) -> Path:
    """The package folder of a version. Raises FolioError if it is missing, or its files are not
    those that were registered (earlier versions of Folio did not record these)."""
    from pipelines.serving.package import altered

    folder = fetched(home, version)
    package, noted = folder / "data" / PACKAGE, version.tags.get("folio.files")
    which = f"{version.name} version {version.number}"
    if not package.is_dir():
        raise FolioError(
            f"{which}: {package} is missing; register it again with: folio run "
            f"{version.name} --only release"
        )
    if noted and registered_digest(folder) != noted:
        cause = altered(package)  # unknown for a package without digests, and for its code
        why, again = (
            f" ({cause})" if cause else "",
            (
                f"folio rollback {version.name}, or move that folder away and register it "
                f"again with: folio run {version.name} --only release"
                if version.folder
                else "delete that folder, and it is fetched again"
            ),
        )
        raise FolioError(
            f"{which}: its files are not those that were registered{why}: {folder}; {again}"
        )
    return package


def registered_digest(folder: Path) -> str:
    """The value of `folio.files`, from the files that MLflow keeps of a version in `folder`."""
    kept = {
        f"{ours}/{name}": digest
        for ours, theirs in ((PACKAGE, f"data/{PACKAGE}"), ("code", "code"))
        for name, digest in digests_in(folder / theirs).items()
        if "__pycache__" not in name
    }
    return digest_json(kept)


def digests_in(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
