"""Commands about declarations."""

from __future__ import annotations

import sys

from flows.cli.app import app


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
