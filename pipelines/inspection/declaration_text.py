"""A declaration as text, with comments."""

from __future__ import annotations

import json
import re
from typing import Any

from pipelines.declaration.reading.yaml_text import NotYamlError, parse

COMMENT_AT = 37
PLAIN = re.compile(r"[^\W\d][\w ./-]*")


def text_of(head: list[str], sections: dict[str, Any], why: dict[str, str]) -> str:
    """`head` are the lines before the first key; `why` maps dotted keys to comments."""
    lines = [*head]
    for name, value in sections.items():
        if isinstance(value, dict) and value and len(flow(value)) > 60:
            lines.append(f"{name}:")
            lines += [
                commented(f"  {key}: {flow(own)}", why.get(f"{name}.{key}"))
                for key, own in value.items()
            ]
        else:
            own = value if isinstance(value, dict) else ()
            keys = [key for key in (name, *(f"{name}.{one}" for one in own)) if key in why]
            comment = "; ".join(why[key] for key in keys)
            lines.append(commented(f"{name}: {flow(value)}", comment))
    return "\n".join(lines) + "\n"


def commented(line: str, comment: str | None) -> str:
    if not comment:
        return line
    safe = "".join(character if character.isprintable() else " " for character in comment)
    return f"{line:<{COMMENT_AT}}# {safe}" if len(line) < COMMENT_AT else f"{line}   # {safe}"


def flow(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """As it is, if YAML reads it as this text, also in a list; else in quotation marks."""
    if PLAIN.fullmatch(text) and text == text.strip():
        try:
            if parse(f"[{text}]")[0] == [text]:
                return text
        except NotYamlError:
            pass
    written = json.dumps(text, ensure_ascii=False)  # YAML reads it, but for some characters
    return "".join(one if one.isprintable() else f"\\U{ord(one):08X}" for one in written)
