r"""Escapes characters that a terminal or a page would interpret or not show: \x1b, \u202e.

Control characters except newline and tab, marks that change the text direction, line separators,
unpaired surrogates, and code points that are not characters. They are written as in JSON where
possible, so that JSON stays valid.
"""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text for a person to read; files and pipes get it unchanged."""
    return UNSEEN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    if found[0] == "\r":
        return "\\r"
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"
