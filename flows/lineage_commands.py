"""The commands that tell what was made from what, what changed, and whether it can be made again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows import display_lineage
from flows.app import app
from flows.options import AsJson, answer, settings
from pipelines.errors import UsageError

Named = Annotated[str, typer.Argument(
    metavar="WHAT", help="NAME@VERSION, NAME@champion, a run, or the beginning of a key")]


@app.command()
def lineage(what: Annotated[str | None, typer.Argument(
                metavar="WHAT", help="NAME@VERSION, NAME@champion, a run, or the beginning of a "
                "key")] = None,
            of: Annotated[str | None, typer.Option(
                metavar="FILE", help="what became of a raw file (its path or name), of a SHA-256 "
                "or of a key")] = None,
            svg: Annotated[Path | None, typer.Option(
                help="write the drawing to this file as well")] = None,
            as_json: AsJson = False) -> None:
    """From a model to the bytes it came from, and back, read from the manifests alone.

    \b
    Examples:
      folio lineage imdb@champion
      folio lineage 20261124-031500-imdb-5f0c --svg lineage.svg
      folio lineage --of shakespeare.txt
    """
    from pipelines.lineage_svg import picture
    from pipelines.provenance import became_of, came_from

    if (what is None) == (of is None):
        raise UsageError("say either what to trace back, such as imdb@champion, or --of FILE")
    if what is not None:
        document, graph, artifacts = came_from(what, settings())
    else:
        document, graph, artifacts = became_of(of, settings())
    if svg is not None:
        title = f"what {document['name']} was made from" if what else f"what was made from {of}"
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
    from pipelines.difference import difference
    from pipelines.references import resolve

    here = settings()
    before, after = resolve(old, here), resolve(new, here)
    found = difference(before.manifests(here), after.manifests(here))
    answer({"old": before.name, "new": after.name, **found}, as_json, display_lineage.difference)
