r"""Makes visible what a terminal or a page would obey, or show as nothing: \x1b, \u202e.

Control characters but for newline and tab, marks that turn the direction of text, separators of
lines, halves of surrogate pairs, and what is no character. Written as JSON writes it where it can
be in JSON, so that JSON stays JSON.
"""

from __future__ import annotations

import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff]"
)


def visible(text: str) -> str:
    """The text for a person to look at; files and pipes get it as it is."""
    return UNSEEN.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    if found[0] == "\r":
        return "\\r"
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"
