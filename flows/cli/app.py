"""The typer application that the command modules add to."""

from __future__ import annotations

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Retrains small text models and keeps account of what was made from what.

\b
Examples:
  folio run shakespeare imdb --profile quick     retrain two pipelines
  folio plan imdb                                what would run, and why
  folio predict imdb "A film to remember."       ask the champion
  folio generate shakespeare --start "ROMEO: "   let it write
""",
)
