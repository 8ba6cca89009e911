"""Bytes to clean text: encoding, line ends, publishers' frames; and which texts are equal."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from pipelines.errors import FolioError

BOM = b"\xef\xbb\xbf"
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
STRAY = re.compile("[\ud800-\udfff]")  # surrogateescape decodes invalid UTF-8 to these
FRAME_START = re.compile(r"\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG[^*\n]*")
FRAME_START_GOES_ON = re.compile(r"[^*\n]+\*\*\*")  # the second line of a long title
FRAME_END = re.compile(
    r"\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG"
    r"|End of (?:the |this )?Project Gutenberg"
)
DIGEST_BYTES = 16
WINDOW = 2**20  # characters whose words are held as a list at once


def decoded(data: bytes) -> str | None:
    """UTF-8 with or without a byte order mark, line ends as LF; None if it is not UTF-8."""
    try:
        return unix_lines(data.removeprefix(BOM).decode())
    except UnicodeDecodeError:
        return None


def unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def without_tags(text: str) -> str:
    """`<br />` as a line break."""
    return BREAK.sub("\n", text) if "<" in text else text


class Body(NamedTuple):
    """Lines `first` to before `last` of a text; whether both ends of the licence frame were
    found."""

    first: int
    last: int
    opened: bool
    closed: bool


def find_body(lines: Iterable[str], start: str | None, end: str | None, name: str) -> Body:
    """Where the text is inside Project Gutenberg's licence frame, cut to `start` and `end`.

    `start` is the first line with this prefix (kept), `end` the first such line after it (removed).
    Raises FolioError if one of them is given and not found.
    """
    opened = closed = begun = ended = None
    number, title_goes_on = -1, False
    for number, line in enumerate(lines):
        if title_goes_on and FRAME_START_GOES_ON.match(line):
            opened = number
        title_goes_on = False
        if opened is None and (opening := FRAME_START.match(line)):
            opened, closed, begun, ended = number, None, None, None
            title_goes_on = line[opening.end() :] in ("", "\n")
            continue
        if closed is None and FRAME_END.match(line):
            closed = number
        if start and begun is None and closed is None and line.startswith(start):
            begun = number
        # The mark may be the last line of the frame, so search beyond the frame as well.
        elif end and ended is None and (begun is not None or not start) and line.startswith(end):
            ended = number
    for key, mark, found in (("start", start, begun), ("end", end, ended)):
        if mark and found is None:
            raise FolioError(
                f"{name}: corpus.{key}: no line begins with {mark!r}; fix it in the declaration"
            )
    first = begun if begun is not None else 0 if opened is None else opened + 1
    last = min(at for at in (closed, ended, number + 1) if at is not None)
    return Body(first, last, opened is not None, closed is not None)


def body(text: str, start: str | None, end: str | None, name: str) -> str:
    """The lines that `find_body` finds, without empty lines left over from the frame."""
    found = find_body(_lines(text), start, end, name)
    first = sum(map(len, islice(_lines(text), found.first)))
    size = sum(map(len, islice(_lines(text), found.first, found.last)))
    cut = text[first : first + size]
    if found.opened and not start:
        cut = cut.lstrip("\n")
    return cut.rstrip("\n") + "\n" if found.closed and not end else cut


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, one at a time: a list of them would need more memory than the
    text."""
    at = 0
    while at < len(text):
        stop = text.find("\n", at) + 1 or len(text)
        yield text[at:stop]
        at = stop


def excerpt(data: bytes) -> str:
    """The beginning, with U+FFFD for invalid UTF-8."""
    return data[:800].decode(errors="replace")


def text_digest(text: str) -> bytes:
    """Equal for texts that differ only in the amount of white space between words."""
    digest = hashlib.sha256()
    begun = gap = False
    for at in range(0, len(text), WINDOW):
        piece = text[at : at + WINDOW]
        folded = " ".join(piece.split())
        if folded:
            if begun and (gap or piece[0].isspace()):
                digest.update(b" ")
            digest.update(folded.encode())
            begun, gap = True, piece[-1].isspace()
        else:
            gap = True
    return digest.digest()[:DIGEST_BYTES]
