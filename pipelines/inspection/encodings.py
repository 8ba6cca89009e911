"""Which encoding a file that is not UTF-8 may have."""

from __future__ import annotations

import codecs

from pipelines.errors import FolioError
from pipelines.readers.cleaning import UTF_16

# Asked for in this order, as people have them; others look too much alike.
KNOWN = ["cp1252", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp1251", "koi8_r", "cp1250"]
WRONG = 0.2  # share of the sequences that are not ASCII, in a UTF-8 file with some damage


def encoding_of(data: bytes, name: str) -> str | None:
    """The encoding to declare for a file that begins with `data`; None for UTF-8, and for UTF-16
    with a byte order mark. Raises FolioError if none can be found."""
    if data.startswith(UTF_16) or _is_utf_8(data):
        return None
    from charset_normalizer import from_bytes

    found = from_bytes(data[: 2**16], cp_isolation=KNOWN)
    best = min((match.chaos for match in found), default=None)
    if best is None:
        raise FolioError(f"{name}: not UTF-8, and no known encoding; save it as UTF-8")
    likely = {
        name for match in found if match.chaos == best for name in match.could_be_from_charset
    }
    encoding = next(name for name in KNOWN if name in likely)
    return "shift_jis" if encoding == "cp932" and _fits(data, "shift_jis") else encoding


def _is_utf_8(data: bytes) -> bool:
    """Whether it is, up to some damaged characters and the last one, which may be cut."""
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data)
    wrong = text.count("\N{REPLACEMENT CHARACTER}")
    beyond = sum(character > "\x7f" for character in text) if wrong else 0
    return wrong <= WRONG * beyond


def _fits(data: bytes, encoding: str) -> bool:
    try:
        codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
