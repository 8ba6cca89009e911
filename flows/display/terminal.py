"""Streams of a terminal on which no text commands the terminal: its escapes are made visible.

Text comes from anywhere: files' names, titles, what a model writes, what a server answers. So it
is made visible where it leaves, not where it comes in. Files and pipes get it as it is.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, TextIO

from pipelines.report.visible import visible

if TYPE_CHECKING:
    from rich.console import Console


class Terminal(io.TextIOWrapper):
    """A terminal's stream; `plain` is the one below, which passes everything on."""

    def __init__(self, plain: io.TextIOWrapper) -> None:
        super().__init__(
            plain.buffer,
            plain.encoding,
            "backslashreplace",
            line_buffering=True,
            write_through=True,
        )
        self.plain = plain

    def write(self, text: str) -> int:
        super().write(visible(text))
        return len(text)


def guarded(stream: TextIO) -> TextIO:
    """The stream; a Terminal where it leads to one. None fails at a character."""
    if isinstance(stream, Terminal) or not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream.isatty():
        return Terminal(stream)
    stream.reconfigure(errors="backslashreplace")  # half a surrogate pair, or LANG=C
    return stream


def guard_streams() -> None:
    """Standard output and error, for the rest of the process."""
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)


def rich_console(stream: TextIO, **options: Any) -> Console:
    """Rich on a stream: its own escapes pass, those of the texts it is given do not."""
    from rich.console import Console

    class Visible(Console):
        def render_str(self, text: str, **how: Any) -> Any:
            return super().render_str(visible(text), **how)

    if isinstance(stream, Terminal):
        return Visible(file=stream.plain, **options)
    return Console(file=stream, **options)
