"""`python -m folio` is the `folio` command."""

from flows.cli.main import main

main()
