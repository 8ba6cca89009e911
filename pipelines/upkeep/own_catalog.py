"""Puts declarations into the home's catalog, and takes them out."""

from __future__ import annotations

from pathlib import Path

from pipelines.declaration.catalog import (
    ENDING,
    declaration_file,
    is_path,
    own_catalog,
    own_names,
    shipped_names,
)
from pipelines.declaration.load import load_spec, profile_names
from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError, did_you_mean
from pipelines.files.home import made
from pipelines.run.namesake import refuse_namesake
from pipelines.run.plan import own_code
from pipelines.run.upstream import chain
from pipelines.stages import STAGES
from pipelines.store.settings import Settings


def add(declaration: str, settings: Settings) -> Spec:
    """Link a declaration into the home's catalog, once it is valid in all profiles.

    Raises UsageError if it is not, or if its name belongs to another pipeline.
    """
    if not is_path(declaration):
        raise UsageError(
            f"{declaration}: give the path of a YAML file, such as ./{declaration}{ENDING}"
        )
    spec, file = load_spec(declaration), declaration_file(declaration)
    for profile in profile_names(declaration):
        load_spec(declaration, profile)
    if spec.schedule:
        load_spec(declaration, spec.schedule.profile)
    chain(declaration)  # refuses a circle
    for stage in STAGES:
        own_code(stage, spec)  # refuses a module that is not there
    _refuse_taken(spec.name, file)
    refuse_namesake(declaration, settings)
    link = made(own_catalog()) / f"{spec.name}{ENDING}"
    if spec.name not in own_names():
        link.symlink_to(file)
    return spec


def _refuse_taken(name: str, file: Path) -> None:
    if name in shipped_names():
        raise UsageError(
            f"{file}: the name {name} belongs to a pipeline of Folio; declare another name in it, "
            f"such as `name: my-{name}`"
        )
    if name in own_names() and (there := declaration_file(name)) != file:
        raise UsageError(
            f"{file}: the name {name} is in the catalog already, for {there}; declare another "
            f"name, such as `name: {name}-2`, or run: folio remove {name}"
        )


def remove(name: str) -> Path:
    """Take a pipeline out of the home's catalog. Its declaration, artifacts and models stay.

    Returns where the declaration is. Raises UsageError if it is not there.
    """
    own = own_names()
    if name not in own:
        why = (
            "is part of Folio"
            if name in shipped_names()
            else f"is not in the home's catalog{did_you_mean(name, own)}"
        )
        raise UsageError(f"{name} {why}; added there: {', '.join(own) or 'none'}")
    link = own_catalog() / f"{name}{ENDING}"
    file = link.resolve()
    link.unlink()
    return file
