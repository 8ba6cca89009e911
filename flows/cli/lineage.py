"""Commands that trace, compare, reproduce and report on models."""

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
    typer.Argument(metavar="WHAT", help="NAME@VERSION, NAME@champion, a run, or a prefix of a key"),
]


@app.command()
def lineage(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="WHAT", help="NAME@VERSION, NAME@champion, a run, or a prefix of a key"
        ),
    ] = None,
    of: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="trace forward from a raw file (path or name), a SHA-256 or a key"
        ),
    ] = None,
    svg: Annotated[Path | None, typer.Option(help="also write the drawing to this file")] = None,
    as_json: AsJson = False,
) -> None:
    """Trace a model back to its files, or a file to its models.

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
        raise UsageError("give either something to trace back, such as imdb@champion, or --of FILE")
    if svg is not None:
        title = f"what {document['name']} was made from" if what else f"what was made from {of}"
        with users_files(svg):
            svg.write_text(picture(graph, artifacts, title, alone=True) + "\n", encoding="utf-8")
    answer(document, as_json, display_lineage.lineage if what else display_lineage.eaten)


@app.command()
def diff(old: Named, new: Named, as_json: AsJson = False) -> None:
    """Compare two runs: settings, code, data, artifacts, metrics.

    \b
    Examples:
      folio diff 20261123-031500-imdb-11aa latest
      folio diff imdb@2 imdb@champion
    """
    from pipelines.audit.difference import difference
    from pipelines.registry.references import resolve

    here = settings()
    before, after = resolve(old, here), resolve(new, here)
    if before.pipeline and after.pipeline and before.pipeline != after.pipeline:
        raise UsageError(
            f"{before.name} is of {before.pipeline}, {after.name} of {after.pipeline}: folio diff "
            "compares runs and versions of one pipeline"
        )
    found = difference(before.manifests(here), after.manifests(here))
    answer({"old": before.name, "new": after.name, **found}, as_json, display_lineage.difference)


@app.command()
def reproduce(
    what: Named,
    until: Annotated[
        str,
        typer.Option(metavar="STAGE", help="the last stage to rebuild", autocompletion=stage_names),
    ] = "metrics",
    into: Annotated[
        Path | None,
        typer.Option(
            help="keep the rebuilt artifacts in this folder (default: a temporary folder)"
        ),
    ] = None,
    mirror: Mirror = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    """Rebuild a version and check that it is byte-identical.

    The model is retrained. The exit code is 0 if every byte is identical, else 1.

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
        Path | None,
        typer.Option(metavar="FILE", help="also print it to this PDF file, with Chromium"),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="open it in a browser")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the path of a run's report, a self-contained HTML page.

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
        with users_files("/"):  # files saved from the browser belong to its user
            typer.launch(str(page))
    answer({"report": str(page), "pdf": str(pdf) if pdf else None}, as_json, display_lineage.report)
