"""The `folio` command: every error one line, every exit code as documented."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from flows.cli import run  # adds its commands, before those of the next

from flows.cli import models  # isort: skip
from flows.cli import champions  # isort: skip
from flows.cli import lineage  # isort: skip
from flows.cli import upkeep  # isort: skip
from flows.cli import up  # isort: skip
from flows.cli.app import app
from flows.display.terminal import guard_streams
from pipelines.errors import FolioError
from pipelines.files.home import private_files
from pipelines.files.machine import explained, one_line, tight_limits

INTERRUPTED = 130  # what shells expect after Ctrl-C

__all__ = ["app", "champions", "lineage", "main", "models", "run", "up", "upkeep"]


def main() -> None:
    """The `folio` command."""
    guard_streams()
    verbose = "--verbose" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    try:
        with _one_line_errors(verbose), private_files():
            app(arguments)
    except BrokenPipeError:
        sys.stderr.close()  # `folio runs | head`: nobody reads on
        sys.exit(1)


@contextlib.contextmanager
def _one_line_errors(verbose: bool) -> Iterator[None]:
    try:
        yield
    except SystemExit as leaving:
        if leaving.code != INTERRUPTED:  # which is how typer passes Ctrl-C on
            raise
        _fail("interrupted; what was published stays, and a rerun goes on from there", INTERRUPTED)
    except FolioError as error:
        if verbose:
            raise
        _fail(_one_line(error), error.exit_code)
    except BrokenPipeError:
        raise
    except Exception as error:
        if verbose:
            raise
        _fail(_one_line(error), 1)


def _one_line(error: Exception) -> str:
    foreseen = isinstance(error, FolioError) or explained(error)
    return one_line(error) + ("" if foreseen else f" (--verbose shows where{tight_limits()})")


def _fail(message: str, code: int) -> None:
    line = message.strip().replace("\n", "\\n")  # a file's name may hold one
    print(f"folio: {line}", file=sys.stderr)
    sys.exit(code)
