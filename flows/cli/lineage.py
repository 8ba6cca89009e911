"""The commands that tell where a model comes from, what changed, and whether it can be rebuilt."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from flows.cli.app import app
from flows.cli.options import AsJson, Mirror, Offline, answer, settings, stage_names
from flows.display import lineage as display_lineage
from pipelines.errors import UsageError
from pipelines.files.home import users_files

Named = Annotated[
    str,
    typer.Argument(
        metavar="WHAT", help="NAME@VERSION, NAME@champion, a run, or the beginning of a key"
    ),
]


@app.command()
def lineage(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="NAME@VERSION, NAME@champion, a run, or the beginning of a key"
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="what became of a raw file (its path or name), of a SHA-256 or of a key",
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="write the drawing to this file as well")] = None,
    as_json: AsJson = False,
) -> None:
    """From a model to the bytes it came from, and back, read from the manifests alone.

    \b
    Examples:
      folio lineage imdb@champion
      folio lineage 20261124-031500-imdb-5f0c --svg lineage.svg
      folio lineage --of shakespeare.txt
    """
    from pipelines.audit.provenance import became_of, came_from
    from pipelines.report.lineage_drawing import picture

    if what is not None and of is None:
        document, graph, artifacts = came_from(what, settings())
    elif of is not None and what is None:
        document, graph, artifacts = became_of(of, settings())
    else:
        raise UsageError("say either what to trace back, such as imdb@champion, or --of FILE")
    if svg is not None:
        title = f"what {document['name']} was made from" if what else f"what was made from {of}"
        with users_files(svg):
            svg.write_text(picture(graph, artifacts, title, alone=True) + "\n", encoding="utf-8")
    answer(document, as_json, display_lineage.lineage if what else display_lineage.eaten)


@app.command()
def diff(old: Named, new: Named, as_json: AsJson = False) -> None:
    """What changed between two runs: declaration, code, libraries, data, artifacts, metrics.

    \b
    Examples:
      folio diff 20261123-031500-imdb-11aa latest
      folio diff imdb@2 imdb@champion
    """
    from pipelines.audit.difference import difference
    from pipelines.registry.references import resolve

    here = settings()
    before, after = resolve(old, here), resolve(new, here)
    found = difference(before.manifests(here), after.manifests(here))
    answer({"old": before.name, "new": after.name, **found}, as_json, display_lineage.difference)


@app.command()
def reproduce(
    what: Named,
    until: Annotated[
        str,
        typer.Option(
            metavar="STAGE", help="the last stage that is made again", autocompletion=stage_names
        ),
    ] = "metrics",
    into: Annotated[
        Path | None, typer.Option(help="a folder to keep what is made; else it is thrown away")
    ] = None,
    mirror: Mirror = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Make a version once more from its manifests, and say whether every byte comes out the same.

    Exit code 0 when all do, 1 when one does not. The model is trained again.

    \b
    Examples:
      folio reproduce imdb@3
      folio reproduce imdb@champion --until batches
    """
    from flows.display.console import NATIVE_LOG, Console, native_notices_to
    from pipelines.audit.reproduction import reproduce as made_again
    from pipelines.registry.references import resolve
    from pipelines.stages import stage_named

    with ExitStack() as stack:
        folder = into or Path(stack.enter_context(TemporaryDirectory(prefix="folio-reproduce-")))
        stack.enter_context(native_notices_to(settings().home / NATIVE_LOG))
        console = stack.enter_context(Console())
        here = settings(mirror=mirror, offline=offline, progress=console.progress)
        last = stage_named(until).name
        found = made_again(resolve(what, here), here, folder, last, notice=console.notice)
    answer(
        {"asked": what, **found, "into": str(into) if into else None},
        as_json,
        display_lineage.reproduction,
    )
    raise typer.Exit(0 if found["agrees"] else 1)


@app.command()
def report(
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="a run, NAME@VERSION or NAME@champion")
    ] = "latest",
    pdf: Annotated[
        Path | None, typer.Option(metavar="FILE", help="print it to this file, with Chromium")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="show it in a browser")] = False,
    as_json: AsJson = False,
) -> None:
    """Where the report of a run is: a page that stands alone. Printed to PDF when asked.

    \b
    Examples:
      folio report
      folio report imdb@champion --pdf imdb.pdf
    """
    from pipelines.audit.find_report import print_pdf, report_of

    page = report_of(what, settings())
    if pdf is not None:
        with users_files(pdf):
            print_pdf(page, pdf)
    if show:
        with users_files("/"):  # what is saved from the browser is its user's
            typer.launch(str(page))
    answer({"report": str(page), "pdf": str(pdf) if pdf else None}, as_json, display_lineage.report)
