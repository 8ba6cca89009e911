"""Bytes to clean text: encoding, line ends; and which texts are equal."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from typing import Any, Literal, TextIO

from pipelines.errors import FolioError

BOM = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
STRAY = re.compile("[\ud800-\udfff]")  # surrogateescape decodes invalid UTF-8 to these
NORMAL_FORM: Literal["NFC"] = "NFC"  # é is one character, however it was typed
# Variants that names in Japanese and Korean are written with.
IDEOGRAPHS = re.compile("([\uf900-\ufaff\U0002f800-\U0002fa1f])")
DIGEST_BYTES = 16
WINDOW = 2**20  # characters whose words are held as a list at once


def decoded(data: bytes, encoding: str | None = None) -> str | None:
    """The text with line ends as LF, or None if it is not in `encoding`; without one, UTF-8 with or
    without a byte order mark, or UTF-16 with one."""
    wide = data.startswith(UTF_16) and len(data) > 2
    try:
        codec = _codec(encoding, wide)
        if codec == "utf-8-sig":  # Python's own is five times as slow
            data, codec = data.removeprefix(BOM), "utf-8"
        return unix_lines(data.decode(codec))
    except UnicodeError:  # that of UTF-16 without a mark is no UnicodeDecodeError
        return None


def _codec(encoding: str | None, wide: bool) -> str:
    """Python's name for it; `wide` if the data start with a byte order mark of UTF-16."""
    if encoding is None and wide:
        return "utf-16"
    return "utf-8-sig" if encoding in (None, "utf-8") else str(encoding)


@contextmanager
def text_lines_of(
    file: BufferedReader[Any], name: str, newline: str | None = None, encoding: str | None = None
) -> Iterator[TextIO]:
    """The same, line by line; invalid bytes become lone surrogates (STRAY)."""
    codec = _codec(encoding, file.peek(2)[:2] in UTF_16)
    errors = "strict" if codec.startswith(("utf-16", "utf-32")) else "surrogateescape"
    try:
        with TextIOWrapper(file, codec, errors, newline) as text:
            yield text
    except UnicodeError as error:
        why = getattr(error, "reason", error)
        raise FolioError(f"{name}: not valid {codec.upper()} ({why}); save it as UTF-8") from error


def unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def composed(text: str) -> str:
    """In NORMAL_FORM, but for the ideographs that it would replace by others."""
    if text.isascii() or unicodedata.is_normalized(NORMAL_FORM, text):
        return text
    pieces = IDEOGRAPHS.split(text)
    pieces[::2] = [unicodedata.normalize(NORMAL_FORM, piece) for piece in pieces[::2]]
    return "".join(pieces)


def without_tags(text: str) -> str:
    """`<br />` as a line break."""
    return BREAK.sub("\n", text) if "<" in text else text


def excerpt(data: bytes, encoding: str | None = None) -> str:
    """The beginning, with U+FFFD for invalid bytes."""
    return data[:800].decode(encoding or "utf-8", errors="replace")


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
