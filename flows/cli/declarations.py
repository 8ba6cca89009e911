"""Commands about declarations."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.app import app
from flows.cli.options import (
    AsJson,
    Mirror,
    Name,
    Offline,
    Overrides,
    Profile,
    answer,
    overridden,
    own_pipelines,
    settings,
    writable,
)
from flows.display import declarations as display
from flows.display import inspection as inspected
from pipelines.errors import UsageError
from pipelines.files.home import users_files

if TYPE_CHECKING:
    from pipelines.declaration.spec import Spec
    from pipelines.store.artifacts import Artifact
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
    from flows.services.up_state import state_of

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


@app.command()
def init(
    path: Annotated[
        Path,
        typer.Argument(
            help="CSV, JSON lines, Parquet, a text, a folder of texts, or a .zip of them"
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="the declaration", show_default="NAME.yaml here"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="replace an existing file")] = False,
    as_json: AsJson = False,
) -> None:
    """Look at your texts, and write a declaration for them that runs as it is.

    \b
    Examples:
      folio init mails.csv
      folio init novels.zip --out letters.yaml
      folio run ./mails.yaml --profile quick
    """
    from flows.display.console import Console
    from pipelines.inspection.proposal import Proposal

    if out is not None and out.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--out {out}: give a name that ends in .yaml")
    with Console() as console:
        proposal = Proposal.of(path.expanduser(), console.progress("init"))
    file = out or Path(f"{proposal.name}.yaml")
    text = proposal.text(file)
    _agree(file, yes)
    with users_files(file):
        file.write_text(text, encoding="utf-8")
    shown = str(file) if "/" in str(file) else f"./{file}"
    answer(proposal.seen() | {"file": shown, "declaration": text}, as_json, inspected.seen)


def _agree(file: Path, yes: bool) -> None:
    """Raises UsageError unless the file may be written."""
    if yes or not file.exists():
        return
    try:
        agreed = typer.confirm(f"{file} exists; replace it?", err=True)
    except typer.Abort:  # nobody is there to answer
        agreed = False
    if not agreed:
        raise UsageError(f"{file} exists and stays as it is; --yes replaces it, or give --out")


@app.command()
def check(
    name: Name,
    profile: Profile = "full",
    overrides: Overrides = None,
    mirror: Mirror = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Read a pipeline's source, and name everything that is wrong with it at once.

    Nothing is trained or registered. A source with an address is fetched as a run would. The exit
    code is 1 if something would stop a run.

    \b
    Examples:
      folio check ./mails.yaml
      folio check imdb --profile quick --mirror /srv/texts
    """
    from tempfile import TemporaryDirectory

    from flows.display.console import Console
    from pipelines.declaration.load import load_spec
    from pipelines.inspection.check import check as checked

    spec = load_spec(name, profile, overridden(overrides, None))
    with Console() as console, TemporaryDirectory(prefix="folio-check-") as scratch:
        here = settings(mirror=mirror, offline=offline, progress=console.progress)
        report = checked(_source(spec, here), spec, Path(scratch), console.progress("check"))
    found = {"pipeline": spec.name, "profile": profile, **report.as_json()}
    answer(found, as_json, inspected.checked)
    raise typer.Exit(not report.usable)


def _source(spec: Spec, here: Settings) -> Artifact:
    """The user's own files where they are; anything else as the source stage fetches it."""
    from pipelines.inspection.material import local_source
    from pipelines.run.execute import execute_stage
    from pipelines.source.own_folders import refuse_own_folders
    from pipelines.stages import stage_named

    if spec.source.path:
        refuse_own_folders(Path(spec.source.path), here)
        return local_source(Path(spec.source.path))
    return execute_stage(stage_named("source"), spec, {}, here).artifact
