"""Streams that escape control characters, so that no text can control the terminal.

Text comes from many sources: file names, titles, generated text, responses of servers. Escaping on
output covers all of them. Files and pipes get the text unchanged.
"""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, TextIO

from pipelines.report.visible import visible

if TYPE_CHECKING:
    from rich.console import Console


class Terminal(io.TextIOWrapper):
    """A terminal's stream; `plain` is the underlying stream without escaping."""

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
    """The stream, wrapped in a Terminal if it is one. Characters that cannot be encoded never
    fail."""
    if isinstance(stream, Terminal) or not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream.isatty():
        return Terminal(stream)
    stream.reconfigure(errors="backslashreplace")  # half a surrogate pair, or LANG=C
    return stream


def guard_streams() -> None:
    """Guard standard output and standard error for the rest of the process."""
    sys.stdout, sys.stderr = guarded(sys.stdout), guarded(sys.stderr)


def rich_console(stream: TextIO, **options: Any) -> Console:
    """Rich on a stream: its own escapes pass, those in the printed texts do not."""
    from rich.console import Console

    class Visible(Console):
        def render_str(self, text: str, **how: Any) -> Any:
            return super().render_str(visible(text), **how)

    if isinstance(stream, Terminal):
        return Visible(file=stream.plain, **options)
    return Console(file=stream, **options)
