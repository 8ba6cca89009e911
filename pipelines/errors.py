"""Errors that a user can fix. Each is one line: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# What Python makes of the bytes of a file name that are not UTF-8.
NOT_UTF8 = re.compile("[\ud800-\udfff]")


def readable(text: str, backslash: str = "\\") -> str:
    """A text that can be encoded: bytes of a file name that are not UTF-8 as \\xe9."""
    return NOT_UTF8.sub(
        lambda half: (
            f"{backslash}x{ord(half[0]) & 0xFF:02x}"
            if "\udc80" <= half[0] <= "\udcff"
            else f"{backslash}u{ord(half[0]):04x}"
        ),
        text,
    )


class FolioError(Exception):
    """A stage cannot continue. Exit code 1."""

    exit_code = 1

    def __str__(self) -> str:
        return readable(super().__str__())  # it may quote a file name


class UsageError(FolioError):
    """The command or the declaration is invalid; nothing was run. Exit code 2."""

    exit_code = 2


class UnreachableError(FolioError):
    """A source's address did not answer: the only failure for which samples may be used instead."""


class PendingError(FolioError):
    """A stage would have to run, and only reuse was asked for."""


class DamagedError(FolioError):
    """Bytes on disk differ from those that were published."""


class UnreadableError(DamagedError):
    """One of Folio's small files is unreadable."""


def first_line(error: BaseException, otherwise: str | None = None) -> str:
    """The first line of its message; if there is none, `otherwise` or the name of its type."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), otherwise or type(error).__name__)


def did_you_mean(wrong: str, known: Sequence[str], most: int = 1) -> str:
    """`; did you mean …?` with the `most` closest names to a wrong one; "" if none is close."""
    near = difflib.get_close_matches(wrong, known, n=most, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
