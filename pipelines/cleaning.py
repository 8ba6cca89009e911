"""Bytes to clean text: encoding, line ends, publishers' frames. And which texts are the same."""

from __future__ import annotations

import hashlib
import re

from pipelines.errors import FolioError

BOM = b"\xef\xbb\xbf"
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
STRAY = re.compile("[\ud800-\udfff]")  # what surrogateescape makes of bytes that are not UTF-8
# The title may run on into the next line.
FRAME_START = re.compile(r"^\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG"
                         r"(?:[^*\n]*(?:\n[^*\n]+)?\*\*\*|)[^\n]*\n?", re.MULTILINE)
FRAME_END = re.compile(r"^(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG"
                       r"|End of (?:the |this )?Project Gutenberg)", re.MULTILINE)
DIGEST_BYTES = 16
WINDOW = 2**20  # characters whose words are held as a list at once


def decoded(data: bytes) -> str | None:
    """UTF-8 with or without a byte order mark, line ends as LF; None when it is not UTF-8."""
    try:
        return unix_lines(data.removeprefix(BOM).decode())
    except UnicodeDecodeError:
        return None


def unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def without_tags(text: str) -> str:
    """`<br />` as the line break that it stands for."""
    return BREAK.sub("\n", text) if "<" in text else text


def body(text: str, start: str | None, end: str | None, name: str) -> str:
    """The text without Project Gutenberg's licence frame, cut to `start` and `end`.

    `start` is the first line that begins so (kept), `end` the first such line after it (not
    kept). Raises FolioError when one of them is given and not found.
    """
    opening = FRAME_START.search(text)
    first = opening.end() if opening else 0
    closing = FRAME_END.search(text, first)
    last = closing.start() if closing else len(text)
    behind = first
    if start:
        first = _line_that_begins(start, text, first, last, f"{name}: corpus.start")
        behind = text.find("\n", first, last) + 1 or last
    if end:
        # The frame's own last line may be the mark, so look for it beyond the frame as well.
        found = _line_that_begins(end, text, behind, len(text), f"{name}: corpus.end")
        last = min(last, found)
    cut = text[first:last]
    if opening and not start:
        cut = cut.lstrip("\n")
    return cut.rstrip("\n") + "\n" if closing and not end else cut


def _line_that_begins(mark: str, text: str, since: int, until: int, what: str) -> int:
    found = re.compile("^" + re.escape(mark), re.MULTILINE).search(text, since, until)
    if found is None:
        raise FolioError(f"{what}: no line begins with {mark!r}; mend it in the declaration")
    return found.start()


def excerpt(data: bytes) -> str:
    """The beginning, with U+FFFD for what is not UTF-8."""
    return data[:800].decode(errors="replace")


def text_digest(text: str) -> bytes:
    """Equal for texts that differ only in how much white space stands between their words."""
    digest = hashlib.sha256()
    begun = gap = False
    for at in range(0, len(text), WINDOW):
        piece = text[at:at + WINDOW]
        folded = " ".join(piece.split())
        if folded:
            if begun and (gap or piece[0].isspace()):
                digest.update(b" ")
            digest.update(folded.encode())
            begun, gap = True, piece[-1].isspace()
        else:
            gap = True
    return digest.digest()[:DIGEST_BYTES]
