"""Commands about declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.app import app
from flows.cli.options import AsJson, answer, own_pipelines, writable
from flows.display import declarations as display

if TYPE_CHECKING:
    from pipelines.store.settings import Settings


@app.command()
def schema() -> None:
    """Print the JSON schema of a declaration, with which an editor completes and checks its keys.

    \b
    Examples:
      folio schema > schema.json      then, as the first line of a declaration beside it:
                                      # yaml-language-server: $schema=schema.json
    """
    from pipelines.declaration.schema.json_schema import schema as made
    from pipelines.declaration.schema.key_table import text_of

    sys.stdout.write(text_of(made()))


@app.command()
def add(
    declaration: Annotated[str, typer.Argument(metavar="FILE", help="the path of a YAML file")],
    as_json: AsJson = False,
) -> None:
    """Add a pipeline of your own to the home's catalog.

    It is then listed, run by its name, shown on the dashboard and scheduled by `folio up` like
    Folio's own. The catalog links to the file: change it where it is.

    \b
    Examples:
      folio add ./letters.yaml
      folio run letters
    """
    from pipelines.declaration.catalog import declaration_file
    from pipelines.upkeep.own_catalog import add

    here = writable()
    spec = add(declaration, here)
    added = {
        "pipeline": spec.name,
        "declaration": str(declaration_file(declaration)),
        "schedule": spec.schedule.model_dump() if spec.schedule else None,
        "deployed": _deployed(here),
    }
    answer(added, as_json, display.added)


@app.command()
def remove(
    name: Annotated[
        str, typer.Argument(help="a pipeline in the home's catalog", autocompletion=own_pipelines)
    ],
    as_json: AsJson = False,
) -> None:
    """Take a pipeline out of the home's catalog. Its file, artifacts and models stay.

    \b
    Examples:
      folio remove letters
    """
    from pipelines.registry.versions import versions
    from pipelines.upkeep.own_catalog import remove

    here = writable()
    file = remove(name)
    removed = {
        "pipeline": name,
        "declaration": str(file),
        "versions": len(versions(here.home, name)),
        "deployed": _deployed(here),
    }
    answer(removed, as_json, display.removed)


def _deployed(here: Settings) -> bool:
    """Brings the deployments up to date if `folio up` runs here."""
    from flows.services.up import state_of

    state = state_of(here.home)
    if not (state and state["ready"] and state["addresses"]["prefect"]):
        return False
    from flows.doctor.servers import reinstall

    reinstall(here, f"{state['addresses']['prefect']}/api")
    return True


def notice_unscheduled(pipelines: Iterable[str]) -> None:
    """Says that a schedule has no effect outside the catalogs."""
    from pipelines.declaration.catalog import declaration_file, is_path, own_names
    from pipelines.declaration.load import load_spec

    paths = [one for one in pipelines if is_path(one)]
    added = {declaration_file(name) for name in own_names()} if paths else set()
    for path in paths:
        spec = load_spec(path)
        if spec.schedule and declaration_file(path) not in added:
            print(f"{spec.name}: to run it on its schedule: folio add {path}", file=sys.stderr)
