"""The typer application that the command modules add to."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Retrains small text models and tracks how every model was made.

\b
Examples:
  folio run shakespeare imdb --profile quick     retrain two pipelines
  folio plan imdb                                what would run, and why
  folio predict imdb "A film to remember."       classify a text with the champion
  folio generate shakespeare --start "ROMEO: "   generate text""",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"folio {version('folio')}")
        raise typer.Exit


@app.callback()
def folio(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    """The options of `folio` itself."""
