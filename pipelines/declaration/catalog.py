"""Where declarations are: in Folio's own catalog, in that of the home, or anywhere else.

The home's catalog, `catalog/` in it, has links to the declarations that `folio add` was given. So
there is one file, which is changed where it is, and what it names is beside it.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import UsageError, did_you_mean
from pipelines.files.home import PROJECT, home_folder
from pipelines.files.names import refuse_not_utf8

CATALOG = PROJECT / "pipelines" / "catalog"
ENDING = ".yaml"


def shipped_names() -> list[str]:
    """The pipelines that are part of Folio."""
    return sorted(path.stem for path in CATALOG.glob(f"*{ENDING}"))


def own_catalog() -> Path:
    """The home's catalog, a folder that need not exist."""
    return home_folder() / "catalog"


def own_names() -> list[str]:
    """The pipelines in the home's catalog."""
    try:
        found = [path.stem for path in own_catalog().glob(f"[!.]*{ENDING}")]
    except OSError:  # there is none, or it is not readable
        return []
    return sorted(set(found) - set(shipped_names()))


def catalog_names() -> list[str]:
    """Folio's own pipelines, then those of the home."""
    return [*shipped_names(), *own_names()]


def is_path(pipeline: str) -> bool:
    return pipeline.endswith((ENDING, ".yml")) or "/" in pipeline


def is_file(path: Path) -> bool:
    """Whether a file exists at any given path: too long a name, or a folder without permission, has
    none."""
    try:
        return path.is_file()
    except OSError:
        return False


def declaration_file(pipeline: str) -> Path:
    """The file of a pipeline that is given by its name or by a path."""
    if is_path(pipeline):
        path = Path(pipeline)
        if not is_file(path):
            raise UsageError(f"{pipeline}: no such declaration; give the path of a YAML file")
        refuse_not_utf8(found := path.resolve(), "declaration")
        return found
    path = CATALOG / f"{pipeline}{ENDING}"
    if is_file(path):
        return path
    if pipeline in own_names():
        return _linked(pipeline)
    known = catalog_names()
    raise UsageError(
        f"unknown pipeline {pipeline!r}{did_you_mean(pipeline, known)}; "
        f"known: {', '.join(known)}, or the path of a YAML file"
    )


def _linked(name: str) -> Path:
    link = own_catalog() / f"{name}{ENDING}"
    if not is_file(link):
        raise UsageError(
            f"{link}: the declaration that it links to, {link.resolve()}, is gone; put it back, "
            f"or run: folio remove {name}"
        )
    return link.resolve()
