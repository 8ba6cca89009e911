"""The `folio` command: one-line error messages and the documented exit codes."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator

from flows.cli import run  # registers its commands before those of the next modules

from flows.cli import compare  # isort: skip
from flows.cli.serving import models  # isort: skip
from flows.cli.serving import serve  # isort: skip
from flows.cli import champions  # isort: skip
from flows.cli import lineage  # isort: skip
from flows.cli import declarations  # isort: skip
from flows.cli import upkeep  # isort: skip
from flows.cli import up  # isort: skip
from flows.cli import options
from flows.cli.app import app
from flows.display.terminal import guard_streams
from pipelines.errors import FolioError
from pipelines.files.home import private_files
from pipelines.files.machine import one_line, refusal_of, tight_limits

INTERRUPTED = 130  # the shell convention for Ctrl-C
STOPPED = "interrupted; published artifacts are kept, and a rerun continues from there"

__all__ = [
    "app",
    "champions",
    "compare",
    "declarations",
    "lineage",
    "main",
    "models",
    "run",
    "serve",
    "up",
    "upkeep",
]


def main() -> None:
    """The `folio` command."""
    guard_streams()
    options.begin()
    verbose = "--verbose" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    try:
        with _one_line_errors(verbose), private_files():
            _heed_interrupts()
            app(arguments)
    except BrokenPipeError:
        sys.stderr.close()  # `folio runs | head`: the reader has closed the pipe
        sys.exit(1)


def _heed_interrupts() -> None:
    """A shell without job control starts what ends with & so that it ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def _one_line_errors(verbose: bool) -> Iterator[None]:
    try:
        yield
    except SystemExit as leaving:
        if leaving.code != INTERRUPTED:  # typer exits with this code on Ctrl-C
            raise
        _fail(STOPPED, INTERRUPTED)
    except KeyboardInterrupt:
        _fail(STOPPED, INTERRUPTED)
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
    foreseen = isinstance(error, FolioError) or refusal_of(error)
    return one_line(error) + ("" if foreseen else f" (--verbose shows where{tight_limits()})")


def _fail(message: str, code: int) -> None:
    line = message.strip().replace("\n", "\\n")  # a file name may contain a newline
    print(f"folio: {line}", file=sys.stderr)
    if "--json" in sys.argv and not options.answered():
        print(json.dumps({"error": message.strip(), "code": code}, ensure_ascii=False))
    sys.exit(code)
