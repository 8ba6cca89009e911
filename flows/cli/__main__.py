"""`python -m flows.cli` is the `folio` command."""

from flows.cli.main import main

main()
