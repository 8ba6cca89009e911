"""The table of all keys in docs/declarations.md, and the schema that the catalog's files name.

python -m pipelines.declaration.schema.key_table      after you change a key: writes both
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pipelines.declaration.catalog import CATALOG
from pipelines.declaration.schema.json_schema import DEFINITIONS, SEARCHED, Schema, schema
from pipelines.files.home import PROJECT

PAGE, FILE = PROJECT / "docs" / "declarations.md", CATALOG / "schema.json"
BEGIN = "<!-- keys: python -m pipelines.declaration.schema.key_table -->"
END = "<!-- end of keys -->"
KINDS = {"any": "any", "boolean": "`true` · `false`", "string": "text"}
KINDS |= {"integer": "whole number", "number": "number"}
HEAD = "| key | value | default | what it does |\n|---|---|---|---|"


def text_of(made: Schema) -> str:
    """As a file, and as `folio schema` prints it."""
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def table(made: Schema) -> str:
    """A table of the keys at the top, then one for each section."""
    top, parts = [HEAD], []
    sections = {name: _section(own, made) for name, own in made["properties"].items()}
    sections["tune"] = made["$defs"]["TuneSpec"]
    for name, own in made["properties"].items():
        if section := sections[name]:
            rows = _rows(section, made, f"{SEARCHED if name == 'tune' else name}.")
            head = f"### `{name}`\n\n{section['description']}\n\n{HEAD}"
            parts.append("\n".join([head, *rows]))
        if name == "tune" or not section:
            top.append(_row(name, own, required=False))
    return "\n\n".join(["\n".join(top), *parts])


def _section(own: Schema, made: Schema) -> Schema | None:
    """What is declared under a key that may have keys of its own."""
    for one in (own, *own.get("anyOf", ())):
        if "$ref" in one:
            return made["$defs"][one["$ref"].removeprefix(DEFINITIONS)]
    return None


def _rows(section: Schema, made: Schema, prefix: str) -> Iterator[str]:
    for name, own in section["properties"].items():
        yield _row(f"{prefix}{name}", own, name in section.get("required", ()))
        if inner := _section(own, made):
            yield from _rows(inner, made, f"{prefix}{name}.")


def _row(key: str, own: Schema, required: bool) -> str:
    default = "required" if required else _shown(own.get("default"))
    cells = (f"`{key}`", _values(own), default, own["description"])
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _shown(value: Any) -> str:
    if value in (None, "", [], {}):
        return "none"
    return f"`{value if isinstance(value, str) and value.isprintable() else json.dumps(value)}`"


def _values(own: Schema) -> str:
    """What may be given, in words."""
    if "anyOf" in own:
        kinds = [one for one in own["anyOf"] if one.get("type") != "null"]
        given = dict.fromkeys(map(_values, kinds))
        whole = {f"whole {one}" for one in given}  # numbers, if any number may be given
        return " or ".join(one for one in given if one not in whole)
    if "$ref" in own:
        return "keys of its own"
    if few := own.get("enum", [own["const"]] if "const" in own else []):
        return " · ".join(map(_shown, few))
    if parts := own.get("prefixItems"):
        return f"[{', '.join(map(_values, parts))}]"
    kind = own.get("type", "any")
    if kind == "array":
        return f"a list{_length(own)}: {_values(own['items'])}"
    return KINDS.get(kind, "a mapping") + _bounds(own, step=1 if kind == "integer" else 0)


def _length(own: Schema) -> str:
    low, high = own.get("minItems"), own.get("maxItems")
    if low and high:
        return f" of {low} to {high:,}"
    return f" of at least {low}" if low else f" of at most {high:,}" if high else ""


def _bounds(own: Schema, step: int) -> str:
    """The range of a number; neighbours differ by `step`, 0 for fractions."""
    low, high = own.get("minimum"), own.get("maximum")
    above, below = own.get("exclusiveMinimum"), own.get("exclusiveMaximum")
    if step and above is not None:
        low, above = above + step, None
    if step and below is not None:
        high, below = below - step, None
    ends = {" from": low, " above": above, " to": high, " below": below}
    return "".join(f"{name} {end:,.15g}" for name, end in ends.items() if end is not None)


def shown_in(page: str) -> str:
    """The table that is in the page now."""
    return page.partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    made, page = schema(), PAGE.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(made)}\n{END}{after}", encoding="utf-8")
    FILE.write_text(text_of(made), encoding="utf-8")


if __name__ == "__main__":
    main()
